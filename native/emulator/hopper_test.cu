// What the emulator tells of kernels that use Hopper's own instructions wrongly: each fault is planted in a kernel that is sound without it.
#include "cuda/warpgroup.h"
#include "emulator/planted.h"

using namespace nichelm;
using emulator::Aligned, emulator::expect_access_told, emulator::expect_sound, emulator::expect_told, emulator::kModes, emulator::Landing, emulator::Mode, emulator::told;

namespace {

enum Fault : int {
  none, not_initialised, not_fenced_init, wrong_phase, too_many_bytes, too_few_bytes, too_many_arrivals, no_wait, released_early, released_by_one_warp, askew, outside, between_chunks, before_tensor, no_product_fence, read_early,
  not_waited, wrong_swizzle, wrong_tile, diverging, no_proxy_fence, no_barrier, overwritten_store, unwaited_store, unequal_registers
};

constexpr int kSteps = 5, kStages = 2, kBox = 64 * kBoxRowBytes;

// c (64 x 64) = a (64 x 64 kSteps) b (64 x 64 kSteps)^T: warp 4 loads, the others multiply.
__global__ void pipeline(TensorMap map_a, TensorMap map_b, float* c, Fault fault) {
  unsigned char* s = shared_memory<unsigned char>();
  unsigned char* boxes_b = s + kStages * kBox;
  Mbarrier *full = reinterpret_cast<Mbarrier*>(s + 2 * kStages * kBox), *empty = full + kStages;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (threadIdx.x == 0 && fault != not_initialised) {
    for (int i = 0; i < kStages; ++i) mbarrier_init(full + i, 1), mbarrier_init(empty + i, fault == released_by_one_warp ? 1 : 4);
    if (fault != not_fenced_init) mbarrier_fence_init();
  }
  __syncthreads();
  Stage<kStages> stage;
  if (warp == 4) {
    if (lane == 0)
      for (int step = 0; step < kSteps; ++step, stage.advance()) {
        mbarrier_wait(empty + stage.index, fault == wrong_phase ? stage.parity : stage.parity ^ 1);
        mbarrier_expect(full + stage.index, 2 * kBox + (fault == too_many_bytes ? 128 : fault == too_few_bytes ? -128 : 0));
        if (fault == too_many_arrivals) mbarrier_arrive(full + stage.index);
        load_box(s + stage.index * kBox + (fault == askew ? 128 : 0), &map_a, step * 64 + (fault == between_chunks ? 4 : 0), 0, 0, 0, full + stage.index);
        load_box(fault == outside ? s + 2 * kStages * kBox - 1024 : boxes_b + stage.index * kBox, &map_b, step * 64, 0, 0, 0, full + stage.index);
      }
    return;
  }
  float d[32];
  for (float& x : d) x = 0;
  for (int step = 0; step < kSteps; ++step, stage.advance()) {
    if (fault != no_wait) mbarrier_wait(full + stage.index, stage.parity);
    const auto release = [&] {
      if (lane == 0 && (fault != released_by_one_warp || warp == 0)) mbarrier_arrive(empty + stage.index);
    };
    uint64_t of_a = operand_along(s + stage.index * kBox), of_b = operand_along(boxes_b + stage.index * kBox);
    if (fault == wrong_swizzle) of_b ^= uint64_t{3} << 62;
    if (fault == wrong_tile) of_b += 128 >> 4;
    if (fault == diverging && warp == 2) of_a += 2;
    if (fault != no_product_fence) product_fence();
    for (int k = 0; k < 4; ++k) start_product<false, false>(d, advance<false>(of_a, k), advance<false>(of_b, k), step || k);
    commit_products();
    if (fault == released_early) release();
    if (fault == released_by_one_warp && warp == 0) {
      wait_products<0>(d);
      release();
      continue;
    }
    if (fault == released_by_one_warp || fault == released_early)  // these dawdle
      for (int i = 0; i < 3; ++i) emulator::spin(emulator::Place::here());
    if (fault != not_waited || step + 1 < kSteps) {
      if (fault != read_early || step + 1 < kSteps) wait_products<0>(d);
    }
    if (fault != released_early) release();
  }
  for (int i = 0; i < 32; ++i) c[(warp * 16 + lane / 4 + i / 2 % 2 * 8) * 64 + i / 4 * 8 + lane % 4 * 2 + i % 2] = d[i];
  if (fault == read_early) wait_products<0>(d);
}

// c (64 x 64) = a, through shared memory that threads write and a tensor store reads, twice.
__global__ void stored(const Bf16* a, TensorMap map_c, Fault fault) {
  Bf16* s = shared_memory<Bf16>();
  for (int half = 0; half < 2; ++half) {
    for (int i = threadIdx.x; i < 32 * 64; i += 128) box_chunk(s, i / 64, i % 64 / 8)[i % 8] = a[half * 2048 + i];
    if (fault != no_proxy_fence) fence_async_proxy();
    if (fault != no_barrier) __syncthreads();
    if (threadIdx.x == 0) {
      store_box(&map_c, 0, half * 32 - (fault == before_tensor ? 1 : 0), 0, 0, s), commit_stores();
      if (fault != overwritten_store && fault != unwaited_store) wait_stores<0>();
    }
    __syncthreads();
    if (fault == unwaited_store) return;
  }
  if (fault == overwritten_store && threadIdx.x == 0) wait_stores<0>();
}

__global__ void unequal(Fault fault) {
  if (threadIdx.x < 128) {
    if (fault != unequal_registers || threadIdx.x < 32) give_registers<40>();
  } else {
    take_registers<232>();
  }
}
__global__ void too_many_registers() {
  if (threadIdx.x < 128) give_registers<40>();
  else take_registers<240>();
}

struct Matrices {
  std::vector<float> a = test::rounded(test::normal(64 * 64 * kSteps, 1)), b = test::rounded(test::normal(64 * 64 * kSteps, 2)), want = std::vector<float>(4096), c = std::vector<float>(4096);
  std::vector<uint16_t> halves_a = test::to_bf16(a), halves_b = test::to_bf16(b);
  Aligned<uint16_t> at_a{halves_a}, at_b{halves_b};
  TensorMap map_a = map(at_a.data()), map_b = map(at_b.data());

