// A small harness: tests register themselves; a failed expectation names its place and the run goes on.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "runtime/tensor.h"

namespace nichelm::test {

struct Test {
  Test(const char* name, void (*body)());
};
void expect(bool holds, const std::string& what, const char* file, int line);

// Deterministic normal deviates, so that a failing test fails again.
std::vector<float> normal(int64_t count, unsigned seed, float scale = 1);
// f32 data rounded to bf16 and back: what a bf16 kernel is given, as floats for the oracle.
std::vector<float> rounded(const std::vector<float>& x);
std::vector<uint16_t> to_bf16(const std::vector<float>& x);
std::vector<float> from_bf16(const std::vector<uint16_t>& x);

Tensor tensor(void* data, Type type, std::vector<int64_t> shape);
inline Tensor f32(std::vector<float>& x, std::vector<int64_t> shape) { return tensor(x.data(), Type::f32, std::move(shape)); }
inline Tensor bf16(std::vector<uint16_t>& x, std::vector<int64_t> shape) { return tensor(x.data(), Type::bf16, std::move(shape)); }
inline Tensor i32(std::vector<int32_t>& x, std::vector<int64_t> shape) { return tensor(x.data(), Type::i32, std::move(shape)); }

// Relative error in the Euclidean norm of got against the oracle want; NaN if any element of got is NaN.
double error(const std::vector<float>& got, const std::vector<float>& want);

// The rule for tolerances: at most twice the error that a plain loop in the kernel's own precision makes, plus a tiny absolute term. NaN fails.
bool within(double kernel_error, double plain_error, double tiny = 1e-7);

// Whether tests run on this device: cpu, cuda-emulated, cuda. Without `--device` they run on the first two.
bool chosen_device(const std::string& name);

// The instruction sets this CPU has: every kernel is tested on each.
std::vector<int> isas();

}  // namespace nichelm::test

#define TEST(name)                                                          \
  static void test_##name();                                                \
  static const nichelm::test::Test register_##name(#name, test_##name);     \
  static void test_##name()
#define EXPECT(holds, what) nichelm::test::expect((holds), (what), __FILE__, __LINE__)
