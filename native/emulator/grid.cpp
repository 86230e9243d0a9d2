#include "emulator/grid.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <string>

#include "emulator/cuda.h"
#include "emulator/fiber.h"

namespace nichelm::emulator {
namespace {

constexpr unsigned kMostThreads = 1024, kWarp = 32, kBarriers = 16;

Mode chosen;
uint64_t random_state;
unsigned random_below(unsigned n) {
  random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
  return static_cast<unsigned>(random_state % n);
}

struct Meeting { const char* what; unsigned mask, come; Place place; void* slots[kWarp]; };
struct Barrier { unsigned come, wanted; Place place; };

struct Block {
  const char* kernel = "";
  void (*body)(const void*) = nullptr;
  const void* context = nullptr;
  unsigned size = 0, alive = 0;
  std::vector<Thread> threads;
  std::vector<std::unique_ptr<Fiber>> fibers;
  Meeting meetings[kMostThreads / kWarp][8];
  unsigned gone[kMostThreads / kWarp];  // lanes that have ended
  Barrier barriers[kBarriers];
  char* shared = nullptr;
  size_t shared_bytes = 0;
  Thread* current = nullptr;
  bool moved = false;
  std::exception_ptr thrown;
} block;

void leave(bool for_good = false) {
  Thread* self = block.current;
  block.fibers[self->number]->leave(for_good);
  block.current = self;
}

void end_thread() {
  Thread& t = *block.current;
  for (const auto& group : t.copies)
    if (!group.empty()) fail("the thread ends with asynchronous copies that it did not wait for");
  end_hopper_thread();
  block.gone[t.warp] |= 1u << t.lane;
  for (const Meeting& m : block.meetings[t.warp])
    if (m.come && (m.mask >> t.lane & 1)) fail("the thread has ended while others wait for it at %s:%d", m.place.file, m.place.line);
}

void thread_main() {
  block.body(block.context);
  end_thread();
  block.current->state = State::done;
  --block.alive;
  block.moved = true;
  leave(true);
  std::abort();
}

void resume(Thread& t) {
  block.current = &t;
  record_for(&t);
  threadIdx = t.index;
  block.fibers[t.number]->enter();
  block.current = nullptr;
  record_for(nullptr);
  if (block.thrown) std::rethrow_exception(std::exchange(block.thrown, nullptr));
}

void start_block() {
  const unsigned warps = block.size / kWarp;
  for (unsigned w = 0; w < warps; ++w) {
    block.gone[w] = 0;
    for (Meeting& m : block.meetings[w]) m.come = 0;
  }
  std::memset(block.barriers, 0, sizeof block.barriers);
  std::memset(block.shared, 0xff, block.shared_bytes);  // what nobody wrote reads as NaN
  start_record(block.shared, block.shared_bytes, warps);
  start_hopper(warps);
  block.alive = block.size;
  for (unsigned i = 0; i < block.size; ++i) {
    Thread& t = block.threads[i];
    t.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
    t.number = i, t.lane = i % kWarp, t.warp = i / kWarp, t.state = State::ready;
    t.copies.clear(), t.stores.clear();
    block.fibers[i]->start(thread_main);
  }
}

// A warp runs on until each of its lanes waits for another warp; in random order it may be held up anywhere.
void run_warp(unsigned warp) {
  for (bool again = true; again;) {
    again = false;
    for (unsigned k = 0; k < kWarp; ++k) {
      Thread& t = block.threads[warp * kWarp + (chosen.order == Order::reverse ? kWarp - 1 - k : k)];
      if (t.state == State::ready) resume(t), again = true;
    }
    if (chosen.order == Order::random && random_below(4) == 0) break;
  }
  for (unsigned k = 0; k < kWarp; ++k)
    if (block.threads[warp * kWarp + k].state == State::spinning) block.threads[warp * kWarp + k].state = State::ready;
}

void run_block() {
  start_block();
  const unsigned warps = block.size / kWarp;
  std::vector<unsigned> order(warps);
  for (unsigned w = 0; w < warps; ++w) order[w] = chosen.order == Order::reverse ? warps - 1 - w : w;
  for (int idle = 0; block.alive;) {
    block.moved = false;
    if (chosen.order == Order::random)
      for (unsigned w = warps; w > 1; --w) std::swap(order[w - 1], order[random_below(w)]);
    for (unsigned w : order) run_warp(w);
    if (chosen.order == Order::random ? random_below(4) == 0 || !block.moved : !block.moved)
      if (land_one(chosen.order == Order::forward ? 0 : chosen.order == Order::reverse ? ~0u : random_below(1 << 16))) block.moved = true;
    const bool runnable = std::any_of(block.threads.begin(), block.threads.begin() + block.size, [](const Thread& t) { return t.state == State::ready; });
    idle = block.moved ? 0 : idle + 1;
    if (block.alive && !block.moved && (!runnable || idle > 64)) fail("dead lock%s", hopper_waits().c_str());
  }
  for (const Barrier& b : block.barriers)
    if (b.come) fail("the block ended with a barrier half full");
  end_hopper_block();
}

struct Shared {  // freed whichever way the kernel ends
  explicit Shared(size_t bytes) {
    // To the byte behind it, so that AddressSanitizer sees what goes beyond.
    block.shared = static_cast<char*>(std::aligned_alloc(1024, std::max<size_t>(1024, (bytes + 1023) / 1024 * 1024)));
    block.shared_bytes = bytes;
  }
  ~Shared() { std::free(std::exchange(block.shared, nullptr)), block.shared_bytes = 0; }
};

// The most shared memory that a launch of each name asked for; written as lines "BYTES NAME" when the process ends, to the file that the environment variable
// NICHELM_SHARED_MEMORY names (scripts/check-cuda-kernels).
class Ledger {
 public:
  ~Ledger() {
    const char* path = std::getenv("NICHELM_SHARED_MEMORY");
    FILE* file = path ? std::fopen(path, "w") : nullptr;
    if (!file) return;
    for (const auto& [name, bytes] : most_) std::fprintf(file, "%zu %s\n", bytes, name.c_str());
    std::fclose(file);
  }
  void note(const char* name, size_t bytes) {
    if (bytes) most_[name] = std::max(most_[name], bytes);
  }

