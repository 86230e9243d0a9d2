// Rotary position embedding (see rotary.h) of tokens that continue a sequence, by a table of all its angles: for every query and key head, with d its width
// and p = t - starts[r,t] the token's position,
//   (y[i], y[i + d/2]) = (x[i] cosine[p,i] - x[i + d/2] sine[p,i], x[i + d/2] cosine[p,i] + x[i] sine[p,i]),   0 <= i < d/2
// Value heads are copied. The first token of a row may stand anywhere: where n tokens came before the row, starts is -n.
#pragma once
#include "runtime/op.h"

namespace nichelm {

struct RotaryTable {
  In x;       // (rows, length, (heads + 2 kv_heads) d)  f32 or bf16; d even
  In starts;  // (rows, length)                          i32; positions outside the table are taken as its first or last
  In cosine;  // (positions, d / 2)                      f32
  In sine;    // as cosine
  Out y;      // as x
  int64_t heads;
  int64_t kv_heads;

  static constexpr auto fields() {
    return nichelm::fields<RotaryTable>("rotary_table", {"x", "starts", "cosine", "sine", "y", "heads", "kv_heads"}, &RotaryTable::x, &RotaryTable::starts, &RotaryTable::cosine, &RotaryTable::sine,
                                        &RotaryTable::y, &RotaryTable::heads, &RotaryTable::kv_heads);
  }
  void check() const;
};

}  // namespace nichelm
