// k-means against brute force in double, on every instruction set and with any number of threads.
#include "cluster/kmeans.h"

#include <cmath>
#include <set>
#include <string>

#include "cluster/kernels.h"
#include "runtime/error.h"
#include "test/devices.h"

using namespace nichelm;
using namespace nichelm::cluster;

namespace {

double distance(const float* a, const float* b, int64_t width) {
  double sum = 0;
  for (int64_t j = 0; j < width; ++j) sum += (static_cast<double>(a[j]) - b[j]) * (static_cast<double>(a[j]) - b[j]);
  return sum;
}

// Rows around `groups` far centres, taking turns.
std::vector<float> blobs(int64_t rows, int64_t width, int64_t groups, unsigned seed) {
  std::vector<float> x = test::normal(rows * width, seed, 0.1f);
  const std::vector<float> centres = test::normal(groups * width, seed + 1, 3);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < width; ++j) x[r * width + j] += centres[r % groups * width + j];
  return x;
}

// The sum of squared distances to the labels' centroids, and that no other centroid is nearer but by rounding.
double checked_inertia(const std::vector<float>& x, int64_t rows, int64_t width, const Kmeans& k, const std::string& what) {
  const int64_t clusters = static_cast<int64_t>(k.centroids.size()) / width;
  double inertia = 0, scale = 0;
  for (const float v : x) scale += static_cast<double>(v) * v;
  scale /= static_cast<double>(rows);
  for (int64_t r = 0; r < rows; ++r) {
    EXPECT(k.labels[r] >= 0 && k.labels[r] < clusters, what + ": a label that is no cluster");
    const double own = distance(&x[r * width], &k.centroids[k.labels[r] * width], width);
    for (int64_t c = 0; c < clusters; ++c)
      if (distance(&x[r * width], &k.centroids[c * width], width) < own - 1e-5 * (scale + own)) {
        EXPECT(false, what + ": row " + std::to_string(r) + " has a nearer centroid");
        break;
      }
    inertia += own;
  }
  EXPECT(std::abs(inertia - k.inertia) <= 1e-5 * (scale * static_cast<double>(rows)), what + ": inertia " + std::to_string(k.inertia) + ", not " + std::to_string(inertia));
  return inertia;
}

void expect_error(ErrorCode code, const std::string& part, const std::vector<float>& x, int64_t rows, int64_t width, const KmeansOptions& options) {
  Cpu device(2);
  try {
    kmeans(device, x.data(), rows, width, options);
    EXPECT(false, "it must throw: " + part);
  } catch (const Error& e) {
    EXPECT(e.code == code && std::string(e.what()).find(part) != std::string::npos, e.what());
  }
}

}  // namespace

TEST(kmeans_nearest_is_brute_force) {
  struct Shape { int64_t rows, width, clusters; };
  for (const auto& [rows, width, clusters] : {Shape{1, 1, 1}, {7, 3, 2}, {100, 17, 15}, {301, 64, 16}, {1000, 33, 47}, {70, 128, 300}, {29, 700, 33}, {40000, 5, 70}}) {
    const std::vector<float> x = test::normal(rows * width, 3), centroids = test::normal(clusters * width, 4);
    for (const int isa : test::isas()) {
      std::vector<int32_t> first;
      for (const int threads : {1, 2, 5}) {
        Cpu device(threads, static_cast<Isa>(isa));
        std::vector<int32_t> labels(static_cast<size_t>(rows), -1);
        std::vector<float> distances(static_cast<size_t>(rows), NAN);
        nearest(device, x.data(), rows, width, centroids.data(), clusters, labels.data(), distances.data());
        const std::string what = std::string(name_of(device.isa())) + " " + std::to_string(rows) + " x " + std::to_string(width) + ", " + std::to_string(clusters);
        if (threads == 1) first = labels;
        EXPECT(labels == first, what + ": other labels with " + std::to_string(threads) + " threads");
        if (threads != 1) continue;
        for (int64_t r = 0; r < rows; ++r) {
          double least = INFINITY;
          for (int64_t c = 0; c < clusters; ++c) least = std::min(least, distance(&x[r * width], &centroids[c * width], width));
          const double own = distance(&x[r * width], &centroids[labels[r] * width], width), slack = 1e-5 * static_cast<double>(width + 1);
          if (!(own <= least + slack && std::abs(distances[r] - own) <= slack)) {
            EXPECT(false, what + ": row " + std::to_string(r) + " at " + std::to_string(own) + ", told " + std::to_string(distances[r]) + ", nearest " + std::to_string(least));
            break;
          }
        }
      }
    }
  }
}

