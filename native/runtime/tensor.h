// A tensor as a kernel sees it: an address in its device's memory, a type and a shape. It owns nothing.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace nichelm {

enum class Type : uint8_t { f32, bf16, i32 };

constexpr int64_t bytes_of(Type type) { return type == Type::bf16 ? 2 : 4; }
const char* name_of(Type type);

struct Tensor {
  void* data = nullptr;
  Type type = Type::f32;
  uint8_t axes = 0;
  std::array<int64_t, 4> shape{};  // row-major, last axis contiguous

  int64_t width() const { return axes ? shape[axes - 1] : 1; }
  int64_t size() const {
    int64_t n = 1;
    for (int i = 0; i < axes; ++i) n *= shape[i];
    return n;
  }
  int64_t rows() const { return width() ? size() / width() : 0; }
  int64_t bytes() const { return size() * bytes_of(type); }
  bool present() const { return data != nullptr; }
  template <class T> T* as() const { return static_cast<T*>(data); }
};

// How an op uses an operand. The planner reads this: what may share memory, what must hold a value before.
struct In : Tensor {};
struct Out : Tensor {};
struct InOut : Tensor {};        // read, then overwritten
struct Accumulate : Tensor {};   // added to, never overwritten
struct InOptional : Tensor {};   // may be absent: data is null
struct OutOptional : Tensor {};  // may be absent: then it is not computed
struct AccumulateOptional : Tensor {};

}  // namespace nichelm
