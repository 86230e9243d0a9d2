#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "runtime/bf16.h"
#include "runtime/cpu.h"
#include "test/test.h"

namespace nichelm::test {
namespace {

struct Entry { const char* name; void (*body)(); };
std::vector<Entry>& entries() { static std::vector<Entry> all; return all; }
int passed = 0, failed = 0;
std::string device;  // empty: not chosen

}  // namespace

Test::Test(const char* name, void (*body)()) { entries().push_back({name, body}); }

void expect(bool holds, const std::string& what, const char* file, int line) {
  holds ? ++passed : ++failed;
  if (!holds) std::printf("FAILED %s:%d: %s\n", file, line, what.c_str());
}

std::vector<float> normal(int64_t count, unsigned seed, float scale) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> x(static_cast<size_t>(count));
  for (float& v : x) v = scale * distribution(random);
  return x;
}

std::vector<uint16_t> to_bf16(const std::vector<float>& x) {
  std::vector<uint16_t> y(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    Bf16 b;
    narrow(x[i], b);
    y[i] = b.bits;
  }
  return y;
}

std::vector<float> from_bf16(const std::vector<uint16_t>& x) {
  std::vector<float> y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = widen(Bf16{x[i]});
  return y;
}

std::vector<float> rounded(const std::vector<float>& x) { return from_bf16(to_bf16(x)); }

Tensor tensor(void* data, Type type, std::vector<int64_t> shape) {
  Tensor t{data, type, static_cast<uint8_t>(shape.size()), {}};
  for (size_t i = 0; i < shape.size(); ++i) t.shape[i] = shape[i];
  return t;
}

double error(const std::vector<float>& got, const std::vector<float>& want) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < got.size(); ++i) difference += std::pow(double(got[i]) - want[i], 2), norm += std::pow(double(want[i]), 2);
  return got.size() == want.size() ? std::sqrt(difference) / (std::sqrt(norm) + 1e-30) : NAN;
}

bool within(double kernel_error, double plain_error, double tiny) { return kernel_error <= 2 * plain_error + tiny; }

bool chosen_device(const std::string& name) { return device.empty() ? name != "cuda" : name == device; }

std::vector<int> isas() {
  std::vector<int> all;
  for (const char* name : {"portable", "avx2", "avx512", "avx512bf16"}) try {
      all.push_back(static_cast<int>(parse_isa(name)));
    } catch (const Error&) {
    }
  return all;
}

}  // namespace nichelm::test

// nichelm_test [--device cpu|cuda-emulated|cuda] [part of a test's name]. Exit code 0: all passed; 1: not all, or there is no such test; 3: a GPU was lost.
int main(int argc, char** argv) {
  using namespace nichelm::test;
  if (argc > 2 && std::strcmp(argv[1], "--device") == 0) device = argv[2], argc -= 2, argv += 2;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // what was found is told also where the process is ended
  int tests = 0;
  for (const auto& entry : entries())
    if (argc < 2 || std::strstr(entry.name, argv[1])) {
      ++tests;
      if (device == "cuda") std::printf("%s\n", entry.name);  // of a GPU that hangs it is of interest where
      try {
        entry.body();
      } catch (const nichelm::Error& e) {
        expect(false, std::string(entry.name) + " threw: " + e.what(), __FILE__, __LINE__);
        if (device == "cuda" && e.code == nichelm::ErrorCode::device) {  // a fault ends all that the process may do with the GPU
          std::printf("the device is lost\n%d tests\n%d passed, %d failed\n", tests, passed, failed);
          std::fflush(stdout);
          std::_Exit(3);
        }
      } catch (const std::exception& e) {
        expect(false, std::string(entry.name) + " threw: " + e.what(), __FILE__, __LINE__);
      }
    }
  std::printf("%d tests\n%d passed, %d failed\n", tests, passed, failed);
  return failed != 0 || tests == 0;
}
