// CUDA kernel: a block a row, and no sorting: what is kept is all logits above some value and the first few that equal it. That value is found by halving the
// range of a float's 32 bits, each time counting, or summing the exponentials of, what lies at or above the middle; and so is the token that is drawn.
#include "ops/sample/sample.h"

#include "cuda/key.h"
#include "cuda/reduce.h"
#include "runtime/math.h"

namespace nichelm {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;

struct Shared {
  double sums[kWarps], segments[kThreads];
  float most[kWarps];
  int32_t counts[kWarps];
  int32_t found;
};

struct Row {
  const float* z;
  int64_t size;
  float most, sharpness;
  __device__ double weight(float x) const { return static_cast<double>(exp_fast((x - most) * sharpness)); }
};

// The sum over all of the row; every thread gets it.
template <class Each> __device__ __forceinline__ double sum_row(const Row& row, Shared& s, const Each& each) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < row.size; i += kThreads) sum += each(row.z[i]);
  sum = block_sum(sum, s.sums);
  __syncthreads();
  return sum;
}
__device__ __forceinline__ double mass_above(const Row& row, Shared& s, uint32_t key) {
  return sum_row(row, s, [&](float x) { return key_of(x) > key ? row.weight(x) : 0.0; });
}
__device__ __forceinline__ double count_equal(const Row& row, Shared& s, uint32_t key) {
  return sum_row(row, s, [&](float x) { return key_of(x) == key ? 1.0 : 0.0; });
}

// Logits of a key above `key`, and the first `equal` of those that have it.
struct Kept { uint32_t key; double equal; };

// The largest key, at least `from`, for which enough(sum of each over those with at least that key) holds; `from` where it holds for none.
template <class Each, class Enough> __device__ __forceinline__ uint32_t largest_key(const Row& row, Shared& s, uint32_t from, const Each& each, const Enough& enough) {
  uint32_t low = from, high = 0xffffffffu;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2 + 1;
    const double sum = sum_row(row, s, [&](float x) { return key_of(x) >= middle ? each(x) : 0.0; });
    if (enough(sum)) low = middle;
    else high = middle - 1;
  }
  return low;
}

// The number of the `nth` logit, from 1, that has the key.
__device__ __forceinline__ int32_t nth_equal(const Row& row, Shared& s, uint32_t key, double nth) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int64_t before = 0;
  if (threadIdx.x == 0) s.found = -1;
  for (int64_t i = 0; i < row.size; i += kThreads) {
    const bool equal = i + threadIdx.x < row.size && key_of(row.z[i + threadIdx.x]) == key;
    const unsigned same = __ballot_sync(~0u, equal);
    if (lane == 0) s.counts[warp] = __popc(same);
    __syncthreads();
    int64_t rank = before + 1 + __popc(same & ((1u << lane) - 1));
    for (int w = 0; w < kWarps; ++w) {
      if (w < warp) rank += s.counts[w];
      before += s.counts[w];
    }
    if (equal && static_cast<double>(rank) == nth) s.found = static_cast<int32_t>(i + threadIdx.x);
    __syncthreads();
  }
  return s.found;
}

// Of what is kept, in order: the first with which the running sum exceeds uniform times the whole.
__device__ __forceinline__ int32_t draw_in_order(const Row& row, Shared& s, const Kept& kept, double uniform) {
  const double wanted = uniform * (mass_above(row, s, kept.key) + kept.equal * row.weight(value_of(kept.key)));
  uint32_t key = kept.key;  // of the token
  if (key != 0xffffffffu && mass_above(row, s, key) > wanted)
    key = largest_key(row, s, key + 1, [&](float x) { return row.weight(x); }, [&](double mass) { return mass > wanted; });
  const double most = key == kept.key ? kept.equal : count_equal(row, s, key), nth = floor((wanted - mass_above(row, s, key)) / row.weight(value_of(key))) + 1;
  return nth_equal(row, s, key, nth < 1 ? 1 : nth > most ? most : nth);
}

