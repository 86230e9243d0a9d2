// The matrix instructions of a warp.
#pragma once
#include "emulator/grid.h"

namespace nichelm::emulator {

// ldmatrix.x4: four matrices of 8 x 8 halves; every lane gives the address of one row and gets four registers of two halves.
void load_matrices(uint32_t* registers, const void* row, bool transposed, Place place);

// mma.m16n8k16: d (16 x 8, f32) += a (16 x 16, bf16) b (16 x 8, bf16). The hardware adds in an order of its own; here k rises.
void multiply_matrices(float* d, const uint32_t* a, const uint32_t* b, Place place);

}  // namespace nichelm::emulator
