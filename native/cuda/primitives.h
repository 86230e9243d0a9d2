// For tests: each wrapper of an instruction alone, in a small kernel (primitives.cu), so that the first run on a GPU says at once which layout was
// remembered wrongly (primitives_test.cpp).
#pragma once
#include "runtime/op.h"

namespace nichelm {

enum class PrimitiveKind : int64_t { load_matrices, load_matrices_transposed, multiply_matrices, copy_async, load_box, store_box, load_bulk, pipeline, exchange, product };

// Operands are words of 32 bits, or halves of bf16, as the kernel of the kind says.
struct Primitive {
  In a, b;
  Accumulate c;
  int64_t kind;
  int64_t columns;                      // of a product of a warpgroup: 64, 128, 256
  bool across_a, across_b, registers_a, by_threads;  // by_threads: boxes are written by threads, not by tensor copies

  static constexpr auto fields() {
    return nichelm::fields<Primitive>("primitive", {"a", "b", "c", "kind", "columns", "across_a", "across_b", "registers_a", "by_threads"}, &Primitive::a, &Primitive::b, &Primitive::c, &Primitive::kind,
                                      &Primitive::columns, &Primitive::across_a, &Primitive::across_b, &Primitive::registers_a, &Primitive::by_threads);
  }
  void check() const {}
};

// The boxes of the tests of tensor copies: 16 rows of 64 elements, from (x, y, z, w) on of a tensor (sizes[3], .., sizes[0]) that lies with gaps between rows.
struct PrimitiveTensor {
  static constexpr int kRows = 16, kPlaces = 4;
  static constexpr int64_t kSizes[4] = {72, 20, 3, 2}, kStrides[4] = {1, 80, 1600, 4800}, kElements = 9600;
  // inside; beyond both ends; before the beginning; in no plane
  static constexpr int at(int place, int axis) {
    const int all[kPlaces][4] = {{0, 0, 0, 0}, {64, 8, 2, 1}, {8, -3, 1, 0}, {0, 4, 3, 1}};
    return all[place][axis];
  }
  // The same, but that a store may not begin before the beginning (PTX, cp.async.bulk.tensor).
  static constexpr int store_at(int place, int axis) { return at(place, axis) < 0 ? 4 : at(place, axis); }
};
// The pipeline's: tiles of 64 words through so many places.
struct PrimitivePipeline {
  static constexpr int kStages = 3, kSteps = 11, kWords = 64;
};
// A product of a warpgroup sums over so many k.
constexpr int kPrimitiveDepth = 64;

}  // namespace nichelm
