// k-means at the sizes of a clustering: the assignment of rows to their nearest centroids, and whole fits.
#pragma once
#include "benchmark/benchmark.h"

namespace nichelm::benchmark {

struct KmeansCase {
  int64_t rows, width, clusters;
};

const std::vector<KmeansCase>& kmeans_cases();

// Assigning all rows once, and a fit of ten iterations with its start. FLOPs are those of the distances, 2 width for a row and a centroid;
// a fit's are those of its iterations, so that the time of the start counts against it.
std::vector<Result> measure_kmeans(Cpu& device, const KmeansCase& shape);

std::vector<Result> kmeans(Cpu& device);

}  // namespace nichelm::benchmark