TEST(kmeans_nearest_of_equals_is_the_first) {
  for (const int64_t clusters : {2, 15, 16, 17, 40, 65}) {
    std::vector<float> centroids(static_cast<size_t>(clusters * 2), 9), x{1, 2};
    for (const int64_t c : {clusters / 2, clusters - 1}) centroids[c * 2] = 1, centroids[c * 2 + 1] = 2;
    for (const int isa : test::isas()) {
      Cpu device(1, static_cast<Isa>(isa));
      int32_t label = -1;
      float far = NAN;
      nearest(device, x.data(), 1, 2, centroids.data(), clusters, &label, &far);
      EXPECT(label == clusters / 2 && far == 0, "of " + std::to_string(clusters) + ": " + std::to_string(label));
    }
  }
}

TEST(kmeans_candidates_are_brute_force) {  // more candidates than a panel has rows, rows that fill no panel, part of the rows, a row at its own place
  struct Shape { int64_t rows, width, tries, first, last; };
  for (const auto& [rows, width, tries, first, last] : {Shape{1, 1, 1, 0, 1}, {33, 17, 3, 0, 33}, {100, 5, 8, 32, 77}, {1029, 64, 16, 64, 1029}}) {
    const std::vector<float> x = test::normal(rows * width, 5);
    const std::vector<float> tried(x.end() - tries * width, x.end());
    std::vector<double> least(static_cast<size_t>(rows));
    for (int64_t i = 0; i < rows; ++i) least[i] = i % 3 ? static_cast<double>(width) * static_cast<double>(i % 7) / 3 : INFINITY;
    for (const int isa : test::isas()) {
      const Kernels& kernels = kernels_for(static_cast<Isa>(isa));
      const std::string what = std::string(name_of(static_cast<Isa>(isa))) + " " + std::to_string(rows) + " x " + std::to_string(width) + ", " + std::to_string(tries) + " candidates";
      std::vector<float> packed(static_cast<size_t>(nearest_columns(rows) * width)), unused(static_cast<size_t>(nearest_columns(rows))), row_squares(static_cast<size_t>(rows)),
          squares(static_cast<size_t>(tries)), dots(static_cast<size_t>(tries * rows), NAN), scratch(static_cast<size_t>(kNearestRows * width), NAN);
      kernels.pack_centroids(x.data(), rows, width, 0, nearest_columns(rows), packed.data(), unused.data());
      kernels.squared_norms(x.data(), rows, width, row_squares.data());
      kernels.squared_norms(tried.data(), tries, width, squares.data());
      std::vector<double> sums(static_cast<size_t>(tries), NAN);
      kernels.sums_left({tried.data(), squares.data(), tries, width, rows, packed.data(), row_squares.data(), least.data(), dots.data()}, first, last, scratch.data(), sums.data());
      for (int64_t t = 0; t < tries; ++t) {
        double want = 0;
        std::vector<double> nearer = least;
        kernels.lower_least(dots.data() + t * rows + first, row_squares.data() + first, squares[t], last - first, nearer.data() + first);
        for (int64_t i = 0; i < rows; ++i) {
          const bool seen = i >= first && i < last;
          const double d = std::min(least[i], distance(&x[i * width], &tried[t * width], width)), slack = 1e-5 * static_cast<double>(width + 1);
          if (seen) want += d;
          EXPECT(std::isnan(dots[t * rows + i]) == !seen, what + ": a product of a row that was not asked for, or none of one that was");
          EXPECT(seen ? std::abs(nearer[i] - d) <= slack : nearer[i] == least[i], what + ": row " + std::to_string(i) + " is left " + std::to_string(nearer[i]) + ", not " + std::to_string(d));
        }
        EXPECT(std::abs(sums[t] - want) <= 1e-6 * static_cast<double>(rows * (width + 1)), what + ": leaves " + std::to_string(sums[t]) + ", not " + std::to_string(want));
      }
    }
  }
}

