// Tensor copies (TMA, sm_90 on): one thread has the copy engine move a box of a tensor of bf16 between device and shared memory. In shared memory a box is
// rows of 64 elements, 128 bytes, swizzled: 16-byte chunk c of row r lies at chunk c ^ (r % 8), as matrix instructions read it (warpgroup.h). A box begins at
// a multiple of 1024 bytes. What lies outside the tensor is 0 when it is loaded, counts towards the bytes, and is left as it is by stores.
#pragma once
#include "cuda/mbarrier.h"
#ifdef __CUDACC__
#include <cuda.h>
#endif

namespace nichelm {

#ifdef __CUDACC__
using TensorMap = CUtensorMap;
#else
using TensorMap = emulator::Box;
#endif

constexpr int kBoxColumns = 64, kBoxRowBytes = 128;

// A tensor of bf16 with four axes, innermost first: how many elements, and how many elements lie from one to the next (the first: 1). Boxes of 64 x rows.
// data and strides must be multiples of 16 bytes (tensor_map_fits). A kernel has it by value: const __grid_constant__ TensorMap.
struct TensorShape {
  int64_t sizes[4], strides[4];
};
inline bool tensor_map_fits(const void* data, const TensorShape& shape) {
  bool fits = reinterpret_cast<uintptr_t>(data) % 16 == 0;
  for (int i = 0; i < 4; ++i) fits = fits && shape.sizes[i] > 0 && shape.sizes[i] < int64_t{1} << 32 && (i == 0 || (shape.strides[i] % 8 == 0 && shape.strides[i] < int64_t{1} << 39));
  return fits;
}
#ifdef __CUDACC__
TensorMap tensor_map(const void* data, const TensorShape& shape, int rows);  // tensor_map.cu
#else
inline TensorMap tensor_map(const void* data, const TensorShape& shape, int rows) {
  require(tensor_map_fits(data, shape) && rows > 0 && rows <= 256, "a tensor map needs data and strides that are multiples of 16 bytes");
  TensorMap map{static_cast<char*>(const_cast<void*>(data)), {}, {}, {kBoxColumns, static_cast<uint32_t>(rows), 1, 1}};
  for (int i = 0; i < 4; ++i) map.sizes[i] = static_cast<uint64_t>(shape.sizes[i]), map.strides[i] = static_cast<uint64_t>(shape.strides[i]) * 2;
  return map;
}
#endif

#ifdef __CUDACC__
#if NICHELM_HOPPER
// The box whose first element is (x, y, z, w); its bytes land at the barrier.
__device__ __forceinline__ void load_box(void* into, const TensorMap* map, int x, int y, int z, int w, Mbarrier* b) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared_word(into)), "l"(map), "r"(shared_word(b)), "r"(x),
               "r"(y), "r"(z), "r"(w) : "memory");
}
// What threads wrote there must have been fenced by them (fence_async_proxy), and met.
__device__ __forceinline__ void store_box(const TensorMap* map, int x, int y, int z, int w, const void* from) {
  asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(map), "r"(shared_word(from)), "r"(x), "r"(y), "r"(z), "r"(w) : "memory");
}
__device__ __forceinline__ void commit_stores() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// By the thread that stored: all groups but the last kBut have been read from shared memory. Before it ends it must have waited for all.
template <int kBut> __device__ __forceinline__ void wait_stores() { asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kBut) : "memory"); }
// Bytes as they lie, a multiple of 16, both addresses aligned to 16.
__device__ __forceinline__ void load_bulk(void* into, const void* from, int bytes, Mbarrier* b) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_word(into)), "l"(from), "r"(bytes), "r"(shared_word(b)) : "memory");
}
// The map will be used soon.
__device__ __forceinline__ void prefetch_map(const TensorMap* map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }
#endif
#else
inline void load_box(void* into, const TensorMap* map, int x, int y, int z, int w, Mbarrier* b, NICHELM_PLACE) { emulator::load_box(into, *map, {x, y, z, w}, b, place); }
inline void store_box(const TensorMap* map, int x, int y, int z, int w, const void* from, NICHELM_PLACE) { emulator::store_box(*map, {x, y, z, w}, from, place); }
inline void commit_stores() { emulator::commit_stores(); }
template <int kBut> void wait_stores() { emulator::wait_stores(kBut); }
inline void load_bulk(void* into, const void* from, int bytes, Mbarrier* b, NICHELM_PLACE) { emulator::load_bulk(into, from, bytes, b, place); }
inline void prefetch_map(const TensorMap*) {}
#endif

// Where chunk (8 elements) of a row of a box lies.
__device__ __forceinline__ Bf16* box_chunk(Bf16* box, int row, int chunk) { return box + row * kBoxColumns + (chunk ^ (row & 7)) * 8; }

}  // namespace nichelm
