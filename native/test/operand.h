// An operand of a test, f32 or bf16, with its values as floats for the oracle.
#pragma once
#include <algorithm>
#include <cmath>
#include <utility>

#include "test/test.h"

namespace nichelm::test {

class Operand {
 public:
  // values are rounded to type.
  Operand(Type type, std::vector<int64_t> shape, const std::vector<float>& values) : type_(type), shape_(std::move(shape)) {
    type == Type::bf16 ? void(halves_ = to_bf16(values)) : void(floats_ = values);
  }
  // An output that holds NaN until it is written.
  Operand(Type type, std::vector<int64_t> shape) : Operand(type, shape, std::vector<float>(static_cast<size_t>(nichelm::test::tensor(nullptr, type, shape).size()), NAN)) {}

  Tensor tensor() { return nichelm::test::tensor(type_ == Type::bf16 ? static_cast<void*>(halves_.data()) : floats_.data(), type_, shape_); }
  std::vector<float> values() const { return type_ == Type::bf16 ? from_bf16(halves_) : floats_; }

 private:
  Type type_;
  std::vector<int64_t> shape_;
  std::vector<float> floats_;
  std::vector<uint16_t> halves_;
};

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::equal(a.begin(), a.end(), b.begin(), [](float x, float y) { return std::isnan(x) ? std::isnan(y) : x == y && std::signbit(x) == std::signbit(y); }));
}

// What a kernel's output would be if it were rounded to type at its end only.
inline std::vector<float> as_type(const std::vector<float>& x, Type type) { return type == Type::bf16 ? rounded(x) : x; }

}  // namespace nichelm::test
