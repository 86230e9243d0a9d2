#include <chrono>

#include "benchmark/benchmark.h"

namespace nichelm::benchmark {
namespace {

std::vector<Entry>& all() {
  static std::vector<Entry> entries;
  return entries;
}
std::string only;

}  // namespace

Register::Register(const char* name, Benchmark body) { all().push_back({name, body}); }
const std::vector<Entry>& entries() { return all(); }

void only_cases(const std::string& text) { only = text; }
bool wanted(const std::string& what, const std::string& shape, Type type) { return (what + " " + shape + " " + name_of(type)).find(only) != std::string::npos; }

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace nichelm::benchmark
