// Results that are larger than the caches, and are written past them.
#pragma once
#include "runtime/cpu.h"
#include "runtime/lanes.h"

namespace nichelm {
namespace {

// Calls body(std::integral_constant<Store, ...>) once, with how y is written. By the time an op that goes through more than the caches hold has ended, the
// beginning of y has left them in any case. Where y lies on an operand its lines have been read already, and rows must begin at whole lines.
template <class Body, class... Operands> void with_store(const Cpu& device, const Tensor& y, const Body& body, const Operands&... operands) {
  const auto whole_lines = [](int64_t bytes) { return bytes % 64 == 0; };
  const bool apart = ((operands.data != y.data) && ...);
  if (apart && device.outgrows_caches((y.bytes() + ... + (operands.present() ? operands.bytes() : 0))) && whole_lines(reinterpret_cast<int64_t>(y.data)) && whole_lines(y.width() * bytes_of(y.type)))
    body(std::integral_constant<Store, Store::streaming>{});
  else body(std::integral_constant<Store, Store::cached>{});
}

}  // namespace
}  // namespace nichelm