 private:
  std::map<std::string, size_t> most_;
} ledger;

}  // namespace

void set_mode(const Mode& mode) { chosen = mode; }
const Mode& mode() { return chosen; }

Thread& current() { return *block.current; }
void progress() { block.moved = true; }
unsigned block_size() { return block.size; }
char* shared_memory() { return block.shared; }

// Where all threads are, with what is wrong.
std::exception_ptr failure(const char* text) {
  std::string what = std::string(block.kernel) + ", block (" + std::to_string(blockIdx.x) + ", " + std::to_string(blockIdx.y) + ", " + std::to_string(blockIdx.z) + ")";
  if (block.current) what += ", thread " + std::to_string(block.current->number);
  what += std::string(": ") + text;
  constexpr const char* kStates[] = {"running", "in a warp collective", "at a barrier", "spinning", "done"};
  std::map<std::string, std::vector<unsigned>> where;
  for (unsigned i = 0; i < block.size; ++i) {
    const Thread& t = block.threads[i];
    const bool waits = t.state != State::ready && t.state != State::done;
    where[std::string(kStates[static_cast<int>(t.state)]) + (waits ? std::string(" at ") + t.place.file + ":" + std::to_string(t.place.line) : "")].push_back(t.number);
  }
  for (const auto& [state, threads] : where) what += "\n  " + std::to_string(threads.size()) + " threads (" + std::to_string(threads.front()) + " to " + std::to_string(threads.back()) + ") " + state;
  return std::make_exception_ptr(Failure(what));
}

void fail(const char* format, ...) {
  char text[1024];
  va_list values;
  va_start(values, format);
  std::vsnprintf(text, sizeof text, format, values);
  va_end(values);
  block.thrown = failure(text);
  if (!block.current) std::rethrow_exception(std::exchange(block.thrown, nullptr));
  // The kernel's frames are left as they are: a race is told from hooks through which no exception can go. So nothing here may hold memory of its own.
  leave(true);
  std::abort();
}

void spin(Place place) {
  current().state = State::spinning, current().place = place;
  leave();
}

void collective(const char* what, unsigned mask, void* slot, Act act, Place place) {
  Thread& t = current();
  t.place = place;
  const unsigned bit = 1u << t.lane;
  if (!(mask & bit)) fail("%s:%d: %s: lane %u is not in its own mask %08x", place.file, place.line, what, t.lane, mask);
  Meeting* meeting = nullptr;
  for (Meeting& m : block.meetings[t.warp])
    if (m.come && (m.mask & bit)) meeting = &m;
  if (meeting) {
    if (meeting->mask != mask || !(meeting->place == place) || (meeting->what != what && std::strcmp(meeting->what, what) != 0))
      fail("divergent warp: lane %u does %s with mask %08x at %s:%d, others wait in %s with mask %08x at %s:%d", t.lane, what, mask, place.file, place.line, meeting->what, meeting->mask,
           meeting->place.file, meeting->place.line);
  } else {
    if (mask & block.gone[t.warp]) fail("%s:%d: %s: lanes %08x of the mask have ended", place.file, place.line, what, mask & block.gone[t.warp]);
    for (Meeting& m : block.meetings[t.warp])
      if (!m.come) meeting = &m;
    if (!meeting) fail("%s:%d: %s: too many parts of the warp meet apart", place.file, place.line, what);
    meeting->what = what, meeting->mask = mask, meeting->place = place;
  }
  meeting->come |= bit;
  meeting->slots[t.lane] = slot;
  if (meeting->come != mask) {
    t.state = State::in_collective;
    leave();
    return;
  }
  meeting->come = 0;
  act(meeting->slots, mask);
  record_warp(t.warp);
  block.moved = true;
  for (unsigned lane = 0; lane < kWarp; ++lane)
    if ((mask >> lane & 1) && lane != t.lane) block.threads[t.warp * kWarp + lane].state = State::ready;
}

void barrier(int number, unsigned count, bool wait, Place place) {
  Thread& t = current();
  t.place = place, t.barrier = number;
  Barrier& b = block.barriers[number];
  const unsigned wanted = count ? count : block.size;
  if (wanted % kWarp) fail("%s:%d: %u threads at a barrier are no whole warps", place.file, place.line, wanted);
  if (b.come && b.wanted != wanted) fail("%s:%d: barrier %d waits for %u threads here, for %u elsewhere", place.file, place.line, number, wanted, b.wanted);
  if (!count && b.come && !(b.place == place)) fail("divergent barrier: this thread comes to %s:%d, others wait at %s:%d", place.file, place.line, b.place.file, b.place.line);
  b.place = place;
  b.wanted = wanted;
  block.moved = true;
  if (++b.come < wanted) {
    if (!wait) return;
    t.state = State::at_barrier;
    leave();
    return;
  }
  b.come = 0;
  record_barrier();
  for (unsigned i = 0; i < block.size; ++i)
    if (block.threads[i].state == State::at_barrier && block.threads[i].barrier == number) block.threads[i].state = State::ready;
}

bool in_shared(const void* address, size_t bytes) {
  const auto offset = reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(block.shared);
  return offset < block.shared_bytes && bytes <= block.shared_bytes - offset;
}
// Address 0 is no shared address here, so that a forgotten conversion shows.
constexpr uint32_t kSharedBase = 1024;
uint32_t shared_address(const void* address, Place place) {
  if (!in_shared(address, 1)) fail("%s:%d: not an address in shared memory", place.file, place.line);
  return static_cast<uint32_t>(static_cast<const char*>(address) - block.shared) + kSharedBase;
}
char* shared_pointer(uint32_t address) { return block.shared + address - kSharedBase; }

void run(const char* kernel, Extent grid, Extent threads, size_t shared, void (*body)(const void*), const void* context) {
  block.kernel = kernel, block.body = body, block.context = context;
  block.size = threads.x * threads.y * threads.z;
  block.current = nullptr, block.thrown = nullptr;
  gridDim = {grid.x, grid.y, grid.z}, blockDim = {threads.x, threads.y, threads.z};
  if (block.size > kMostThreads || block.size % kWarp || block.size == 0) {
    block.size = 0;
    fail("a block of %u threads", threads.x * threads.y * threads.z);
  }
  while (block.fibers.size() < block.size) block.fibers.push_back(std::make_unique<Fiber>());
  if (block.threads.size() < block.size) block.threads.resize(block.size);
  for (unsigned i = 0; i < block.size; ++i) block.threads[i].number = i, block.threads[i].state = State::ready;
  if (shared > kMostShared) fail("%zu bytes of shared memory are more than a block may use (%zu)", shared, kMostShared);
  ledger.note(kernel, shared);
  random_state = chosen.seed * 2654435761u + 88172645463325252ull;
  const Shared memory(shared);
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  for (uint64_t i = 0; i < blocks; ++i) {
    const uint64_t at = chosen.order == Order::reverse ? blocks - 1 - i : i;
    blockIdx = {static_cast<unsigned>(at % grid.x), static_cast<unsigned>(at / grid.x % grid.y), static_cast<unsigned>(at / grid.x / grid.y)};
    run_block();
  }
}

}  // namespace nichelm::emulator
