// Work that one thread has done before another has woken up: a step of a few tokens is made of such.
#pragma once
#include "runtime/cpu.h"

namespace nichelm {
namespace {

constexpr int64_t kSmallElements = 1 << 15;

// As device.split; elements: how many are read or written in all.
template <class Body> void split_elements(Cpu& device, int64_t count, int64_t elements, const Body& body) {
  if (elements > kSmallElements) device.split(count, body);
  else if (count > 0) body(int64_t{0}, count);
}

}  // namespace
}  // namespace nichelm
