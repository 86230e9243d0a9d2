// Products with matrices whose rows lie further apart than they are wide: scratch memory of an op on the CPU. Rows that are a power of two apart share a few
// sets of every cache, from which their lines push each other out before they are used (a chunk of logits of 4,096 tokens: bf16 rows 8 KiB apart).
#pragma once
#include "ops/matmul/matmul.h"

namespace nichelm {

// Op: Matmul or MatmulAccumulate, without groups. The op's own shapes say how wide rows are, so a, or c, takes rows x what stands here.
template <class Op> struct RowsApart {
  Op op;
  int64_t a = 0, c = 0;  // elements from one row in memory to the next; 0: as many as are in it
};

// How far apart rows of so many elements lie best: whole lines of 64 bytes, an odd number of them, so that rows that follow each other go to all sets in turn.
template <class T> NICHELM_INLINE int64_t apart(int64_t width) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  return ((width + kLine - 1) / kLine | 1) * kLine;
}

}  // namespace nichelm
