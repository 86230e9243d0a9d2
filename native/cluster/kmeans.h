// k-means (Lloyd 1982) from a k-means++ start (Arthur & Vassilvitskii 2007), greedy: of a few candidates for each next centre, the one that
// lowers the sum of squared distances most. Distances go through the matrix product. The same bits with any number of threads.
#pragma once
#include <cstdint>
#include <vector>

#include "cuda/device.h"
#include "runtime/cpu.h"

namespace nichelm::cluster {

struct KmeansOptions {
  int64_t clusters;
  uint64_t seed = 0;
  int64_t iterations = 100;   // at most
  double tolerance = 1e-4;    // stops when the centres' summed squared moves are under this share of the mean variance of a column
  int64_t restarts = 1;       // starts of which the best is kept
};

struct Kmeans {
  std::vector<float> centroids;  // (clusters, width)
  std::vector<int32_t> labels;   // (rows): each row's nearest centroid
  double inertia;                // sum of squared distances to them
  int64_t iterations;            // of the start that was kept
  int64_t reseeded;              // clusters that fell empty on the way and were begun anew at the farthest rows
};

// x (rows, width) f32. With a GPU its passes over all rows are done there, on rows that are copied to it once; the start is the CPU's. Throws
// ErrorCode::argument if there are fewer rows than clusters, ErrorCode::data for values that are not finite, ErrorCode::memory for what a GPU has no room for.
Kmeans kmeans(Cpu& device, const float* x, int64_t rows, int64_t width, const KmeansOptions& options, CudaDevice* gpu = nullptr);

// Each row's nearest centroid (of several, the first) and its squared distance; x (rows, width), centroids (clusters, width).
void nearest(Cpu& device, const float* x, int64_t rows, int64_t width, const float* centroids, int64_t clusters, int32_t* labels, float* distances, CudaDevice* gpu = nullptr);

}  // namespace nichelm::cluster
