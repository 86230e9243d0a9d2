// See primitives.h.
#include "cuda/primitives.h"

#include "cuda/async.h"
#include "cuda/warpgroup.h"

namespace nichelm {
namespace {

// a: 32 rows of 8 halves; c: 4 registers a lane.
template <bool kTransposed> __global__ void probe_load_matrices(const Bf16* a, uint32_t* c) {
  Bf16* s = shared_memory<Bf16>();
  const int lane = threadIdx.x;
  for (int i = 0; i < 8; ++i) s[lane * 8 + i] = a[lane * 8 + i];
  __syncthreads();
  uint32_t r[4];
  if (kTransposed) load_matrices_transposed(r, s + lane * 8);
  else load_matrices(r, s + lane * 8);
  for (int i = 0; i < 4; ++i) c[lane * 4 + i] = r[i];
}

// a: 4 registers a lane; b: 2; c: 4 sums, which are added to.
__global__ void probe_multiply_matrices(const uint32_t* a, const uint32_t* b, float* c) {
  const int lane = threadIdx.x;
  uint32_t of_a[4];
  float d[4];
  for (int i = 0; i < 4; ++i) of_a[i] = a[lane * 4 + i], d[i] = c[lane * 4 + i];
  multiply_matrices(d, of_a, b[lane * 2], b[lane * 2 + 1]);
  for (int i = 0; i < 4; ++i) c[lane * 4 + i] = d[i];
}

// a: 16 bytes a thread, which its neighbour gets; every third gets zeros.
__global__ void probe_copy_async(const uint32_t* a, uint32_t* c) {
  uint32_t* s = shared_memory<uint32_t>();
  const int t = threadIdx.x, other = (t + 33) % 64;
  copy_async(s + 4 * t, a + 4 * t, t % 3 != 0);
  commit_copies();
  wait_copies<0>();
  __syncthreads();
  for (int i = 0; i < 4; ++i) c[4 * t + i] = s[4 * other + i];
}

constexpr int kBoxBytes = PrimitiveTensor::kRows * kBoxRowBytes;

// c: what lies in shared memory of each box, word by word.
__global__ void __launch_bounds__(128) probe_load_box(const __grid_constant__ TensorMap map, uint32_t* c) {
#if NICHELM_HOPPER
  unsigned char* s = shared_memory<unsigned char>();
  Mbarrier* full = reinterpret_cast<Mbarrier*>(s + kBoxBytes);
  if (threadIdx.x == 0) mbarrier_init(full, 1), mbarrier_fence_init();
  __syncthreads();
  for (int place = 0; place < PrimitiveTensor::kPlaces; ++place) {
    const auto at = [place](int axis) { return PrimitiveTensor::at(place, axis); };
    if (threadIdx.x == 0) mbarrier_expect(full, kBoxBytes), load_box(s, &map, at(0), at(1), at(2), at(3), full);
    mbarrier_wait(full, place & 1);
    for (int i = threadIdx.x; i < kBoxBytes / 4; i += 128) c[place * kBoxBytes / 4 + i] = reinterpret_cast<const uint32_t*>(s)[i];
    __syncthreads();
  }
#endif
}

// a: words of each box as they are to lie in shared memory; the map is of c.
__global__ void __launch_bounds__(128) probe_store_box(const uint32_t* a, const __grid_constant__ TensorMap map) {
#if NICHELM_HOPPER
  unsigned char* s = shared_memory<unsigned char>();
  for (int place = 0; place < PrimitiveTensor::kPlaces; ++place) {
    const auto at = [place](int axis) { return PrimitiveTensor::store_at(place, axis); };
    for (int i = threadIdx.x; i < kBoxBytes / 4; i += 128) reinterpret_cast<uint32_t*>(s)[i] = a[place * kBoxBytes / 4 + i];
    fence_async_proxy();
    __syncthreads();
    if (threadIdx.x == 0) store_box(&map, at(0), at(1), at(2), at(3), s), commit_stores(), wait_stores<0>();
    __syncthreads();
  }
#endif
}

// a: 256 words, of which c gets those from 64 on, one further.
__global__ void __launch_bounds__(128) probe_load_bulk(const uint32_t* a, uint32_t* c) {
#if NICHELM_HOPPER
  uint32_t* s = shared_memory<uint32_t>();
  Mbarrier* full = reinterpret_cast<Mbarrier*>(s + 256);
  if (threadIdx.x == 0) mbarrier_init(full, 1), mbarrier_fence_init();
  __syncthreads();
  if (threadIdx.x == 0) mbarrier_expect(full, 768), load_bulk(s, a + 64, 512, full), load_bulk(s + 128, a + 192, 256, full);
  mbarrier_wait(full, 0);
  for (int i = threadIdx.x; i < 192; i += 128) c[i] = s[i];
#endif
}

// Warp 4 loads tiles of words; warps 0 to 3 add them up, each word by the thread of its number.
__global__ void __launch_bounds__(160) probe_pipeline(const uint32_t* a, uint32_t* c) {
#if NICHELM_HOPPER
  using P = PrimitivePipeline;
  uint32_t* s = shared_memory<uint32_t>();
  Mbarrier *full = reinterpret_cast<Mbarrier*>(s + P::kStages * P::kWords), *empty = full + P::kStages;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (threadIdx.x == 0) {
    for (int i = 0; i < P::kStages; ++i) mbarrier_init(full + i, 1), mbarrier_init(empty + i, 4);
    mbarrier_fence_init();
  }
  __syncthreads();
  Stage<P::kStages> stage;
  if (warp == 4) {
    if (lane == 0)
      for (int step = 0; step < P::kSteps; ++step, stage.advance()) {
        mbarrier_wait(empty + stage.index, stage.parity ^ 1);
        mbarrier_expect(full + stage.index, P::kWords * 4);
        load_bulk(s + stage.index * P::kWords, a + step * P::kWords, P::kWords * 4, full + stage.index);
      }
  } else {
    uint32_t sum = 0;
    for (int step = 0; step < P::kSteps; ++step, stage.advance()) {
      mbarrier_wait(full + stage.index, stage.parity);
      if (threadIdx.x < P::kWords) sum = sum * 3 + s[stage.index * P::kWords + threadIdx.x];
      __syncwarp();
      if (lane == 0) mbarrier_arrive(empty + stage.index);
    }
    if (threadIdx.x < P::kWords) c[threadIdx.x] = sum;
  }
#endif
}

// Registers go from the first warpgroup to the others, words by barriers of their own from it to them, in turns.
__global__ void __launch_bounds__(384, 1) probe_exchange(const uint32_t* a, uint32_t* c) {
#if NICHELM_HOPPER
  uint32_t* s = shared_memory<uint32_t>();
  if (threadIdx.x < 128) {
    give_registers<40>();
    for (int turn = 0; turn < 3; ++turn) {
      if (turn) barrier_wait(2, 384);
      s[threadIdx.x] = a[turn * 128 + threadIdx.x];
      barrier_arrive(1, 384);
    }
  } else {
    take_registers<232>();
    const int t = threadIdx.x - 128;
    for (int turn = 0; turn < 3; ++turn) {
      barrier_wait(1, 384);
      c[turn * 256 + t] = s[127 - t % 128];
      if (turn < 2) barrier_arrive(2, 384);
    }
  }
#endif
}

// a (64 x 64) b (64 x kColumns): a as rows of k or, across, of m; b as rows of n along k, or across, of k; c: the sums of each thread, twice the product.
template <int kColumns, bool kAcrossA, bool kAcrossB, bool kRegisters>
__global__ void __launch_bounds__(128) probe_product(const __grid_constant__ TensorMap map_a, const __grid_constant__ TensorMap map_b, const Bf16* a, const Bf16* b, float* c, bool by_threads) {
#if NICHELM_HOPPER
  constexpr int kDepth = kPrimitiveDepth, kBytesA = 64 * kBoxRowBytes, kBytesB = kColumns * kBoxRowBytes, kSums = kColumns / 2;
  unsigned char* s = shared_memory<unsigned char>();
  unsigned char* box_b = s + kBytesA;
  Mbarrier* full = reinterpret_cast<Mbarrier*>(s + kBytesA + kBytesB);
  const int t = threadIdx.x, row = t / 32 * 16 + t % 32 / 4, pair = t % 4 * 2;
  if (t == 0) mbarrier_init(full, 1), mbarrier_fence_init();
  __syncthreads();
  if (by_threads) {
    for (int i = t; i < 64 * 64; i += 128) box_chunk(reinterpret_cast<Bf16*>(s), i / 64, i % 64 / 8)[i % 8] = a[i];
    for (int i = t; i < kDepth * kColumns; i += 128) {
      // Across, there is a box for each 64 columns; along, more rows.
      const int r = kAcrossB ? i / kColumns : i / 64, column = kAcrossB ? i % kColumns : i % 64;
      box_chunk(reinterpret_cast<Bf16*>(box_b) + column / 64 * 64 * 64, r, column % 64 / 8)[column % 8] = b[i];
    }
    fence_async_proxy();
    __syncthreads();
  } else {
    if (t == 0) {
      mbarrier_expect(full, kBytesA + kBytesB);
      load_box(s, &map_a, 0, 0, 0, 0, full);
      if (kAcrossB)
        for (int slab = 0; slab < kColumns / 64; ++slab) load_box(box_b + slab * 64 * kBoxRowBytes, &map_b, slab * 64, 0, 0, 0, full);
      else load_box(box_b, &map_b, 0, 0, 0, 0, full);
    }
    mbarrier_wait(full, 0);
  }
  const uint64_t of_a = kAcrossA ? operand_across(s, 64 * kBoxRowBytes) : operand_along(s), of_b = kAcrossB ? operand_across(box_b, 64 * kBoxRowBytes) : operand_along(box_b);
  uint32_t registers[kDepth / 16][4];
#pragma unroll
  for (int k = 0; k < kDepth / 16; ++k)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const Bf16* two = a + (row + i % 2 * 8) * 64 + k * 16 + pair + i / 2 * 8;
      registers[k][i] = two[0].bits | static_cast<uint32_t>(two[1].bits) << 16;
    }
  float d[kSums];
#pragma unroll
  for (int twice = 0; twice < 2; ++twice) {
    if constexpr (kRegisters) product_fence(registers);
    else product_fence();
#pragma unroll
    for (int k = 0; k < kDepth / 16; ++k) {
      if constexpr (kRegisters) start_product<kAcrossB>(d, registers[k], advance<kAcrossB>(of_b, k), twice || k);
      else start_product<kAcrossA, kAcrossB>(d, advance<kAcrossA>(of_a, k), advance<kAcrossB>(of_b, k), twice || k);
    }
    commit_products();
  }
  wait_products<0>(d);
#pragma unroll
  for (int i = 0; i < kSums; ++i) c[t * kSums + i] = d[i];
#endif
}

template <int kColumns, bool kAcrossA, bool kAcrossB, bool kRegisters> void launch_product(Cuda& device, const Primitive& p) {
  const auto map = [](const Tensor& t, int rows) { return tensor_map(t.data, {{t.shape[1], t.shape[0], 1, 1}, {1, t.shape[1], t.size(), t.size()}}, rows); };
  device.launch("probe_product", probe_product<kColumns, kAcrossA, kAcrossB, kRegisters>, dim3(1), 128, static_cast<size_t>((64 + kColumns) * kBoxRowBytes + 8), map(p.a, 64),
                map(p.b, kAcrossB ? 64 : kColumns), p.a.as<const Bf16>(), p.b.as<const Bf16>(), p.c.as<float>(), p.by_threads);
}
template <int kColumns> void products(Cuda& device, const Primitive& p) {
  if (p.registers_a) return p.across_b ? launch_product<kColumns, false, true, true>(device, p) : launch_product<kColumns, false, false, true>(device, p);
  if (p.across_a) return p.across_b ? launch_product<kColumns, true, true, false>(device, p) : launch_product<kColumns, true, false, false>(device, p);
  p.across_b ? launch_product<kColumns, false, true, false>(device, p) : launch_product<kColumns, false, false, false>(device, p);
}

}  // namespace

