// For tests of the emulator: what it says of a kernel, in each of several modes.
#pragma once
#include "cuda/kernel.h"
#include "test/test.h"

namespace nichelm::emulator {
namespace {

constexpr Mode kModes[] = {{Order::forward, Landing::late}, {Order::reverse, Landing::early}, {Order::random, Landing::late}, {Order::random, Landing::early}};

struct Launcher : Cuda {
  void* scratch(int64_t, int) override { return nullptr; }
  int multiprocessors() const override { return 1; }
  bool hopper() const override { return true; }
  Products& products() override { fail("a kernel under test has no products"); }
  void* stream() override { return nullptr; }
  bool recording() const override { return false; }
  double seconds(const std::function<void()>&, int) override { return 0; }
};

// What the emulator says of a kernel; empty if nothing. shared in bytes.
template <class... Parameters, class... Arguments> std::string told(const Mode& mode, void (*kernel)(Parameters...), unsigned threads, size_t shared, Arguments... arguments) {
  set_mode(mode);
  try {
    Launcher().launch("kernel", kernel, dim3(2), threads, shared, arguments...);
  } catch (const Failure& failure) {
    return failure.what();
  }
  return "";
}
template <class... Parameters, class... Arguments> void expect_told(const char* words, void (*kernel)(Parameters...), unsigned threads, size_t shared, Arguments... arguments) {
  for (const Mode& mode : kModes) {
    const std::string said = told(mode, kernel, threads, shared, arguments...);
    EXPECT(said.find(words) != std::string::npos, std::string("expected '") + words + "', got '" + said + "'");
  }
}
// What is seen in the kernel's own accesses only: where it is compiled for AddressSanitizer, it has no hooks for them.
template <class... Parameters, class... Arguments>
void expect_access_told([[maybe_unused]] const char* words, [[maybe_unused]] void (*kernel)(Parameters...), [[maybe_unused]] unsigned threads, [[maybe_unused]] size_t shared,
                        [[maybe_unused]] Arguments... arguments) {
#ifndef __SANITIZE_ADDRESS__
  expect_told(words, kernel, threads, shared, arguments...);
#endif
}
template <class... Parameters, class... Arguments> void expect_sound(void (*kernel)(Parameters...), unsigned threads, size_t shared, Arguments... arguments) {
  for (const Mode& mode : kModes) {
    const std::string said = told(mode, kernel, threads, shared, arguments...);
    EXPECT(said.empty(), said);
  }
}

// A copy of values at an address that is a multiple of 256.
template <class T> class Aligned {
 public:
  explicit Aligned(const std::vector<T>& values) : data_(static_cast<T*>(std::aligned_alloc(256, (values.size() * sizeof(T) + 255) / 256 * 256))) {
    std::copy(values.begin(), values.end(), data_);
  }
  ~Aligned() { std::free(data_); }
  Aligned(const Aligned&) = delete;
  T* data() const { return data_; }

 private:
  T* data_;
};

}  // namespace
}  // namespace nichelm::emulator
