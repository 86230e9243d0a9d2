// The emulator itself: what a kernel does wrong is told, in every order of threads; what it does right gives the right values.
#include "cuda/async.h"
#include "cuda/matrix.h"
#include "cuda/reduce.h"
#include "cuda/vector.h"
#include "emulator/planted.h"

using namespace nichelm;
using emulator::expect_access_told, emulator::expect_sound, emulator::expect_told, emulator::kModes, emulator::Mode, emulator::told;

namespace {

__global__ void reversed(int* out, bool with_barrier) {  // through shared memory
  int* s = shared_memory<int>();
  s[threadIdx.x] = static_cast<int>(threadIdx.x);
  if (with_barrier) __syncthreads();
  out[blockIdx.x * blockDim.x + threadIdx.x] = s[blockDim.x - 1 - threadIdx.x];
}

__global__ void reused(float* out, bool with_barrier) {  // the second sum writes where the first is still read
  float* parts = shared_memory<float>();
  const float a = block_sum(1.0f, parts);
  if (with_barrier) __syncthreads();
  out[threadIdx.x] = a + block_sum(2.0f, parts);
}

__global__ void turns(int* out, bool with_meeting) {  // lane 0 adds to what the others have read, again and again
  int* s = shared_memory<int>();
  if (threadIdx.x == 0) *s = 0;
  __syncwarp();
  int sum = 0;
  for (int i = 0; i < 3; ++i) {
    sum += *s;
    if (with_meeting) __syncwarp();
    if (threadIdx.x == 0) *s += 1;
    __syncwarp();
  }
  out[threadIdx.x] = sum;
}

__global__ void copied(const float* from, float* out, int wait, bool with_barrier) {
  float* s = shared_memory<float>();
  copy_async(s + 4 * threadIdx.x, from + 4 * threadIdx.x);
  commit_copies();
  copy_async(s + 4 * (threadIdx.x + blockDim.x), from, false);
  commit_copies();
  wait == 0 ? wait_copies<0>() : wait_copies<1>();
  if (with_barrier) __syncthreads();
  out[threadIdx.x] = s[4 * ((threadIdx.x + 1) % blockDim.x)] + s[4 * (threadIdx.x + blockDim.x)];
  wait_copies<0>();
}

__global__ void never_waits(const float* from) { copy_async(shared_memory<float>() + 4 * threadIdx.x, from); }
__global__ void copies_outside(const float* from) {
  copy_async(shared_memory<float>() + 4 * threadIdx.x + 4, from);
  commit_copies();
  wait_copies<0>();
}
__global__ void copies_askew(const float* from) {
  copy_async(shared_memory<float>() + 4 * threadIdx.x, from + 1);
  commit_copies();
  wait_copies<0>();
}
__global__ void divergent_barrier() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void missing_at_barrier() {
  if (threadIdx.x >= 32) __syncthreads();
}
__global__ void divergent_shuffle(int* out) {
  int x = static_cast<int>(threadIdx.x);
  if (threadIdx.x % 2) {
    x += __shfl_xor_sync(~0u, x, 2);
  } else {
    x -= __shfl_xor_sync(~0u, x, 2);
  }
  out[threadIdx.x] = x;
}
__global__ void shuffle_outside_mask(int* out) {
  if (threadIdx.x % 32 < 16) out[threadIdx.x] = __shfl_xor_sync(0xffffu, 1, 16);
}
__global__ void gone_before_shuffle(int* out) {
  if (threadIdx.x % 32 == 7) return;
  out[threadIdx.x] = __shfl_xor_sync(~0u, 1, 1);
}
__global__ void askew(const float* from, float* out) {
  float v[4];
  load_vector<4>(from + 1, v);
  out[threadIdx.x] = v[0];
}
__global__ void reads_unwritten(float* out) { out[threadIdx.x] = shared_memory<float>()[threadIdx.x]; }
__global__ void matrices_outside() {
  uint32_t r[4];
  load_matrices(r, shared_memory<uint16_t>() + 8 * (threadIdx.x + 1));
}
__global__ void matrices_askew() {
  uint32_t r[4];
  load_matrices(r, shared_memory<uint16_t>() + 8 * threadIdx.x + 1);
}

// c (16 x 8) = a (16 x 16) b (16 x 8), through shared memory and fragments; or b given transposed, (8 x 16).
__global__ void product(const Bf16* a, const Bf16* b, float* c, bool transposed) {
  Bf16* s = shared_memory<Bf16>();
  const int lane = threadIdx.x;
  for (int i = lane; i < 256; i += 32) s[i] = a[i];
  for (int i = lane; i < 128; i += 32) s[256 + i] = b[i];
  __syncthreads();
  uint32_t fa[4], fb[4];
  load_matrices(fa, s + lane % 16 * 16 + lane / 16 * 8);
  if (transposed) load_matrices(fb, s + 256 + lane % 8 * 16 + lane / 8 % 2 * 8);
  else load_matrices_transposed(fb, s + 256 + lane % 16 * 8);
  float d[4] = {};
  multiply_matrices(d, fa, fb[0], fb[1]);
  for (int i = 0; i < 4; ++i) c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = d[i];
}

}  // namespace