  static TensorMap map(const void* data) { return tensor_map(data, {{64 * kSteps, 64, 1, 1}, {1, 64 * kSteps, 64 * 64 * kSteps, 64 * 64 * kSteps}}, 64); }
  Matrices() {
    for (size_t m = 0; m < 64; ++m)
      for (size_t n = 0; n < 64; ++n)
        for (size_t k = 0; k < 64 * kSteps; ++k) want[m * 64 + n] += a[m * 64 * kSteps + k] * b[n * 64 * kSteps + k];
  }
  std::string told_of(const Mode& mode, Fault fault) {
    c.assign(4096, NAN);
    return told(mode, pipeline, 160, 2 * kStages * kBox + 16 * kStages, map_a, map_b, c.data(), fault);
  }
};

}  // namespace

TEST(hopper_pipeline) {
  Matrices m;
  for (const Mode& mode : kModes) {
    const std::string said = m.told_of(mode, none);
    EXPECT(said.empty(), said);
    EXPECT(test::error(m.c, m.want) < 1e-6, "a pipeline of tensor copies and products");
  }
}

TEST(hopper_faults_are_told) {
  Matrices m;
  const auto expect = [&](Fault fault, const char* words, const char* or_words = "nothing else") {
    for (const Mode& mode : kModes) {
      const std::string said = m.told_of(mode, fault);
      EXPECT(said.find(words) != std::string::npos || said.find(or_words) != std::string::npos, "fault " + std::to_string(fault) + ": expected '" + words + "', got '" + said + "'");
    }
  };
  expect(not_initialised, "not initialised");
  expect(not_fenced_init, "mbarrier_fence_init");
  expect(wrong_phase, "dead lock");
  expect(too_many_bytes, "waits for 128 bytes");
  expect(too_few_bytes, "waits for -128 bytes");
  expect(too_many_arrivals, "more arrivals at an mbarrier than its 1");
  expect(released_early, "may still read it");
  expect(released_by_one_warp, "may still read it", "while an asynchronous copy writes it");
  expect(askew, "not aligned to 1024 bytes");
  expect(outside, "outside shared memory");
  expect(between_chunks, "no multiple of 16 bytes");
  expect(no_product_fence, "no product_fence");
  expect(not_waited, "matrix instructions that it did not wait for");
  expect(wrong_swizzle, "without the swizzle");
  expect(wrong_tile, "does not begin at a multiple of 1024");
  expect(diverging, "start different matrix instructions");
  for (const Mode& mode : kModes) {
    if (mode.landing == Landing::late) EXPECT(!m.told_of(mode, no_wait).empty() || !(test::error(m.c, m.want) < 1e-6), "what is read before it has landed is told, or shows");
    m.told_of(mode, read_early);
    EXPECT(std::isnan(test::error(m.c, m.want)), "sums that are read before the wait are NaN");
  }
}

TEST(hopper_store_faults_are_told) {
  std::vector<uint16_t> a = test::to_bf16(test::normal(4096, 3)), zero(4096);
  const Aligned<uint16_t> from(a);
  Aligned<uint16_t> c(zero);
  const TensorMap map = tensor_map(c.data(), {{64, 64, 1, 1}, {1, 64, 4096, 4096}}, 32);
  const auto* data = reinterpret_cast<const Bf16*>(from.data());
  expect_sound(stored, 128, 4096, data, map, none);
  EXPECT(std::memcmp(c.data(), from.data(), 8192) == 0, "a tensor store");
  expect_access_told("has not fenced it", stored, 128, 4096, data, map, no_proxy_fence);
  expect_access_told("without a barrier between", stored, 128, 4096, data, map, no_barrier);
  expect_access_told("may still read it", stored, 128, 4096, data, map, overwritten_store);
  expect_told("begins before the tensor", stored, 128, 4096, data, map, before_tensor);
  expect_told("stores that it did not wait for", stored, 128, 4096, data, map, unwaited_store);
}

TEST(hopper_register_faults_are_told) {
  expect_sound(unequal, 384, 0, none);
  expect_told("the others did not", unequal, 384, 0, unequal_registers);
  expect_told("together", too_many_registers, 384, 0);
}
