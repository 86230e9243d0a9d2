// ldmatrix and mma.sync as the PTX manual describes their fragments (matrices of 8 x 8 halves, "Matrix fragments for mma.m16n8k16" and "ldmatrix").
#include "emulator/matrix.h"

#include <cstring>

namespace nichelm::emulator {
namespace {

constexpr int kLanes = 32;

float widened(uint32_t half) {
  const uint32_t bits = half << 16;
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

struct LoadSlot { uint32_t* registers; const char* row; Place place; };

// Lane 8 m + i gives row i of matrix m; lane t gets its elements 2 (t % 4), + 1 of row t / 4, or, transposed, of column t / 4.
template <bool kTransposed> void load_all(void** slots, unsigned) {
  const unsigned first = current().warp * kLanes;
  for (int m = 0; m < 4; ++m) {
    const uint16_t* row[8];
    for (int i = 0; i < 8; ++i) {
      const auto* slot = static_cast<LoadSlot*>(slots[m * 8 + i]);
      if (!in_shared(slot->row, 16)) fail("%s:%d: lane %d of ldmatrix gives an address outside shared memory", slot->place.file, slot->place.line, m * 8 + i);
      if (reinterpret_cast<uintptr_t>(slot->row) % 16) fail("%s:%d: lane %d of ldmatrix gives an address that is not aligned to 16 bytes", slot->place.file, slot->place.line, m * 8 + i);
      record(slot->row, 16, first + static_cast<unsigned>(m * 8 + i), false);
      row[i] = reinterpret_cast<const uint16_t*>(slot->row);
    }
    for (int t = 0; t < kLanes; ++t) {
      const int group = t / 4, pair = t % 4 * 2;
      const uint16_t low = kTransposed ? row[pair][group] : row[group][pair], high = kTransposed ? row[pair + 1][group] : row[group][pair + 1];
      static_cast<LoadSlot*>(slots[t])->registers[m] = low | static_cast<uint32_t>(high) << 16;
    }
  }
}

struct MultiplySlot { float* d; const uint32_t *a, *b; };

void multiply_all(void** slots, unsigned) {
  float a[16][16], b[16][8], c[16][8];
  for (int t = 0; t < kLanes; ++t) {
    const auto* slot = static_cast<MultiplySlot*>(slots[t]);
    const int group = t / 4, pair = t % 4 * 2;
    for (int i = 0; i < 4; ++i)
      for (int half = 0; half < 2; ++half) a[group + (i & 1) * 8][pair + (i >> 1) * 8 + half] = widened(slot->a[i] >> (16 * half) & 0xffff);
    for (int i = 0; i < 2; ++i)
      for (int half = 0; half < 2; ++half) b[pair + i * 8 + half][group] = widened(slot->b[i] >> (16 * half) & 0xffff);
    for (int i = 0; i < 4; ++i) c[group + (i >> 1) * 8][pair + (i & 1)] = slot->d[i];
  }
  for (int r = 0; r < 16; ++r)
    for (int k = 0; k < 16; ++k)
      for (int n = 0; n < 8; ++n) c[r][n] += a[r][k] * b[k][n];
  for (int t = 0; t < kLanes; ++t) {
    const auto* slot = static_cast<MultiplySlot*>(slots[t]);
    for (int i = 0; i < 4; ++i) slot->d[i] = c[t / 4 + (i >> 1) * 8][t % 4 * 2 + (i & 1)];
  }
}

}  // namespace

void load_matrices(uint32_t* registers, const void* row, bool transposed, Place place) {
  LoadSlot slot{registers, static_cast<const char*>(row), place};
  transposed ? collective("ldmatrix.trans", ~0u, &slot, load_all<true>, place) : collective("ldmatrix", ~0u, &slot, load_all<false>, place);
}

void multiply_matrices(float* d, const uint32_t* a, const uint32_t* b, Place place) {
  MultiplySlot slot{d, a, b};
  collective("mma", ~0u, &slot, multiply_all, place);
}

}  // namespace nichelm::emulator
