#include "ops/attention/tile.h"
#include "test/math_sweep.h"

namespace nichelm::test {

template <> void sweep_attention_power<cpu::NICHELM_ISA>(bool bf16, const float* x, float* y, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const Vector power = load<Vector>(x + i);
    store(y + i, bf16 ? power_of<Bf16>(power) : power_of<float>(power));
  }
}

}  // namespace nichelm::test
