// CPU kernel: tokens of weight 0 are left out; the others go chunk by chunk: logits by the matrix product, a pass over each row while it is
// in cache (rows over threads), then the two products of the gradient. Chunks depend on the shape alone.
#include "ops/linear_cross_entropy/linear_cross_entropy.h"
#include "ops/matmul/matmul.h"
#include "runtime/cpu.h"
#include "runtime/lanes.h"
#include "runtime/math.h"

namespace nichelm {

template <> void run(cpu::NICHELM_ISA& device, const Matmul& op);
template <> void run(cpu::NICHELM_ISA& device, const MatmulAccumulate& op);

namespace {

using Device = cpu::NICHELM_ISA;

// What both ops have; dx and dweight are absent where there is no gradient.
struct Loss {
  Tensor x, weight, targets, token_weights, nll, loss, dx, dweight;
};

// Few tokens a chunk keep the logits in cache; many make the products efficient, which read the weight, and add to its gradient, once a chunk.
// Measured: below 512 tokens the products lose more (15% at 256 tokens of 32,000 logits) than the cache wins.
int64_t chunk_tokens(int64_t tokens, int64_t vocabulary) {
  constexpr int64_t kLogitBytes = int64_t{8} << 20, kLeast = 512, kTile = 16;
  const int64_t fitting = kLogitBytes / (4 * vocabulary), most = fitting > kLeast ? fitting : kLeast;
  const int64_t chunks = (tokens + most - 1) / most, even = chunks ? (tokens + chunks - 1) / chunks : 0;
  return (even + kTile - 1) / kTile * kTile;
}

// Parts of one scratch buffer, each on its own cache lines.
struct Parts {
  char* next;
  template <class T> T* take(int64_t count) {
    char* part = next;
    next += aligned(count * static_cast<int64_t>(sizeof(T)));
    return reinterpret_cast<T*>(part);
  }
  static int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }
};

Tensor matrix(void* data, Type type, int64_t rows, int64_t width) { return {data, type, 2, {rows, width}}; }

// NaN loses every comparison here; it shows in the sum of exponentials.
float largest_of(const float* x, int64_t n) {
  Lanes largest = lanes_of(x[0]);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Lanes some = load(x + i, AllLanes{});
    largest = some > largest ? some : largest;
  }
  float most = x[0];
  for (int l = 0; l < kLanes; ++l) most = largest[l] > most ? largest[l] : most;
  for (; i < n; ++i) most = x[i] > most ? x[i] : most;
  return most;
}

// x becomes exp(x - largest); gives the sum. In blocks, so that the second loop finds its input in the first-level cache.
double exponentials(float* x, int64_t n, float largest) {
  constexpr int64_t kBlock = 2048;
  double total = 0;
  for (int64_t b = 0; b < n; b += kBlock) {
    float* block = x + b;
    const int64_t count = n - b < kBlock ? n - b : kBlock;
    for (int64_t i = 0; i < count; ++i) block[i] = exp_fast(block[i] - largest);
    Lanes sum = {};
    over_lanes(count, [&](int64_t i, auto lanes) NICHELM_INLINE_LAMBDA { sum += load(block + i, lanes); });
    total += double{sum_of(sum)};
  }
  return total;
}

// One token: its nll, and where dlogits is not null the gradient of its logits, which may lie where the logits do.
template <class T> float token_loss(float* logits, int64_t vocabulary, int32_t target, float weight, T* dlogits) {
  if (target < 0 || target >= vocabulary) {  // the caller was to see to this: not a number rather than a wrong one
    if (dlogits)
      for (int64_t v = 0; v < vocabulary; ++v) narrow(__builtin_nanf(""), dlogits[v]);
    return __builtin_nanf("");
  }
  const float largest = largest_of(logits, vocabulary), chosen = logits[target];
  const double total = exponentials(logits, vocabulary, largest);
  if (dlogits) {
    const float factor = static_cast<float>(double{weight} / total), of_target = static_cast<float>((logits[target] / total - 1) * double{weight});
    over_lanes(vocabulary, [&](int64_t i, auto lanes) NICHELM_INLINE_LAMBDA { store(load(logits + i, lanes) * factor, dlogits + i, lanes); });
    narrow(of_target, dlogits[target]);
  }
  return static_cast<float>(__builtin_log(total) + (double{largest} - double{chosen}));
}

