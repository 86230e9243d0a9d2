// Products of few rows, as generating text token by token makes them: b, the weights, is far larger than everything else and is read once, in wide pieces of
// its rows, with nothing of it written back to memory. A block of b that stays in the nearest cache is laid out as the tiles need it and multiplied by all rows;
// for one row alone it need not be (one_row.h).
// An element is one chain of sums along k whatever the number of rows, so that a row computes the same bits alone and among others.
#pragma once
#include "ops/matmul/epilogue.h"
#include "ops/matmul/one_row.h"
#include "ops/matmul/plan.h"
#include "runtime/cpu.h"

namespace nichelm {
namespace {

constexpr int64_t kThinRows = 64;               // at most
constexpr int64_t kThinSteps = 4 * kLanes;      // words along k in a block, at most
constexpr int64_t kThinFar = 1 << 20;           // bytes of a b that no second cache keeps
constexpr int64_t kThinFarSteps = 4;            // words along k in a block of one row by such a b, where k goes across its rows
constexpr int64_t kThinTileBytes = 128 << 10;   // of the sums of a task
constexpr int64_t kThinSmall = 1 << 15;         // multiplications that one thread does as soon as two; more keep the others awake, too, for what is large

// tile[i][j] += sum over steps of a[step][i] b[step][j] for i < R and P panels of b. a: [steps][Width], b: [P][kThinSteps][kColumns], tile: [P][rows][kColumns].
template <class Kind, int Width, int R, int P> void thin_kernel(int64_t steps, const uint32_t* a, const uint32_t* b, float* tile, int64_t rows) {
  constexpr int V = P * kVectors;
  const auto place = [=](int i, int v) { return tile + ((v / kVectors) * rows + i) * kColumns + v % kVectors * kLanes; };
  Floats sum[R][V];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sum[i][v] = load_floats(place(i, v));
  for (int64_t p = 0; p < steps; ++p, a += Width, b += kColumns) {
    Floats row[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) row[v] = load_floats(b + v / kVectors * kThinSteps * kColumns + v % kVectors * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) multiply_add(Kind{}, sum[i][v], a[i], row[v]);
  }
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) store(place(i, v), sum[i][v]);
}

using ThinKernel = void (*)(int64_t steps, const uint32_t* a, const uint32_t* b, float* tile, int64_t rows);
template <class Kind, int... I> constexpr ThinKernel pick_thin(int64_t rows, std::integer_sequence<int, I...>) {
  constexpr ThinKernel all[] = {thin_kernel<Kind, kRows, I + 1, 1>...};
  return all[rows - 1];
}

template <class Kind, class T, class C> class ThinProduct {
 public:
  // a, b: those of the first group; m, n, k: of one group. a's rows are contiguous along k.
  ThinProduct(Cpu& device, const Operand<T>& a, const Operand<T>& b, int64_t groups, int64_t m, int64_t n, int64_t k, const Epilogue<C>& epilogue)
      : device_(device), a_(a), b_(b), groups_(groups), m_(m), n_(n), k_(k), steps_(divide_up(k, Kind::values)), panels_(divide_up(n, kColumns)), alone_(m == 1), far_(alone_ && !b.k_contiguous && b.size * int64_t{sizeof(T)} >= kThinFar), epilogue_(epilogue) {}

  void compute() {
    const bool small = groups_ * m_ * n_ * most(1, k_) <= kThinSmall;
    const int64_t fitting = most(kAtOnce, kThinTileBytes / (4 * m_ * kColumns)), even = divide_up(panels_, (far_ ? 1 : 2) * int64_t{device_.threads()});
    const int64_t per_task = divide_up(small ? fitting : least(fitting, even), kAtOnce) * kAtOnce, tasks = divide_up(panels_, per_task);
    packed_ = static_cast<uint32_t*>(device_.shared_scratch(groups_ * a_words() * 4, 2));
    for (int64_t group = 0; group < groups_; ++group) pack_a(group);
    const auto body = [&](int64_t task, int thread) {
      const int64_t first = task % tasks * per_task;
      multiply(thread, task / tasks, first, least(panels_, first + per_task));
    };
    if (!small) return device_.each(groups_ * tasks, body);
    for (int64_t task = 0; task < groups_ * tasks; ++task) body(task, 0);
  }

 private:
  static constexpr int64_t kAtOnce = 4;  // panels that one row takes at a time, so that enough sums are under way
  static constexpr int kAlong = 1;       // likewise, where they are transposed in registers

  int64_t row_groups() const { return divide_up(m_, kRows); }
  int64_t a_words() const { return alone_ ? steps_ : row_groups() * steps_ * kRows; }
  Operand<T> of_group(const Operand<T>& x, int64_t group) const { return {x.data + group * x.size, x.stride, x.k_contiguous, x.size}; }

  // a as [row group][step][kRows] words, one row alone as [step].
  void pack_a(int64_t group) {
    const Operand<T> a = of_group(a_, group);
    uint32_t* out = packed_ + group * a_words();
    if (alone_) {
      for (int64_t p = 0; p < steps_; ++p) out[p] = word(Kind{}, a.data + p * Kind::values, k_ - p * Kind::values);
      return;
    }
    for (int64_t first = 0; first < m_; first += kRows, out += steps_ * kRows) pack<Kind, kRows>(a, first, least(kRows, m_ - first), 0, k_, out);
  }

  // Panels that go through k together: where b's rows run along n all of the task's, so that long pieces of them are read, and else few, whose rows lie together.
  struct Strip {
    int64_t first, last;
  };

  void multiply(int thread, int64_t group, int64_t first, int64_t last) {
    const Operand<T> b = of_group(b_, group);
    if (alone_ && b.k_contiguous) first = multiply_along(b, group, first, last);
    const int64_t at_once = alone_ ? kAtOnce : 1, width = b.k_contiguous ? at_once : last - first, block_steps = far_ ? kThinFarSteps : alone_ ? kThinSteps / 2 : kThinSteps, room = divide_up(width, at_once) * at_once;
    auto* sums = static_cast<float*>(device_.scratch(thread, room * m_ * kColumns * 4, 2));  // [panel of the strip][row][kColumns]
    auto* block = static_cast<uint32_t*>(device_.scratch(thread, kAtOnce * kThinSteps * kColumns * 4, 3));
    for (Strip strip{first, 0}; strip.first < last; strip.first = strip.last) {
      strip.last = least(last, strip.first + width);
      std::memset(sums, 0, static_cast<size_t>(room * m_ * kColumns) * 4);
      for (int64_t p = 0; p < steps_; p += block_steps) {
        const int64_t steps = least(block_steps, steps_ - p), k_first = p * Kind::values, k_last = least(k_, (p + steps) * Kind::values);
        for (int64_t c = strip.first; c < strip.last; c += at_once) {
          const bool as_it_lies = alone_ && !b.k_contiguous && (c + kAtOnce) * kColumns <= n_;
          for (int64_t i = c; i < least(strip.last, c + at_once); ++i) {
            if (!far_) fetch_ahead(b, strip, last, i, k_first, block_steps);
            if (!as_it_lies) pack<Kind, kColumns>(b, i * kColumns, least(kColumns, n_ - i * kColumns), k_first, k_last, block + (i - c) * kThinSteps * kColumns);
          }
          float* tile = sums + (c - strip.first) * m_ * kColumns;
          if (as_it_lies) (far_ ? across_kernel<Kind, kAtOnce, true, T> : across_kernel<Kind, kAtOnce, false, T>)(k_last - k_first, packed_ + group * steps_ + p, b.data + k_first * b.stride + c * kColumns, b.stride, tile);
          else multiply_block(group, p, steps, block, tile);
        }
      }
      for (int64_t c = strip.first; c < strip.last; ++c) finish_panel(sums + (c - strip.first) * m_ * kColumns, group, c);
    }
  }

  // One row by whole panels whose rows go along k; returns the first panel that is left.
  int64_t multiply_along(const Operand<T>& b, int64_t group, int64_t first, int64_t last) const {
    constexpr int64_t kWidth = kAlong * kColumns;
    float tile[kWidth];
    for (; first + kAlong <= last && (first + kAlong) * kColumns <= n_; first += kAlong) {
      const int64_t column = first * kColumns, ahead = column + 2 * kWidth <= n_ ? kWidth * b.stride : 0;
      along_kernel<Kind, kAlong>(k_, packed_ + group * steps_, b.data + column * b.stride, b.stride, ahead, tile);
      for (int c = 0; c < kAlong; ++c) finish_panel(tile + c * kColumns, group, first + c);
    }
    return first;
  }

  void finish_panel(const float* sums, int64_t group, int64_t panel) const { finish(epilogue_, sums, group * m_, panel * kColumns, m_, least(kColumns, n_ - panel * kColumns)); }

  void multiply_block(int64_t group, int64_t p, int64_t steps, const uint32_t* block, float* tile) const {
    if (alone_) return thin_kernel<Kind, 1, 1, kAtOnce>(steps, packed_ + group * steps_ + p, block, tile, 1);  // of panels that are not there comes nothing that is read
    for (int64_t r = 0; r < m_; r += kRows)
      pick_thin<Kind>(least(kRows, m_ - r), std::make_integer_sequence<int, kRows>{})(steps, packed_ + group * a_words() + (r * steps_ + p * kRows), block, tile + r * kColumns, m_);
  }

  // Asks for the lines of the panel that comes some panels after this one: in the strip, in its next block of k, or in the next strip.
  void fetch_ahead(const Operand<T>& b, Strip strip, int64_t last, int64_t panel, int64_t k_first, int64_t block_steps) const {
    constexpr int64_t kLine = 64 / sizeof(T);
    const int64_t k_block = block_steps * Kind::values;
    int64_t to = panel + (alone_ ? kAtOnce : 2);
    if (to >= strip.last && k_first + k_block < k_) to = strip.first + (to - strip.last) % (strip.last - strip.first), k_first += k_block;
    else if (to >= strip.last) k_first = 0;
    if (to >= last) return;
    const int64_t column = to * kColumns, k_last = least(k_, k_first + k_block);
    if (b.k_contiguous) {
      for (int64_t j = column; j < least(n_, column + kColumns); ++j)
        for (int64_t p = k_first; p < k_last; p += kLine) __builtin_prefetch(b.data + j * b.stride + p);
    } else {
      for (int64_t p = k_first; p < k_last; ++p)
        for (int64_t j = 0; j < kColumns; j += kLine) __builtin_prefetch(b.data + p * b.stride + column + j);
    }
  }

  Cpu& device_;
  const Operand<T> a_, b_;
  const int64_t groups_, m_, n_, k_, steps_, panels_;
  const bool alone_;  // one row
  const bool far_;    // one row by a b whose rows are read few at a time along their whole length, as memory gives them fastest
  const Epilogue<C> epilogue_;
  uint32_t* packed_ = nullptr;
};

}  // namespace
}  // namespace nichelm
