#include "runtime/cpu.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>

namespace nichelm {


const char* name_of(Isa isa) {
  static constexpr const char* names[] = {"portable", "avx2", "avx512", "avx512bf16"};
  return names[static_cast<int>(isa)];
}

namespace {

// Whether this build has kernels of the instruction set.
bool built(Isa isa) {
  switch (isa) {
#ifdef NICHELM_HAS_avx2
    case Isa::avx2:
#endif
#ifdef NICHELM_HAS_avx512
    case Isa::avx512:
#endif
#ifdef NICHELM_HAS_avx512bf16
    case Isa::avx512bf16:
#endif
    case Isa::portable: return true;
    default: return false;
  }
}

bool runs(Isa isa) {
  if (!built(isa)) return false;
#ifdef __x86_64__
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  switch (isa) {
    case Isa::portable: return true;
    case Isa::avx2: return v3;
    case Isa::avx512: return v4;
    case Isa::avx512bf16: return v4 && __builtin_cpu_supports("avx512bf16");
  }
#endif
  return isa == Isa::portable;
}

}  // namespace

std::vector<Isa> runnable_isas() {
  std::vector<Isa> all;
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512bf16})
    if (runs(isa)) all.push_back(isa);
  return all;
}

Isa best_isa() {
  const char* forced = std::getenv("NICHELM_ISA");
  if (!forced || !*forced) return runnable_isas().back();
  try {
    return parse_isa(forced);
  } catch (const Error& e) {
    throw Error(e.code, std::string("the environment variable NICHELM_ISA: ") + e.what());
  }
}

Isa parse_isa(const std::string& name) {
  std::string known, possible;
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512bf16}) known += (known.empty() ? "" : ", ") + std::string(name_of(isa));
  for (const Isa isa : runnable_isas()) {
    if (name == name_of(isa)) return isa;
    possible += (possible.empty() ? "" : ", ") + std::string(name_of(isa));
  }
  for (const Isa isa : {Isa::avx2, Isa::avx512, Isa::avx512bf16})
    if (name == name_of(isa)) throw Error(ErrorCode::device, "instruction set '" + name + "' was asked for, but this CPU or this build does not have it; it has " + possible);
  throw Error(ErrorCode::argument, "unknown instruction set '" + name + "'; there are " + known);
}

namespace {

constexpr int64_t kLargePage = 2 << 20;

int checked_threads(int threads) {
  if (threads < 0 || threads > 1024) throw Error(ErrorCode::argument, "threads must be between 1 and 1024; got " + std::to_string(threads));
  return threads == 0 ? available_threads() : threads;
}

}  // namespace

Cpu::Cpu(int threads, Isa isa) : isa_(isa), last_cache_(last_cache_bytes("/sys/devices/system/cpu/cpu0/cache")), pool_(checked_threads(threads)), shares_(static_cast<size_t>(pool_.threads())), scratch_(static_cast<size_t>(pool_.threads())) {}

namespace {
constexpr uint64_t share(uint64_t first, uint64_t end) { return first << 32 | end; }
constexpr int64_t first_of(uint64_t left) { return static_cast<int64_t>(left >> 32); }
constexpr int64_t end_of(uint64_t left) { return static_cast<int64_t>(left & 0xffffffff); }
}  // namespace

void Cpu::share_out(int64_t tasks) {
  if (tasks >> 32) throw Error(ErrorCode::argument, std::to_string(tasks) + " tasks at once are too many");
  const auto threads = static_cast<int64_t>(shares_.size());
  for (int64_t t = 0; t < threads; ++t)
    shares_[static_cast<size_t>(t)].left.store(share(static_cast<uint64_t>(tasks * t / threads), static_cast<uint64_t>(tasks * (t + 1) / threads)), std::memory_order_relaxed);
}

int64_t Cpu::take(int thread) {
  std::atomic<uint64_t>& own = shares_[static_cast<size_t>(thread)].left;
  for (uint64_t left = own.load(std::memory_order_relaxed); first_of(left) < end_of(left);)
    if (own.compare_exchange_weak(left, left + share(1, 0), std::memory_order_relaxed)) return first_of(left);
  for (size_t other = 1; other < shares_.size(); ++other) {
    std::atomic<uint64_t>& theirs = shares_[(static_cast<size_t>(thread) + other) % shares_.size()].left;
    for (uint64_t left = theirs.load(std::memory_order_relaxed); first_of(left) < end_of(left);)
      if (theirs.compare_exchange_weak(left, left - 1, std::memory_order_relaxed)) return end_of(left) - 1;
  }
  return -1;
}

Cpu::Buffer::~Buffer() { std::free(data); }

void* Cpu::grow(Buffer& buffer, int64_t bytes) {
  if (buffer.bytes >= bytes) return buffer.data;
  const int64_t rounded = (bytes + 4095) / 4096 * 4096;
  const bool large = rounded >= kLargePage;
  std::free(buffer.data);
  scratch_bytes_.fetch_sub(buffer.bytes, std::memory_order_relaxed);
  buffer.bytes = 0;
  if (posix_memalign(&buffer.data, static_cast<size_t>(large ? kLargePage : 4096), static_cast<size_t>(rounded)) != 0) buffer.data = nullptr;
  if (!buffer.data) throw Error(ErrorCode::memory, "out of memory: " + std::to_string(rounded) + " bytes of scratch memory for one kernel could not be had");
#ifdef MADV_HUGEPAGE
  if (large) madvise(buffer.data, static_cast<size_t>(rounded), MADV_HUGEPAGE);  // as for arenas: 1 to 2 points of slm's products in f32
#endif
  buffer.bytes = rounded;
  scratch_bytes_.fetch_add(rounded, std::memory_order_relaxed);
  return buffer.data;
}

void* Cpu::scratch(int thread, int64_t bytes, int slot) {
  Buffer& buffer = scratch_[static_cast<size_t>(thread)][static_cast<size_t>(slot)];
  if (buffer.bytes < bytes) uneven_.store(true, std::memory_order_relaxed);
  return grow(buffer, bytes);
}

void Cpu::even_scratch() {
  if (!uneven_.load(std::memory_order_relaxed)) return;
  for (size_t slot = 0; slot < kSlots; ++slot) {
    int64_t most = 0;
    for (const auto& buffers : scratch_) most = std::max(most, buffers[slot].bytes);
    for (auto& buffers : scratch_) grow(buffers[slot], most);
  }
  uneven_.store(false, std::memory_order_relaxed);
}

void* Cpu::shared_scratch(int64_t bytes, int slot) { return grow(shared_[static_cast<size_t>(slot)], bytes); }

}  // namespace nichelm