TEST(emulator_tells_races) {
  std::vector<int> out(128);
  expect_access_told("without a barrier between", reversed, 64, 256, out.data(), false);
  expect_sound(reversed, 64, 256, out.data(), true);
  for (int i = 0; i < 64; ++i) EXPECT(out[static_cast<size_t>(64 + i)] == 63 - i, "reversed through shared memory");
  std::vector<float> sums(64);
  expect_access_told("without a barrier between", reused, 64, 8, sums.data(), false);
  expect_sound(reused, 64, 8, sums.data(), true);
  EXPECT(sums[63] == 192, "block_sum");
  expect_access_told("without a barrier between", turns, 32, 4, out.data(), false);
  expect_sound(turns, 32, 4, out.data(), true);
  EXPECT(out[31] == 3, "turns within a warp");
}

TEST(emulator_tells_weak_waits) {
  const std::vector<float> from(256, 5.0f);
  alignas(16) static float aligned[256];
  std::copy(from.begin(), from.end(), aligned);
  std::vector<float> out(64);
  const float* source = aligned;
  expect_sound(copied, 64, 2048, source, out.data(), 0, true);
  for (float x : out) EXPECT(x == 5, "copied, and zeroed where not valid");
  expect_access_told("while an asynchronous copy writes it", copied, 64, 2048, source, out.data(), 1, true);
  expect_access_told("shared memory", copied, 64, 2048, source, out.data(), 0, false);
  expect_told("did not wait for", never_waits, 32, 512, source);
  expect_told("outside shared memory", copies_outside, 32, 512, source);
  expect_told("not aligned", copies_askew, 32, 512, source);
}

TEST(emulator_tells_divergence) {
  std::vector<int> out(64);
  expect_told("divergent barrier", divergent_barrier, 64, 0);
  expect_told("dead lock", missing_at_barrier, 64, 0);
  expect_told("divergent warp", divergent_shuffle, 32, 0, out.data());
  expect_told("not in its mask", shuffle_outside_mask, 32, 0, out.data());
  expect_told("ended", gone_before_shuffle, 32, 0, out.data());
  expect_told("a block of 40 threads", missing_at_barrier, 40, 0);
  expect_told("are more than a block may use", missing_at_barrier, 32, 300000);
}

TEST(emulator_tells_wrong_addresses) {
  alignas(16) float aligned[8] = {};
  std::vector<float> out(32);
  expect_told("not aligned", askew, 32, 0, static_cast<const float*>(aligned), out.data());
  expect_told("outside shared memory", matrices_outside, 32, 512);
  expect_told("not aligned", matrices_askew, 32, 1024);
  expect_sound(reads_unwritten, 32, 128, out.data());
  for (float x : out) EXPECT(std::isnan(x), "shared memory that nobody wrote is NaN");
}

TEST(matrix_fragments) {
  const auto a = test::rounded(test::normal(256, 1)), b = test::rounded(test::normal(128, 2));
  std::vector<float> bt(128), c(128), want(128);
  for (size_t k = 0; k < 16; ++k)
    for (size_t n = 0; n < 8; ++n) bt[n * 16 + k] = b[k * 8 + n];
  for (size_t m = 0; m < 16; ++m)
    for (size_t n = 0; n < 8; ++n)
      for (size_t k = 0; k < 16; ++k) want[m * 8 + n] += a[m * 16 + k] * b[k * 8 + n];
  const auto ah = test::to_bf16(a), bh = test::to_bf16(b), bth = test::to_bf16(bt);
  for (bool transposed : {false, true}) {
    const auto* second = reinterpret_cast<const Bf16*>(transposed ? bth.data() : bh.data());
    for (const Mode& mode : kModes) {
      EXPECT(told(mode, product, 32, 768, reinterpret_cast<const Bf16*>(ah.data()), second, c.data(), transposed).empty(), "a product of one warp");
      EXPECT(test::error(c, want) < 1e-6, "a product of one warp, b " + std::string(transposed ? "transposed" : "as it is"));
    }
  }
}
