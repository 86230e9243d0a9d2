#include <chrono>

#include "benchmark/benchmark.h"

namespace nichelm::benchmark {
namespace {

std::vector<Entry>& all() {
  static std::vector<Entry> entries;
  return entries;
}

}  // namespace

Register::Register(const char* name, Benchmark body) { all().push_back({name, body}); }
const std::vector<Entry>& entries() { return all(); }

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace nichelm::benchmark