TEST(kmeans_finds_clusters_that_are_there) {
  const int64_t rows = 1300, width = 19, groups = 13;
  const std::vector<float> x = blobs(rows, width, groups, 21);
  for (const int isa : test::isas()) {
    Kmeans first;
    for (const int threads : {1, 2, 5}) {
      Cpu device(threads, static_cast<Isa>(isa));
      const Kmeans k = kmeans(device, x.data(), rows, width, {.clusters = groups, .seed = 5});
      const std::string what = std::string(name_of(device.isa())) + ", " + std::to_string(threads) + " threads";
      if (threads == 1) first = k;
      EXPECT(k.centroids == first.centroids && k.labels == first.labels && k.inertia == first.inertia, what + ": other bits");
      checked_inertia(x, rows, width, k, what);
      std::set<int32_t> seen;
      for (int64_t g = 0; g < groups; ++g) seen.insert(k.labels[g]);
      bool together = true;
      for (int64_t r = 0; r < rows; ++r) together = together && k.labels[r] == k.labels[r % groups];
      EXPECT(seen.size() == static_cast<size_t>(groups) && together, what + ": the groups were not found");
    }
  }
}

TEST(kmeans_ends_where_a_plain_step_gains_nothing) {
  const int64_t rows = 900, width = 11, clusters = 8;
  const std::vector<float> x = test::normal(rows * width, 31);
  Cpu device(2);
  const Kmeans k = kmeans(device, x.data(), rows, width, {.clusters = clusters, .seed = 1, .iterations = 500, .tolerance = 0});
  const double inertia = checked_inertia(x, rows, width, k, "random rows");
  std::vector<double> means(static_cast<size_t>(clusters * width)), counts(static_cast<size_t>(clusters));
  for (int64_t r = 0; r < rows; ++r, ++counts[k.labels[r - 1]])
    for (int64_t j = 0; j < width; ++j) means[k.labels[r] * width + j] += x[r * width + j];
  double after = 0;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < width; ++j) after += std::pow(x[r * width + j] - means[k.labels[r] * width + j] / counts[k.labels[r]], 2);
  EXPECT(after >= inertia * (1 - 1e-6), "centroids are not the means: " + std::to_string(inertia) + " could be " + std::to_string(after));
  double whole = 0;
  for (const float v : x) whole += static_cast<double>(v) * v;
  EXPECT(inertia < 0.85 * whole, "no better than one cluster");
  const Kmeans best = kmeans(device, x.data(), rows, width, {.clusters = clusters, .seed = 1, .iterations = 500, .tolerance = 0, .restarts = 5});
  EXPECT(best.inertia <= k.inertia, "restarts cannot be worse than their first");
}

TEST(kmeans_with_few_distinct_rows) {
  std::vector<float> x;  // 200 rows, 3 of them distinct
  for (int r = 0; r < 200; ++r) x.insert(x.end(), {static_cast<float>(r % 3), 1, 0, -1});
  Cpu device(2);
  const Kmeans k = kmeans(device, x.data(), 200, 4, {.clusters = 10, .seed = 2});
  checked_inertia(x, 200, 4, k, "few distinct rows");
  EXPECT(k.inertia < 1e-5, "three centroids are enough");
  const Kmeans one = kmeans(device, x.data(), 1, 4, {.clusters = 1});
  EXPECT(one.inertia == 0 && one.labels[0] == 0, "one row, one cluster");
}

TEST(kmeans_reseeds_empty_clusters) {
  // Many rows at one place and few far ones: with more centres than the sample of the start can tell apart, some begin alike and fall empty.
  const int64_t rows = 40000, width = 2;
  std::vector<float> x(static_cast<size_t>(rows * width), 1);
  for (int64_t i = 0; i < 12; ++i) x[(i * 3331) * width] = 10 * static_cast<float>(i + 1), x[(i * 3331) * width + 1] = -5 * static_cast<float>(i * i);
  Cpu device(2);
  const Kmeans k = kmeans(device, x.data(), rows, width, {.clusters = 13, .seed = 3});
  checked_inertia(x, rows, width, k, "far rows");
  EXPECT(k.reseeded > 0, "the start sees fewer than half of the far rows, so others must have been re-seeded");
  EXPECT(k.inertia < 1, "every far row has its own cluster; inertia " + std::to_string(k.inertia));
}

