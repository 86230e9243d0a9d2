// What a GPU reaches at most, by its maker's figures: what utilisation is a share of.
#pragma once
#include "cuda/device.h"
#include "runtime/tensor.h"

namespace nichelm {

// FLOP/s of dense products with f32 sums; f32 without TF32. 0 for a GPU that is not in the table.
double stated_peak(const CudaDescription& device, Type type);

// Bytes/s of its memory; 0 for a GPU that is not in the table.
double stated_bandwidth(const CudaDescription& device);

}  // namespace nichelm
