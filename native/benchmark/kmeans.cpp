#include "benchmark/kmeans.h"

#include "cluster/kmeans.h"

namespace nichelm::benchmark {

const std::vector<KmeansCase>& kmeans_cases() {
  static const std::vector<KmeansCase> cases{{20000, 128, 16}, {20000, 128, 64}, {20000, 384, 64}, {20000, 128, 1024}, {20000, 384, 1024}};
  return cases;
}

std::vector<Result> measure_kmeans(Cpu& device, const KmeansCase& shape) {
  const auto [rows, width, clusters] = shape;
  std::vector<float> x(static_cast<size_t>(rows * width));
  uint32_t seed = 1;
  for (float& v : x) {
    seed = seed * 1664525 + 1013904223;
    v = static_cast<float>(static_cast<int32_t>(seed)) * 0x1p-31f;
  }
  std::vector<int32_t> labels(static_cast<size_t>(rows));
  std::vector<float> distances(labels.size());
  const cluster::KmeansOptions options{.clusters = clusters, .seed = 1, .iterations = 10, .tolerance = 0};
  int64_t iterations = 0;
  const auto [assign, peak] = fastest_beside_peak(device, Type::f32, [&] { cluster::nearest(device, x.data(), rows, width, x.data(), clusters, labels.data(), distances.data()); });
  const double begin = now();
  iterations = cluster::kmeans(device, x.data(), rows, width, options).iterations;
  const double fit = now() - begin, flops = 2.0 * static_cast<double>(rows) * static_cast<double>(width) * static_cast<double>(clusters);
  std::vector<Result> results(2);
  for (Result& result : results) {
    result.benchmark = "kmeans", result.type = name_of(Type::f32), result.peak = peak;
    result.shape = std::to_string(rows) + " x " + std::to_string(width);
  }
  results[0].what = "assign to " + std::to_string(clusters), results[0].seconds = assign, results[0].flops = flops / assign;
  results[1].what = "fit " + std::to_string(clusters) + ", " + std::to_string(iterations) + " iterations", results[1].seconds = fit;
  results[1].flops = flops * static_cast<double>(iterations + 1) / fit;
  return results;
}

std::vector<Result> kmeans(Cpu& device) {
  std::vector<Result> results;
  for (const KmeansCase& shape : kmeans_cases())
    for (Result& result : measure_kmeans(device, shape)) results.push_back(std::move(result));
  return results;
}

}  // namespace nichelm::benchmark