template <class T> void compute(Device& device, const Loss& op) {
  constexpr Type type = sizeof(T) == 2 ? Type::bf16 : Type::f32;
  const int64_t tokens = op.x.rows(), width = op.x.width(), vocabulary = op.weight.rows(), row_bytes = width * static_cast<int64_t>(sizeof(T));
  const float* weights = op.token_weights.as<float>();
  const int32_t* targets = op.targets.as<int32_t>();
  float* nll = op.nll.as<float>();
  const bool gradient = op.dx.present();

  int64_t valid = 0;
  for (int64_t n = 0; n < tokens; ++n) valid += weights[n] != 0;
  const int64_t chunk = chunk_tokens(valid, vocabulary), logit_count = chunk * vocabulary;
  const int64_t half_count = gradient && sizeof(T) == 2 ? logit_count : 0;  // f32 gradients take the place of their logits
  Parts parts{static_cast<char*>(device.shared_scratch(Parts::aligned(valid * 4) + Parts::aligned(logit_count * 4) + Parts::aligned(half_count * 2) + 2 * Parts::aligned(chunk * row_bytes)))};
  int32_t* places = parts.take<int32_t>(valid);
  float* logits = parts.take<float>(logit_count);
  T* dlogits = half_count ? parts.take<T>(half_count) : reinterpret_cast<T*>(logits);
  T *some_x = parts.take<T>(chunk * width), *some_dx = parts.take<T>(chunk * width);

  for (int64_t n = 0, at = 0; n < tokens; ++n) {
    if (weights[n] != 0) {
      places[at++] = static_cast<int32_t>(n);
    } else {
      nll[n] = 0;
      if (gradient) std::memset(op.dx.as<T>() + n * width, 0, static_cast<size_t>(row_bytes));
    }
  }

  for (int64_t first = 0; first < valid; first += chunk) {
    const int64_t count = valid - first < chunk ? valid - first : chunk;
    const int32_t* place = places + first;
    const bool together = place[count - 1] - place[0] == count - 1;
    if (!together)
      for (int64_t n = 0; n < count; ++n) std::memcpy(some_x + n * width, op.x.as<T>() + place[n] * width, static_cast<size_t>(row_bytes));
    const Tensor x = matrix(together ? op.x.as<T>() + place[0] * width : some_x, type, count, width);
    run(device, Matmul{{x}, {op.weight}, {}, {}, {}, {matrix(logits, Type::f32, count, vocabulary)}, {}, false, true, false});
    device.split(count, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n)
        nll[place[n]] = token_loss<T>(logits + n * vocabulary, vocabulary, targets[place[n]], weights[place[n]], gradient ? dlogits + n * vocabulary : nullptr);
    });
    if (!gradient) continue;
    const Tensor d = matrix(dlogits, type, count, vocabulary), dx = matrix(together ? op.dx.as<T>() + place[0] * width : some_dx, type, count, width);
    if (op.dweight.present()) run(device, MatmulAccumulate{{d}, {x}, {op.dweight}, true, false});
    run(device, Matmul{{d}, {op.weight}, {}, {}, {}, {dx}, {}, false, false, false});  // last: dx may lie where x does
    if (!together)
      for (int64_t n = 0; n < count; ++n) std::memcpy(op.dx.as<T>() + place[n] * width, some_dx + n * width, static_cast<size_t>(row_bytes));
  }

  double loss = 0;
  for (int64_t n = 0; n < tokens; ++n)
    if (weights[n] != 0) loss += double{weights[n]} * nll[n];
  op.loss.as<float>()[0] = static_cast<float>(loss);
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const LinearCrossEntropy& op) {
  const Loss loss{op.x, op.weight, op.targets, op.token_weights, op.nll, op.loss, {}, {}};
  op.x.type == Type::bf16 ? compute<Bf16>(device, loss) : compute<float>(device, loss);
}

template <> void run(cpu::NICHELM_ISA& device, const LinearCrossEntropyGradient& op) {
  const Loss loss{op.x, op.weight, op.targets, op.token_weights, op.nll, op.loss, op.dx, op.dweight};
  op.x.type == Type::bf16 ? compute<Bf16>(device, loss) : compute<float>(device, loss);
}

}  // namespace nichelm