// The same where nothing is cut off: by number. Each thread has a segment of the row.
__device__ __forceinline__ int32_t draw_by_number(const Row& row, Shared& s, double uniform) {
  const int64_t each = (row.size + kThreads - 1) / kThreads, first = threadIdx.x * each, end = first + each < row.size ? first + each : row.size;
  double own = 0;
  for (int64_t i = first; i < end; ++i) own += row.weight(row.z[i]);
  s.segments[threadIdx.x] = own;
  __syncthreads();
  double before = 0, total = 0;
  for (int t = 0; t < kThreads; ++t) {
    if (t == static_cast<int>(threadIdx.x)) before = total;
    total += s.segments[t];
  }
  const double wanted = uniform * total;
  if (threadIdx.x == 0) s.found = -1;
  __syncthreads();
  // The running sum passes what is wanted in one segment only, or, by rounding, in none: then the last with a weight of its own is drawn.
  if (before <= wanted && before + own > wanted) {
    double sum = before;
    int64_t last = first;
    for (int64_t i = first; i < end; ++i) {
      const double weight = row.weight(row.z[i]);
      if (weight > 0) last = i;
      if ((sum += weight) > wanted) break;
    }
    s.found = static_cast<int32_t>(last);
  }
  __syncthreads();
  if (s.found < 0 && threadIdx.x == 0)
    for (int64_t i = 0; i < row.size; ++i)
      if (row.weight(row.z[i]) > 0) s.found = static_cast<int32_t>(i);
  __syncthreads();
  return s.found;
}

__global__ void __launch_bounds__(kThreads) sample(const float* logits, const float* uniform, int32_t* ids, int64_t vocabulary, float temperature, int64_t top_k, float top_p) {
  Shared& s = *shared_memory<Shared>();
  Row row{logits + blockIdx.x * vocabulary, vocabulary, 0, temperature > 0 ? 1 / temperature : 0};
  float most = -INFINITY;
  for (int64_t i = threadIdx.x; i < vocabulary; i += kThreads) most = fmaxf(most, row.z[i]);
  row.most = block_max(most, s.most);
  const double bad = sum_row(row, s, [](float x) { return x < INFINITY ? 0.0 : 1.0; }), u = static_cast<double>(uniform[blockIdx.x]);
  int32_t id = -1;
  if (bad == 0) {
    if (temperature == 0) {
      id = nth_equal(row, s, key_of(row.most), 1);
    } else if ((top_k == 0 || top_k >= vocabulary) && top_p >= 1) {
      id = draw_by_number(row, s, u);
    } else {
      Kept kept{0, 0};
      const auto one = [](float) { return 1.0; };
      const auto weight = [&](float x) { return row.weight(x); };
      const double wanted_count = static_cast<double>(top_k > 0 && top_k < vocabulary ? top_k : vocabulary);
      kept.key = largest_key(row, s, 0, one, [&](double count) { return count >= wanted_count; });
      kept.equal = wanted_count - sum_row(row, s, [&](float x) { return key_of(x) > kept.key ? 1.0 : 0.0; });
      if (top_p < 1) {
        const double of_equal = kept.equal * row.weight(value_of(kept.key)), enough = static_cast<double>(top_p) * (mass_above(row, s, kept.key) + of_equal);
        const bool without_last = mass_above(row, s, kept.key) >= enough;
        const uint32_t key = without_last ? largest_key(row, s, kept.key + 1, weight, [&](double mass) { return mass >= enough; }) : kept.key;
        const double above = mass_above(row, s, key), each = row.weight(value_of(key)), limit = key == kept.key ? kept.equal : count_equal(row, s, key);
        const double fewest = each > 0 ? ceil((enough - above) / each) : limit;
        kept = {key, fewest < 1 ? 1 : fewest > limit ? limit : fewest};
      }
      id = draw_in_order(row, s, kept, u);
    }
  }
  if (threadIdx.x == 0) ids[blockIdx.x] = id;
}

}  // namespace

template <> void run(Cuda& device, const Sample& op) {
  device.launch("sample", sample, grid_of(op.logits.rows()), kThreads, sizeof(Shared), op.logits.as<const float>(), op.uniform.as<const float>(), op.ids.as<int32_t>(), op.logits.width(), op.temperature, op.top_k,
                op.top_p);
}

NICHELM_CUDA_KERNELS(Sample)

}  // namespace nichelm
