// What the output layer's losses share: tokens of weight 0 are left out; the others go chunk by chunk: logits by the matrix product, a pass over
// each row while it is in cache (rows over threads), then the two products of the gradient. Chunks depend on the shape alone.
// Everything here is local to the kernel file that includes it.
#pragma once
#include "ops/matmul/apart.h"
#include "ops/softmax_row.h"
#include "runtime/cpu.h"

namespace nichelm {

template <> void run(cpu::NICHELM_ISA& device, const RowsApart<Matmul>& op);
template <> void run(cpu::NICHELM_ISA& device, const RowsApart<MatmulAccumulate>& op);

namespace {

// What all of these ops have; dx and dweight are absent where there is no gradient, dweight also where the weight is frozen.
struct OutputLayer {
  Tensor x, weight, targets, token_weights, nll, loss, dx, dweight;
};

// One token's cross-entropy, and what it adds to the loss (times its weight).
struct TokenLoss { float nll, loss; };

// Few tokens a chunk keep the logits in cache; many make the products efficient, which read the weight, and add to its gradient, once a chunk.
// Measured: below 512 tokens the products lose more (15% at 256 tokens of 32,000 logits) than the cache wins; 1,024 gain 1 to 5% of the whole op at 4,096 and
// 8,192 logits beside 512, and more tokens nothing.
int64_t chunk_tokens(int64_t tokens, int64_t vocabulary) {
  constexpr int64_t kLogitBytes = int64_t{8} << 20, kMostBytes = int64_t{32} << 20, kMany = 1024, kLeast = 512, kTile = 16;
  const auto larger = [](int64_t a, int64_t b) { return a > b ? a : b; };
  const int64_t many = kMostBytes / (4 * vocabulary), most = larger(kLeast, larger(kLogitBytes / (4 * vocabulary), many < kMany ? many : kMany));
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

// Whether a target or a teacher's id is a token. The caller was to see to this: if not, the gradient is not a number rather than a wrong one.
template <class T> bool in_vocabulary(int32_t id, int64_t vocabulary, T* dlogits) {
  if (id >= 0 && id < vocabulary) return true;
  if (dlogits)
    for (int64_t v = 0; v < vocabulary; ++v) narrow(__builtin_nanf(""), dlogits[v]);
  return false;
}

// Calls body(row, thread) for the rows of a chunk, a few a task.
template <class Body> void each_row(Cpu& device, int64_t rows, const Body& body) {
  constexpr int64_t kRows = 4;
  device.each((rows + kRows - 1) / kRows, [&](int64_t task, int thread) {
    for (int64_t n = task * kRows; n < rows && n < (task + 1) * kRows; ++n) body(n, thread);
  });
}

// token_loss(place, logits, dlogits, thread) gives a token's loss; where dlogits is not null it fills in the gradient of weight · loss by the logits,
// which may lie where the logits do (f32). It must depend on the token alone.
template <class T, class Body> void output_layer(cpu::NICHELM_ISA& device, const OutputLayer& op, const Body& token_loss) {
  constexpr Type type = sizeof(T) == 2 ? Type::bf16 : Type::f32;
  const int64_t tokens = op.x.rows(), width = op.x.width(), vocabulary = op.weight.rows(), row_bytes = width * static_cast<int64_t>(sizeof(T));
  const float* weights = op.token_weights.as<float>();
  float* nll = op.nll.as<float>();
  const bool gradient = op.dx.present();

  int64_t valid = 0;
  for (int64_t n = 0; n < tokens; ++n) valid += weights[n] != 0;
  const int64_t logits_row = apart<float>(vocabulary), dlogits_row = apart<T>(vocabulary);
  const int64_t chunk = chunk_tokens(valid, vocabulary), logit_count = chunk * logits_row;
  const int64_t half_count = gradient && sizeof(T) == 2 ? chunk * dlogits_row : 0;  // f32 gradients take the place of their logits
  Parts parts{static_cast<char*>(device.shared_scratch(2 * Parts::aligned(valid * 4) + Parts::aligned(logit_count * 4) + Parts::aligned(half_count * 2) + 2 * Parts::aligned(chunk * row_bytes)))};
  int32_t* places = parts.take<int32_t>(valid);
  float* losses = parts.take<float>(valid);
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
    run(device, RowsApart<Matmul>{{{x}, {op.weight}, {}, {}, {}, {matrix(logits, Type::f32, count, vocabulary)}, {}, false, true, false}, 0, logits_row});
    each_row(device, count, [&](int64_t n, int thread) {
      const TokenLoss of_token = token_loss(int64_t{place[n]}, logits + n * logits_row, gradient ? dlogits + n * dlogits_row : nullptr, thread);
      nll[place[n]] = of_token.nll;
      losses[first + n] = of_token.loss;
    });
    if (!gradient) continue;
    const Tensor d = matrix(dlogits, type, count, vocabulary), dx = matrix(together ? op.dx.as<T>() + place[0] * width : some_dx, type, count, width);
    if (op.dweight.present()) run(device, RowsApart<MatmulAccumulate>{{{d}, {x}, {op.dweight}, true, false}, dlogits_row});
    run(device, RowsApart<Matmul>{{{d}, {op.weight}, {}, {}, {}, {dx}, {}, false, false, false}, dlogits_row});  // last: dx may lie where x does
    if (!together)
      for (int64_t n = 0; n < count; ++n) std::memcpy(op.dx.as<T>() + place[n] * width, some_dx + n * width, static_cast<size_t>(row_bytes));
  }

  double loss = 0;
  for (int64_t i = 0; i < valid; ++i) loss += double{weights[places[i]]} * losses[i];
  op.loss.as<float>()[0] = static_cast<float>(loss);
}

}  // namespace
}  // namespace nichelm
