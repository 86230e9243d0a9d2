// Benchmarks: functions of the library that measure and return results; who prints them is another matter (main.cpp here, the command line above).
#pragma once
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "runtime/cpu.h"
#include "runtime/peak.h"

namespace nichelm::benchmark {

// Memory as a program's tensors have it: on cache lines of its own, in large pages where there is much of it. Large std::vectors begin 16 bytes behind a line:
// every access of 64 bytes would touch two.
template <class T> struct LikeTensors {
  using value_type = T;
  LikeTensors() = default;
  template <class U> LikeTensors(const LikeTensors<U>&) {}
  T* allocate(size_t count) {
    const size_t bytes = count * sizeof(T), line = bytes < kLargePage ? 64 : kLargePage;
    void* data = std::aligned_alloc(line, (bytes + line - 1) / line * line);
    if (!data) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    if (line == kLargePage) madvise(data, bytes, MADV_HUGEPAGE);
#endif
    return static_cast<T*>(data);
  }
  void deallocate(T* data, size_t) { std::free(data); }
  template <class U> bool operator==(const LikeTensors<U>&) const { return true; }

 private:
  static constexpr size_t kLargePage = 2 << 20;
};
template <class T> using Aligned = std::vector<T, LikeTensors<T>>;

// One line of a table. Rates are per second; a rate that does not apply is 0.
struct Result {
  std::string benchmark;  // "matmul"
  std::string what;       // "nano mlp up"
  std::string shape;      // "8192 x 512 x 128"
  std::string type;       // "bf16"
  double seconds = 0;     // of the fastest run
  double flops = 0;       // FLOP/s
  double peak = 0;        // what the device can do at most, FLOP/s; flops / peak is the share
  double bytes = 0;       // bytes/s
  double peak_bytes = 0;  // what streaming reaches, bytes/s; bytes / peak_bytes is the share
  double bandwidth = 0;   // of the device's memory at most, bytes/s; bytes / bandwidth is the share
  double tokens = 0;      // tokens/s, of a whole step
  std::string note{};     // more, as a line beneath
};

using Benchmark = std::vector<Result> (*)(Cpu& device);

// A static object of this type in an op's benchmark.cpp makes the benchmark known to nichelm_bench.
struct Register {
  Register(const char* name, Benchmark body);
};
struct Entry {
  std::string name;
  Benchmark body;
};
const std::vector<Entry>& entries();

// Of a benchmark's cases only those are measured whose line, "what shape type", has this text in it (nichelm_bench --case); empty: all.
void only_cases(const std::string& text);
bool wanted(const std::string& what, const std::string& shape, Type type);

// Seconds of the fastest of several runs of body, after one that warms up: at least three runs and about `budget` seconds in all.
template <class Body> double fastest(const Body& body, double budget = 0.15);

double now();  // seconds, steady

// The same beside the peak of the type, which is measured before and after: a clock that changes from second to second changes both.
struct Rated {
  double seconds, peak;  // of the fastest run; FLOP/s
};
template <class Body> Rated fastest_beside_peak(Cpu& device, Type type, const Body& body, double budget = 0.15);

template <class Body> double fastest(const Body& body, double budget) {
  body();
  double best = 1e300;
  const double start = now();
  for (int runs = 0; runs < 3 || now() - start < budget; ++runs) {
    const double before = now();
    body();
    const double seconds = now() - before;
    if (seconds < best) best = seconds;
  }
  return best;
}

template <class Body> Rated fastest_beside_peak(Cpu& device, Type type, const Body& body, double budget) {
  const double before = measured_peak(device, type), seconds = fastest(body, budget);
  return {seconds, std::max(before, measured_peak(device, type))};
}

}  // namespace nichelm::benchmark
