// CPU kernel: rows over threads. Where tokens are cut off, only as many as may be kept are put in order (most_probable/select.h).
#include "ops/most_probable/select.h"
#include "ops/sample/sample.h"
#include "ops/softmax_row.h"
#include "runtime/cpu.h"

namespace nichelm {
namespace {

constexpr int64_t kFirstGuess = 64;  // tokens that a nucleus is looked for in; then twice as many, and so on

// Room for a row: its exponentials, and ids in order.
struct Room {
  float* e;
  int32_t* ids;
};

// Of the logits, largest first, the exponentials that ids name.
NICHELM_INLINE double weight(const float* z, int32_t id, float largest, float sharpness) { return double{exp_fast((z[id] - largest) * sharpness)}; }

// Whether every logit is below infinity, and no NaN.
bool all_finite(const float* z, int64_t vocabulary) {
  int32_t wrong = 0;
  for (int64_t v = 0; v < vocabulary; ++v) wrong |= z[v] < __builtin_inff() ? 0 : 1;
  return wrong == 0;
}

// Piece by piece, each without a branch.
int32_t first_of_largest(const float* z, int64_t vocabulary, float largest) {
  constexpr int64_t kPiece = 256;
  for (int64_t first = 0; first < vocabulary; first += kPiece) {
    const int64_t last = first + kPiece < vocabulary ? first + kPiece : vocabulary;
    int32_t here = 0;
    for (int64_t v = first; v < last; ++v) here |= z[v] == largest ? 1 : 0;
    if (!here) continue;
    for (int64_t v = first; v < last; ++v)
      if (z[v] == largest) return static_cast<int32_t>(v);
  }
  return -1;
}

// Draws from ids in their order.
int32_t draw(const float* z, const int32_t* ids, int64_t count, float largest, float sharpness, double uniform) {
  double total = 0, sum = 0;
  for (int64_t j = 0; j < count; ++j) total += weight(z, ids[j], largest, sharpness);
  for (int64_t j = 0; j + 1 < count; ++j)
    if ((sum += weight(z, ids[j], largest, sharpness)) > uniform * total) return ids[j];
  return ids[count - 1];
}

// How many of the ids, in order, reach the mass; 0 if all of them do not.
int64_t reaching(const float* z, const int32_t* ids, int64_t count, float largest, float sharpness, double mass) {
  double sum = 0;
  for (int64_t j = 0; j < count; ++j)
    if ((sum += weight(z, ids[j], largest, sharpness)) >= mass) return j + 1;
  return 0;
}

int32_t sample(const Sample& op, const float* z, double uniform, Room my) {
  const int64_t vocabulary = op.logits.width();
  if (!all_finite(z, vocabulary)) return -1;
  const float largest = largest_of(z, vocabulary);
  if (op.temperature == 0) return first_of_largest(z, vocabulary, largest);
  const float sharpness = 1 / op.temperature;
  if (op.top_k > 0 && op.top_k < vocabulary) {
    largest_first(z, vocabulary, my.ids, op.top_k);
    double total = 0;
    for (int64_t j = 0; j < op.top_k; ++j) total += weight(z, my.ids[j], largest, sharpness);
    const int64_t kept = op.top_p < 1 ? reaching(z, my.ids, op.top_k, largest, sharpness, double{op.top_p} * total) : 0;
    return draw(z, my.ids, kept ? kept : op.top_k, largest, sharpness, uniform);
  }
  std::memcpy(my.e, z, static_cast<size_t>(vocabulary) * 4);
  const double total = exponentials(my.e, vocabulary, largest, sharpness);
  if (op.top_p < 1)
    for (int64_t guess = kFirstGuess;; guess *= 4) {
      const int64_t count = guess < vocabulary ? guess : vocabulary;
      largest_first(z, vocabulary, my.ids, count);
      const int64_t kept = reaching(z, my.ids, count, largest, sharpness, double{op.top_p} * total);
      if (kept || count == vocabulary) return draw(z, my.ids, kept ? kept : count, largest, sharpness, uniform);
    }
  double sum = 0;
  int32_t last = 0;  // with a weight of its own: rounding may leave the sum short
  for (int64_t v = 0; v < vocabulary; ++v) {
    if (my.e[v] > 0) last = static_cast<int32_t>(v);
    if ((sum += double{my.e[v]}) > uniform * total) return static_cast<int32_t>(v);
  }
  return last;
}

}  // namespace

template <> void run(cpu::NICHELM_ISA& device, const Sample& op) {
  const int64_t vocabulary = op.logits.width();
  device.each(op.logits.rows(), [&](int64_t n, int thread) {
    auto* e = static_cast<float*>(device.scratch(thread, 2 * vocabulary * 4));
    op.ids.as<int32_t>()[n] = sample(op, op.logits.as<float>() + n * vocabulary, double{op.uniform.as<float>()[n]}, {e, reinterpret_cast<int32_t*>(e + vocabulary)});
  });
}

}  // namespace nichelm
