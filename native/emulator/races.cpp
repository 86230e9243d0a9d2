// Races on shared memory: who wrote and who read each byte since the threads last met. Kernels are compiled with -fsanitize=thread, which makes the
// compiler call a hook at every access; the hooks are here instead of ThreadSanitizer's own library.
#include <algorithm>

#include "emulator/grid.h"

namespace nichelm::emulator {
namespace {

// Threads have met if the block has had a barrier since, or, within a warp, if the warp has had a collective since. So each access holds how often the
// block and its warp had met. Two readers are enough: whoever writes is another thread than one of them.
struct Byte {
  uint32_t write_block, write_warp, read_block, read_warp[2];
  int16_t writer, reader[2];  // -1: none
  bool flying;
  uint32_t write_fence;  // how often the writer had fenced
};
std::vector<Byte> bytes;
const char* shared;
const Thread* running;
uint32_t block_meetings;
std::vector<uint32_t> warp_meetings, fences;
std::vector<uint16_t> held;  // by chunks of 16 bytes

bool concurrent(int before, uint32_t block_then, uint32_t warp_then, unsigned now) {
  return before >= 0 && static_cast<unsigned>(before) != now && block_then == block_meetings && (static_cast<unsigned>(before) / 32 != now / 32 || warp_then == warp_meetings[now / 32]);
}

}  // namespace

void start_record(const char* memory, size_t count, unsigned warps) {
  shared = memory;
  bytes.clear();
  held.assign((count + 15) / 16, 0);
  if (!mode().races) return;
  bytes.assign(count, Byte{0, 0, 0, {0, 0}, -1, {-1, -1}, false, 0});
  block_meetings = 1;
  warp_meetings.assign(warps, 1), fences.assign(32 * warps, 1);
}
void record_for(const Thread* thread) { running = thread; }
void record_barrier() { ++block_meetings; }
void record_warp(unsigned warp) {
  if (mode().races) ++warp_meetings[warp];
}
void record_flight(const void* address, size_t count, bool flying) {
  if (!mode().races) return;
  const size_t first = static_cast<size_t>(static_cast<const char*>(address) - shared);
  for (size_t i = first; i < first + count; ++i) bytes[i].flying = flying;
}

void record_landing(const void* address, size_t count) {
  if (!mode().races) return;
  const size_t first = static_cast<size_t>(static_cast<const char*>(address) - shared);
  for (size_t i = first; i < first + count; ++i) bytes[i].flying = false, bytes[i].writer = bytes[i].reader[0] = bytes[i].reader[1] = -1;
}
void record_fence(unsigned thread) {
  if (mode().races) ++fences[thread];
}
void record_asynchronous_read(const void* address, size_t count, unsigned thread) {
  if (!mode().races) return;
  const size_t first = static_cast<size_t>(static_cast<const char*>(address) - shared);
  for (size_t i = first; i < first + count; ++i) {
    const Byte& b = bytes[i];
    if (b.flying) fail("byte %zu of shared memory is read while an asynchronous copy writes it", i);
    if (concurrent(b.writer, b.write_block, b.write_warp, thread)) fail("race: byte %zu of shared memory was written by thread %d and is read without a barrier between", i, b.writer);
    if (b.writer >= 0 && fences[static_cast<size_t>(b.writer)] == b.write_fence)
      fail("byte %zu of shared memory is read asynchronously, and thread %d, which wrote it, has not fenced it (fence_async_proxy)", i, b.writer);
  }
}

void hold(const void* chunk, int by) {
  auto& count = held[static_cast<size_t>(static_cast<const char*>(chunk) - shared) / 16];
  count = static_cast<uint16_t>(count + by);
}
void require_not_held(const void* address, size_t count, Place place) {
  const size_t first = static_cast<size_t>(static_cast<const char*>(address) - shared);
  for (size_t i = first / 16; i < (first + count + 15) / 16; ++i)
    if (held[i]) fail("%s:%d: byte %zu of shared memory is written while a matrix instruction or a store may still read it", place.file, place.line, i * 16);
}

void record(const void* address, size_t count, unsigned thread, bool write) {
  const size_t first = reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(shared);
  if (first >= bytes.size()) return;
  if (count > bytes.size() - first) fail("an access crosses the end of shared memory");
  const uint32_t warp_now = warp_meetings[thread / 32];
  for (size_t i = first; i < first + count; ++i) {
    Byte& b = bytes[i];
    if (b.flying) fail("byte %zu of shared memory is %s while an asynchronous copy writes it", i, write ? "written" : "read");
    if (concurrent(b.writer, b.write_block, b.write_warp, thread)) fail("race: byte %zu of shared memory was written by thread %d and is %s without a barrier between", i, b.writer, write ? "written" : "read");
    const auto self = static_cast<int16_t>(thread);
    if (write) {
      if (held[i / 16]) fail("byte %zu of shared memory is written while a matrix instruction or a store may still read it", i);
      for (int r : {0, 1})
        if (concurrent(b.reader[r], b.read_block, b.read_warp[r], thread)) fail("race: byte %zu of shared memory was read by thread %d and is written without a barrier between", i, b.reader[r]);
      b.writer = self, b.write_block = block_meetings, b.write_warp = warp_now, b.write_fence = fences[thread];
    } else {
      if (b.read_block != block_meetings) b.reader[0] = b.reader[1] = -1, b.read_block = block_meetings;
      for (int r : {0, 1})  // what this warp read before it met says no more than this read
        if (b.reader[r] >= 0 && static_cast<unsigned>(b.reader[r]) / 32 == thread / 32 && b.read_warp[r] != warp_now) b.reader[r] = -1;
      const int slot = b.reader[0] < 0 || b.reader[0] == self ? 0 : 1;
      b.reader[slot] = self, b.read_warp[slot] = warp_now;
    }
  }
}

}  // namespace nichelm::emulator

// Host code of kernel files has the hooks too: nothing runs then.
#define NICHELM_HOOK(name, count, write)                \
  extern "C" void __tsan_##name(void* address) {        \
    using namespace nichelm::emulator;                  \
    if (running) record(address, count, running->number, write); \
  }
NICHELM_HOOK(read1, 1, false)
NICHELM_HOOK(read2, 2, false)
NICHELM_HOOK(read4, 4, false)
NICHELM_HOOK(read8, 8, false)
NICHELM_HOOK(read16, 16, false)
NICHELM_HOOK(write1, 1, true)
NICHELM_HOOK(write2, 2, true)
NICHELM_HOOK(write4, 4, true)
NICHELM_HOOK(write8, 8, true)
NICHELM_HOOK(write16, 16, true)
NICHELM_HOOK(unaligned_read2, 2, false)
NICHELM_HOOK(unaligned_read4, 4, false)
NICHELM_HOOK(unaligned_read8, 8, false)
NICHELM_HOOK(unaligned_read16, 16, false)
NICHELM_HOOK(unaligned_write2, 2, true)
NICHELM_HOOK(unaligned_write4, 4, true)
NICHELM_HOOK(unaligned_write8, 8, true)
NICHELM_HOOK(unaligned_write16, 16, true)
extern "C" {
void __tsan_init() {}
void __tsan_vptr_update(void*, void*) {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_read_range(void* address, size_t count) {
  if (nichelm::emulator::running) nichelm::emulator::record(address, count, nichelm::emulator::running->number, false);
}
void __tsan_write_range(void* address, size_t count) {
  if (nichelm::emulator::running) nichelm::emulator::record(address, count, nichelm::emulator::running->number, true);
}
}
