// What k-means computes on a CUDA device: the two passes over all rows. They are no ops of programs: kmeans.cpp calls them. All matrices f32.
#pragma once
#include "runtime/op.h"

namespace nichelm {

// labels[r] = the c that minimises |x[r] - centroids[c]|² (of several, the first); distances[r] = that, at least 0.
struct KmeansAssign {
  In x;           // (rows, width)
  In centroids;   // (clusters, width)
  Out labels;     // (rows) i32
  Out distances;  // (rows)

  static constexpr auto fields() {
    return nichelm::fields<KmeansAssign>("kmeans_assign", {"x", "centroids", "labels", "distances"}, &KmeansAssign::x, &KmeansAssign::centroids, &KmeansAssign::labels, &KmeansAssign::distances);
  }
};

// centroids[c] = the mean of the rows with label c, summed in double; a cluster without rows stays where it is.
struct KmeansUpdate {
  In x;             // (rows, width)
  In labels;        // (rows) i32, in [0, clusters)
  InOut centroids;  // (clusters, width)

  static constexpr auto fields() { return nichelm::fields<KmeansUpdate>("kmeans_update", {"x", "labels", "centroids"}, &KmeansUpdate::x, &KmeansUpdate::labels, &KmeansUpdate::centroids); }
};

}  // namespace nichelm