TEST(kmeans_refuses_what_it_cannot_do) {
  std::vector<float> x = test::normal(40, 1);
  expect_error(ErrorCode::argument, "11 clusters cannot be made from 10 windows", x, 10, 4, {.clusters = 11});
  expect_error(ErrorCode::argument, "must be positive", x, 10, 4, {.clusters = 0});
  x[17] = NAN;
  expect_error(ErrorCode::data, "not finite", x, 10, 4, {.clusters = 2});
  x[17] = INFINITY;
  expect_error(ErrorCode::data, "not finite", x, 10, 4, {.clusters = 2});
}

TEST(kmeans_on_cuda_is_that_of_the_cpu) {
  struct Shape { int64_t rows, width, groups; };
  for (const auto& [rows, width, groups] : {Shape{5, 1, 1}, {300, 33, 7}, {1030, 8, 21}}) {
    const std::vector<float> x = blobs(rows, width, groups, 7);
    Cpu cpu(1);
    const Kmeans want = kmeans(cpu, x.data(), rows, width, {.clusters = groups, .seed = 3});
    Kmeans first;
    for (const test::CudaChoice& choice : test::cuda_devices()) {
      choice.prepare();
      const Kmeans got = kmeans(cpu, x.data(), rows, width, {.clusters = groups, .seed = 3}, choice.device);
      const std::string what = choice.name + ", " + std::to_string(rows) + " x " + std::to_string(width) + " in " + std::to_string(groups);
      EXPECT(got.labels == want.labels && got.iterations == want.iterations, what + ": labels of the CPU's");
      EXPECT(test::error(got.centroids, want.centroids) < 1e-6, what + ": its centroids");
      checked_inertia(x, rows, width, got, what);
      if (first.centroids.empty()) first = got;
      EXPECT(got.centroids == first.centroids && got.labels == first.labels && got.inertia == first.inertia, what + ": the same bits in every order of threads");
    }
  }
}

TEST(kmeans_nearest_on_cuda) {  // equal distances, rows and clusters that fill no warp, NaN, distances below 0 by rounding
  const int64_t rows = 37, width = 5, clusters = 70;
  std::vector<float> x = test::normal(rows * width, 3), centroids = test::normal(clusters * width, 4);
  std::copy_n(centroids.begin() + 9 * width, width, centroids.begin() + 41 * width);  // equal, of one lane
  std::copy_n(centroids.begin() + 9 * width, width, centroids.begin() + 66 * width);  // and of another
  for (const int64_t r : {3, 36}) std::copy_n(centroids.begin() + 9 * width, width, x.begin() + r * width);
  std::vector<int32_t> want(static_cast<size_t>(rows)), labels(want.size());
  std::vector<float> far(want.size()), distances(want.size());
  Cpu cpu(1);
  nearest(cpu, x.data(), rows, width, centroids.data(), clusters, want.data(), far.data());
  for (const test::CudaChoice& choice : test::cuda_devices()) {
    choice.prepare();
    labels.assign(labels.size(), -1), distances.assign(distances.size(), NAN);
    nearest(cpu, x.data(), rows, width, centroids.data(), clusters, labels.data(), distances.data(), choice.device);
    EXPECT(labels == want && labels[3] == 9 && labels[36] == 9, choice.name + ": labels");
    bool near = true;
    for (size_t r = 0; r < far.size(); ++r) near = near && distances[r] >= 0 && std::abs(distances[r] - far[r]) < 1e-5f;
    EXPECT(near, choice.name + ": distances");
    std::vector<float> bad = x;
    bad[2 * width] = NAN;
    nearest(cpu, bad.data(), rows, width, centroids.data(), clusters, labels.data(), distances.data(), choice.device);
    EXPECT(std::isnan(distances[2]) && !std::isnan(distances[1]) && labels[2] >= 0 && labels[2] < clusters, choice.name + ": NaN is seen");
  }
}

TEST(kmeans_reseeds_on_cuda) {  // fewer distinct rows than clusters
  std::vector<float> x;
  for (int r = 0; r < 60; ++r) x.insert(x.end(), {static_cast<float>(r % 3), 1});
  Cpu cpu(1);
  const Kmeans want = kmeans(cpu, x.data(), 60, 2, {.clusters = 5, .seed = 1});
  for (const test::CudaChoice& choice : test::cuda_devices()) {
    choice.prepare();
    const Kmeans got = kmeans(cpu, x.data(), 60, 2, {.clusters = 5, .seed = 1}, choice.device);
    EXPECT(got.labels == want.labels && got.centroids == want.centroids && got.inertia == 0, choice.name);
  }
}