template <> void run(Cuda& device, const Primitive& p) {
  using T = PrimitiveTensor;
  const auto *a = p.a.as<const uint32_t>(), *b = p.b.as<const uint32_t>();
  auto* c = p.c.as<uint32_t>();
  const TensorShape shape{{T::kSizes[0], T::kSizes[1], T::kSizes[2], T::kSizes[3]}, {T::kStrides[0], T::kStrides[1], T::kStrides[2], T::kStrides[3]}};
  switch (static_cast<PrimitiveKind>(p.kind)) {
    case PrimitiveKind::load_matrices: return device.launch("probe_load_matrices", probe_load_matrices<false>, dim3(1), 32, 512, p.a.as<const Bf16>(), c);
    case PrimitiveKind::load_matrices_transposed: return device.launch("probe_load_matrices", probe_load_matrices<true>, dim3(1), 32, 512, p.a.as<const Bf16>(), c);
    case PrimitiveKind::multiply_matrices: return device.launch("probe_multiply_matrices", probe_multiply_matrices, dim3(1), 32, 0, a, b, p.c.as<float>());
    case PrimitiveKind::copy_async: return device.launch("probe_copy_async", probe_copy_async, dim3(1), 64, 1024, a, c);
    case PrimitiveKind::load_box: return device.launch("probe_load_box", probe_load_box, dim3(1), 128, kBoxBytes + 8, tensor_map(p.a.data, shape, T::kRows), c);
    case PrimitiveKind::store_box: return device.launch("probe_store_box", probe_store_box, dim3(1), 128, kBoxBytes, a, tensor_map(p.c.data, shape, T::kRows));
    case PrimitiveKind::load_bulk: return device.launch("probe_load_bulk", probe_load_bulk, dim3(1), 128, 1024 + 8, a, c);
    case PrimitiveKind::pipeline: return device.launch("probe_pipeline", probe_pipeline, dim3(1), 160, PrimitivePipeline::kStages * (PrimitivePipeline::kWords * 4 + 16), a, c);
    case PrimitiveKind::exchange: return device.launch("probe_exchange", probe_exchange, dim3(1), 384, 512, a, c);
    case PrimitiveKind::product: return p.columns == 64 ? products<64>(device, p) : p.columns == 128 ? products<128>(device, p) : products<256>(device, p);
  }
}

NICHELM_CUDA_KERNELS(Primitive)

}  // namespace nichelm
