// The shape of a projection, as tests of project and of what joins it with other work (basis_step) have it.
#pragma once
#include <cstdint>
#include <string>

namespace nichelm::test {

struct ProjectionShape {
  int64_t experts, m, h, groups, inputs, outputs;
  int64_t size() const { return inputs * outputs; }
  std::string text() const {
    std::string s;
    for (int64_t n : {experts, m, h, groups, inputs, outputs}) s += (s.empty() ? "" : " x ") + std::to_string(n);
    return s;
  }
};

}  // namespace nichelm::test
