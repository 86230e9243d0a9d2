// CUDA kernels: a block a row. The k-th largest logit is found digit by digit from the highest (radix selection); what is above it, and of those equal to it
// the first, are gathered and put in order by counting what goes before each; then the exponentials. The others are those below the k-th, and its equals
// that were not taken.
#include "ops/most_probable/most_probable.h"

#include "cuda/key.h"
#include "cuda/reduce.h"
#include "runtime/math.h"

namespace nichelm {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32, kDigits = 256;

struct Shared {
  int32_t count[kWarps][kDigits];  // of each warp
  int32_t total[kDigits];
  int32_t above[kWarps], equal[kWarps];
  uint32_t digit;
  int32_t left;
  double sums[4 * kWarps];
  float most[kWarps];
};

// The k-th largest key of the row. equal: how many of those that equal it belong to the k; equals: how many there are.
__device__ __forceinline__ uint32_t kth_largest(const float* z, int64_t vocabulary, int64_t k, Shared& s, int64_t& equal, int64_t& equals) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  uint32_t found = 0;
  int64_t left = k;
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int w = 0; w < kWarps; ++w) s.count[w][threadIdx.x] = 0;
    __syncthreads();
    for (int64_t i = 0; i < vocabulary; i += kThreads) {
      const bool inside = i + threadIdx.x < vocabulary;
      const uint32_t key = inside ? key_of(z[i + threadIdx.x]) : 0;
      const bool counts = inside && (shift == 24 || key >> (shift + 8) == found);
      const uint32_t digit = key >> shift & (kDigits - 1);
      unsigned same = __ballot_sync(~0u, counts);
      if (same == 0) continue;  // the whole warp
      for (int bit = 0; bit < 8; ++bit) {
        const unsigned set = __ballot_sync(~0u, digit >> bit & 1);
        same &= digit >> bit & 1 ? set : ~set;
      }
      if (counts && (same & ((1u << lane) - 1)) == 0) s.count[warp][digit] += __popc(same);  // the first of its kind
      __syncwarp();
    }
    __syncthreads();
    int32_t sum = 0;
    for (int w = 0; w < kWarps; ++w) sum += s.count[w][threadIdx.x];
    s.total[threadIdx.x] = sum;
    __syncthreads();
    int64_t above = 0;
    for (unsigned d = kDigits - 1; d > threadIdx.x; --d) above += s.total[d];
    if (above < left && above + sum >= left) s.digit = threadIdx.x, s.left = static_cast<int32_t>(left - above), s.above[0] = sum;  // one thread
    __syncthreads();
    found = found << 8 | s.digit, left = s.left, equals = s.above[0];
    __syncthreads();
  }
  equal = left;
  return found;
}

// candidates: k places a row, of the k largest in the order of the row.
__global__ void __launch_bounds__(kThreads) most_probable(const float* logits, int64_t vocabulary, int64_t k, float sharpness, int32_t* candidates, int32_t* ids, float* probabilities, float* rest, float* lost) {
  const int64_t row = blockIdx.x;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const float* z = logits + row * vocabulary;
  candidates += row * k, ids += row * k, probabilities += row * k;
  Shared& s = *shared_memory<Shared>();
  int64_t equal = 0, equals = 0;
  const uint32_t least = kth_largest(z, vocabulary, k, s, equal, equals);

  int64_t at = 0, of_equal = 0;  // candidates so far, and those among them that equal the least
  for (int64_t i = 0; i < vocabulary; i += kThreads) {
    const bool inside = i + threadIdx.x < vocabulary;
    const uint32_t key = inside ? key_of(z[i + threadIdx.x]) : 0;
    const unsigned above = __ballot_sync(~0u, inside && key > least), same = __ballot_sync(~0u, inside && key == least);
    if (lane == 0) s.above[warp] = __popc(above), s.equal[warp] = __popc(same);
    __syncthreads();
    int64_t before = at, equal_before = of_equal;
    for (int w = 0; w < kWarps; ++w) {
      if (w < warp) before += s.above[w], equal_before += s.equal[w];
      at += s.above[w], of_equal += s.equal[w];
    }
    __syncthreads();
    const unsigned lower = (1u << lane) - 1;
    const int64_t rank = equal_before + __popc(same & lower), taken_before = before + __popc(above & lower) + (rank < equal ? rank : equal);
    if (inside && (key > least || (key == least && rank < equal))) candidates[taken_before] = static_cast<int32_t>(i + threadIdx.x);
  }
  __syncthreads();

  // Descending, of equal ones the lower id first: the candidates' order has that of equal ones.
  for (int64_t j = threadIdx.x; j < k; j += kThreads) {
    const int32_t id = candidates[j];
    const uint32_t key = key_of(z[id]);
    int64_t before = 0;
    for (int64_t c = 0; c < k; ++c) {
      const uint32_t other = key_of(z[candidates[c]]);
      before += other > key || (other == key && c < j);
    }
    ids[before] = id;
  }

  float most = -INFINITY;  // NaN loses here; it shows in the total
  for (int64_t i = threadIdx.x; i < vocabulary; i += kThreads) most = fmaxf(most, z[i]);
  most = block_max(most, s.most);  // a barrier: ids are there
  double known = 0, others = 0, weighted = 0;
  for (int64_t j = threadIdx.x; j < k; j += kThreads) known += static_cast<double>(exp_fast((z[ids[j]] - most) * sharpness));
  float sum = 0, product = 0;
  for (int64_t i = threadIdx.x; i < vocabulary; i += kThreads) {
    if (key_of(z[i]) >= least) continue;
    const float e = exp_fast((z[i] - most) * sharpness);
    sum += e;
    product += e * (z[i] - most);
  }
  if (threadIdx.x == 0 && equals > equal) {  // those that were not taken
    const float e = exp_fast((value_of(least) - most) * sharpness);
    others = static_cast<double>(equals - equal) * static_cast<double>(e), weighted = others * static_cast<double>(value_of(least) - most);
  }
  others += static_cast<double>(sum), weighted += static_cast<double>(product);
  known = block_sum(known, s.sums);
  block_sums(others, weighted, s.sums + kWarps);
  const double total = known + others;
  for (int64_t j = threadIdx.x; j < k; j += kThreads) probabilities[j] = static_cast<float>(static_cast<double>(exp_fast((z[ids[j]] - most) * sharpness)) / total);
  if (threadIdx.x == 0) {
    rest[row] = static_cast<float>(others / total);
    const double divergence = others == 0 ? 0 : (weighted * static_cast<double>(sharpness) - others * (log(others) - log(static_cast<double>(vocabulary - k)))) / total;
    lost[row] = divergence < 0 ? 0 : static_cast<float>(divergence);  // by rounding only; NaN stays
  }
}

}  // namespace

template <> void run(Cuda& device, const MostProbable& op) {
  const int64_t tokens = op.logits.rows(), vocabulary = op.logits.width(), k = op.ids.width();
  int32_t* candidates = device.scratch_of<int32_t>(tokens * k);
  device.launch("most_probable", most_probable, grid_of(tokens), kThreads, sizeof(Shared), op.logits.as<const float>(), vocabulary, k, 1 / op.temperature, candidates, op.ids.as<int32_t>(),
                op.probabilities.as<float>(), op.rest.as<float>(), op.lost.as<float>());
}

NICHELM_CUDA_KERNELS(MostProbable)

}  // namespace nichelm
