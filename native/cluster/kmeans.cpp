#include "cluster/kmeans.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <string>

#include "cluster/cuda_ops.h"
#include "cluster/kernels.h"
#include "cluster/splitmix.h"

namespace nichelm::cluster {
namespace {

constexpr int64_t kTaskBytes = 256 << 10;  // of rows that one task compares with all centroids: part of the second cache
constexpr int64_t kStartRows = 16384;     // rows at least that centres are chosen among
constexpr int64_t kStartRowsEach = 16;    // ... and for each cluster
constexpr int64_t kStartTask = 1024;      // of these rows that one task compares with a centre's candidates; a multiple of kNearestColumns

std::vector<float> squared_norms(Cpu& device, const float* x, int64_t rows, int64_t width) {
  const Kernels& kernels = kernels_for(device.isa());
  std::vector<float> squares(static_cast<size_t>(rows));
  device.split(rows, [&](int64_t first, int64_t last) { kernels.squared_norms(x + first * width, last - first, width, squares.data() + first); });
  return squares;
}

// A tensor in a GPU's memory, as long as this lives.
class There {
 public:
  There(CudaDevice& gpu, Type type, std::initializer_list<int64_t> shape) : gpu_(gpu), tensor_{nullptr, type, 0, {}} {
    for (const int64_t axis : shape) tensor_.shape[tensor_.axes++] = axis;
    tensor_.data = gpu.allocate(tensor_.bytes());
  }
  ~There() { gpu_.release(tensor_.data); }
  There(const There&) = delete;
  const Tensor& tensor() const { return tensor_; }
  void write(const void* values) { gpu_.write(tensor_.data, values, tensor_.bytes()); }
  void read(void* into) { gpu_.read(tensor_.data, into, tensor_.bytes()); }

 private:
  CudaDevice& gpu_;
  Tensor tensor_;
};

// Rows on a GPU with what k-means computes of them there.
class RowsThere {
 public:
  RowsThere(CudaDevice& gpu, const float* x, int64_t rows, int64_t width, int64_t clusters)
      : gpu_(gpu), x_(gpu, Type::f32, {rows, width}), centroids_(gpu, Type::f32, {clusters, width}), labels_(gpu, Type::i32, {rows}), distances_(gpu, Type::f32, {rows}) {
    x_.write(x);
  }
  void assign(const float* centroids, int32_t* labels, float* distances) {
    centroids_.write(centroids);
    const KmeansAssign op{{x_.tensor()}, {centroids_.tensor()}, {labels_.tensor()}, {distances_.tensor()}};
    gpu_.run("kmeans_assign", &op);
    labels_.read(labels), distances_.read(distances);
  }
  void update(const int32_t* labels, float* centroids) {
    labels_.write(labels), centroids_.write(centroids);
    const KmeansUpdate op{{x_.tensor()}, {labels_.tensor()}, {centroids_.tensor()}};
    gpu_.run("kmeans_update", &op);
    centroids_.read(centroids);
  }

 private:
  CudaDevice& gpu_;
  There x_, centroids_, labels_, distances_;
};

// One start of the algorithm on rows that do not change.
class Lloyd {
 public:
  Lloyd(Cpu& device, const float* x, int64_t rows, int64_t width, const std::vector<float>& squares, const KmeansOptions& options, uint64_t seed, RowsThere* there)
      : device_(device), there_(there), x_(x), rows_(rows), width_(width), squares_(squares), clusters_(options.clusters), options_(options), random_(seed) {}

  Kmeans run(double column_variance) {
    Kmeans result{start(), std::vector<int32_t>(static_cast<size_t>(rows_)), 0, 0, 0};
    distances_.resize(static_cast<size_t>(rows_));
    std::vector<int32_t> before;
    for (; result.iterations < options_.iterations; ++result.iterations) {
      assign(result);
      if (result.labels == before) return result;
      before = result.labels;
      const double moved = update(result);
      if (moved <= options_.tolerance * column_variance) {
        ++result.iterations;
        break;
      }
    }
    assign(result);
    return result;
  }

 private:
  void assign(Kmeans& k) {
    if (there_) there_->assign(k.centroids.data(), k.labels.data(), distances_.data());
    else nearest(device_, x_, rows_, width_, k.centroids.data(), clusters_, k.labels.data(), distances_.data());
    k.inertia = std::accumulate(distances_.begin(), distances_.end(), 0.0);
    if (!std::isfinite(k.inertia)) fail(ErrorCode::data, "kmeans: the rows hold values that are not finite");
  }

  // Moves the centres to the means of their rows. Gives the sum of squared moves.
  double update(Kmeans& k) {
    std::vector<int32_t> labels = k.labels;
    std::vector<int64_t> first(static_cast<size_t>(clusters_) + 1);
    for (const int32_t c : labels) ++first[static_cast<size_t>(c) + 1];
    reseed(labels, first, k.reseeded);
    if (there_) return update_there(labels, k.centroids);
    std::partial_sum(first.begin(), first.end(), first.begin());
    std::vector<int32_t> members(labels.size());
    std::vector<int64_t> next(first.begin(), first.end() - 1);
    for (int64_t r = 0; r < rows_; ++r) members[static_cast<size_t>(next[labels[r]]++)] = static_cast<int32_t>(r);

    const Kernels& kernels = kernels_for(device_.isa());
    std::vector<double> moves(static_cast<size_t>(clusters_)), sums(static_cast<size_t>(device_.threads() * width_));
    device_.each(clusters_, [&](int64_t c, int thread) {
      const int64_t count = first[c + 1] - first[c];
      if (count == 0) return;  // fewer distinct rows than clusters: the centre stays where it is
      double* sum = sums.data() + thread * width_;
      kernels.sum_rows(x_, width_, members.data() + first[c], count, sum);
      double move = 0;
      for (int64_t j = 0; j < width_; ++j) {
        float& centre = k.centroids[static_cast<size_t>(c * width_ + j)];
        const float mean = static_cast<float>(sum[j] / static_cast<double>(count));
        move += (static_cast<double>(mean) - centre) * (static_cast<double>(mean) - centre);
        centre = mean;
      }
      moves[c] = move;
    });
    return std::accumulate(moves.begin(), moves.end(), 0.0);
  }

  double update_there(const std::vector<int32_t>& labels, std::vector<float>& centroids) {
    const std::vector<float> before = centroids;
    there_->update(labels.data(), centroids.data());
    double moved = 0;
    for (size_t i = 0; i < centroids.size(); ++i) moved += (static_cast<double>(centroids[i]) - before[i]) * (static_cast<double>(centroids[i]) - before[i]);
    return moved;
  }

  // Gives every empty cluster one of the rows that are farthest from their centres. first[c + 1] counts the rows of c.
  void reseed(std::vector<int32_t>& labels, std::vector<int64_t>& first, int64_t& reseeded) {
    const int64_t empty = std::count(first.begin() + 1, first.end(), 0);
    if (empty == 0) return;
    std::vector<int32_t> farthest(labels.size());
    std::iota(farthest.begin(), farthest.end(), 0);
    std::sort(farthest.begin(), farthest.end(), [&](int32_t a, int32_t b) { return distances_[a] != distances_[b] ? distances_[a] > distances_[b] : a < b; });
    size_t next = 0;
    for (int64_t c = 0; c < clusters_; ++c) {
      if (first[c + 1] > 0) continue;
      while (next < farthest.size() && first[labels[farthest[next]] + 1] == 1) ++next;  // do not empty another
      if (next == farthest.size() || distances_[farthest[next]] == 0) return;
      int32_t& label = labels[farthest[next++]];
      --first[label + 1], ++first[c + 1];
      label = static_cast<int32_t>(c);
      ++reseeded;
    }
  }

  std::vector<float> start() {
    const int64_t count = std::min(rows_, std::max(kStartRows, kStartRowsEach * clusters_));
    const std::vector<int32_t> sample = sample_rows(count);
    std::vector<float> s(static_cast<size_t>(count * width_)), squares(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) std::copy_n(x_ + sample[i] * width_, width_, s.data() + i * width_), squares[i] = squares_[sample[i]];

    const Kernels& kernels = kernels_for(device_.isa());
    std::vector<float> packed(static_cast<size_t>(nearest_columns(count) * width_)), unused(static_cast<size_t>(nearest_columns(count)));
    device_.split(nearest_columns(count) / kNearestColumns, [&](int64_t first, int64_t last) {
      kernels.pack_centroids(s.data(), count, width_, first * kNearestColumns, last * kNearestColumns, packed.data(), unused.data());
    });

    const int64_t candidates = 2 + static_cast<int64_t>(std::log(static_cast<double>(clusters_))), tasks = (count + kStartTask - 1) / kStartTask;
    std::vector<float> centroids(static_cast<size_t>(clusters_ * width_)), tried(static_cast<size_t>(candidates * width_)), dots(static_cast<size_t>(count * candidates)),
        tried_squares(static_cast<size_t>(candidates));
    std::vector<int64_t> chosen(static_cast<size_t>(candidates));
    std::vector<double> least(static_cast<size_t>(count), INFINITY), parts(static_cast<size_t>(tasks * candidates)), sums(static_cast<size_t>(candidates));
    double potential = 0;
    for (int64_t c = 0; c < clusters_; ++c) {
      const int64_t tries = c == 0 ? 1 : candidates;
      for (int64_t t = 0; t < tries; ++t) {
        chosen[t] = c == 0 || !(potential > 0) ? static_cast<int64_t>(random_.uniform() * static_cast<double>(count)) : pick(least, random_.uniform() * potential);
        std::copy_n(s.data() + chosen[t] * width_, width_, tried.data() + t * width_);
        tried_squares[t] = squares[chosen[t]];
      }
      const Candidates of{tried.data(), tried_squares.data(), tries, width_, count, packed.data(), squares.data(), least.data(), dots.data()};
      device_.each(tasks, [&](int64_t task, int thread) {
        auto* scratch = static_cast<float*>(device_.scratch(thread, kNearestRows * width_ * 4));
        kernels.sums_left(of, task * kStartTask, std::min(count, (task + 1) * kStartTask), scratch, parts.data() + task * candidates);
      });
      std::fill(sums.begin(), sums.end(), 0);
      for (int64_t task = 0; task < tasks; ++task)
        for (int64_t t = 0; t < tries; ++t) sums[t] += parts[task * candidates + t];
      const int64_t best = std::min_element(sums.begin(), sums.begin() + tries) - sums.begin();
      potential = sums[best];
      kernels.lower_least(dots.data() + best * count, squares.data(), tried_squares[best], count, least.data());
      least[chosen[best]] = 0;
      std::copy_n(tried.data() + best * width_, width_, centroids.data() + c * width_);
    }
    return centroids;
  }

  // A row with probability in proportion to its squared distance.
  static int64_t pick(const std::vector<double>& least, double mass) {
    int64_t last = 0;
    for (size_t i = 0; i < least.size(); ++i) {
      if (least[i] > 0) last = static_cast<int64_t>(i);
      if ((mass -= least[i]) < 0) return static_cast<int64_t>(i);
    }
    return last;
  }

  // Distinct rows, ascending: each is taken with the probability that is left for it (Knuth's selection sampling).
  std::vector<int32_t> sample_rows(int64_t count) {
    std::vector<int32_t> sample;
    for (int64_t r = 0; static_cast<int64_t>(sample.size()) < count; ++r)
      if (random_.uniform() * static_cast<double>(rows_ - r) < static_cast<double>(count - static_cast<int64_t>(sample.size()))) sample.push_back(static_cast<int32_t>(r));
    return sample;
  }

  Cpu& device_;
  RowsThere* there_;  // null: the CPU does all
  const float* x_;
  int64_t rows_, width_;
  const std::vector<float>& squares_;
  int64_t clusters_;
  const KmeansOptions& options_;
  Splitmix random_;
  std::vector<float> distances_;
};

// Mean over the columns of their variance: what the tolerance is a share of.
double column_variance(Cpu& device, const float* x, int64_t rows, int64_t width, const std::vector<float>& squares) {
  std::vector<int32_t> all(static_cast<size_t>(rows));
  std::iota(all.begin(), all.end(), 0);
  std::vector<double> sum(static_cast<size_t>(width));
  kernels_for(device.isa()).sum_rows(x, width, all.data(), rows, sum.data());
  double variance = std::accumulate(squares.begin(), squares.end(), 0.0) / static_cast<double>(rows);
  for (const double s : sum) variance -= s / static_cast<double>(rows) * (s / static_cast<double>(rows));
  return std::max(0.0, variance) / static_cast<double>(width);
}

}  // namespace

void nearest(Cpu& device, const float* x, int64_t rows, int64_t width, const float* centroids, int64_t clusters, int32_t* labels, float* distances, CudaDevice* gpu) {
  require(width >= 1 && clusters >= 1, "nearest: there must be a column and a centroid");
  if (gpu && rows > 0) return RowsThere(*gpu, x, rows, width, clusters).assign(centroids, labels, distances);
  const Kernels& kernels = kernels_for(device.isa());
  const int64_t columns = nearest_columns(clusters);
  auto* packed = static_cast<float*>(device.shared_scratch(columns * (width + 1) * 4));
  float* centre_squares = packed + columns * width;
  device.split(columns / kNearestColumns, [&](int64_t first, int64_t last) {
    kernels.pack_centroids(centroids, clusters, width, first * kNearestColumns, last * kNearestColumns, packed, centre_squares);
  });
  const int64_t step = std::clamp<int64_t>(kTaskBytes / (4 * width) / kNearestRows, 1, 64) * kNearestRows;
  device.each((rows + step - 1) / step, [&](int64_t task, int thread) {
    const int64_t first = task * step, count = std::min(step, rows - first);
    auto* scratch = static_cast<float*>(device.scratch(thread, nearest_scratch(count, width) * 4));
    kernels.nearest(x + first * width, count, width, packed, centre_squares, clusters, scratch, labels + first, distances + first);
  });
}

Kmeans kmeans(Cpu& device, const float* x, int64_t rows, int64_t width, const KmeansOptions& options, CudaDevice* gpu) {
  require(options.clusters >= 1 && width >= 1 && options.iterations >= 1 && options.restarts >= 1, "kmeans: clusters, columns, iterations and restarts must be positive");
  require(options.iterations <= 100000 && options.restarts <= 1000, "kmeans: there may be 100000 iterations and 1000 restarts at most");
  require(rows <= INT32_MAX, "kmeans: more rows than can be numbered");
  if (rows < options.clusters)
    throw Error(ErrorCode::argument, "kmeans: " + std::to_string(options.clusters) + " clusters cannot be made from " + std::to_string(rows) + " windows; ask for fewer clusters");
  const std::vector<float> squares = squared_norms(device, x, rows, width);
  for (const float s : squares)
    if (!std::isfinite(s)) fail(ErrorCode::data, "kmeans: the rows hold values that are not finite");
  const double variance = column_variance(device, x, rows, width, squares);
  std::optional<RowsThere> there;
  if (gpu) there.emplace(*gpu, x, rows, width, options.clusters);
  Kmeans best;
  for (int64_t restart = 0; restart < options.restarts; ++restart) {
    Splitmix seeds(options.seed + static_cast<uint64_t>(restart));
    Kmeans result = Lloyd(device, x, rows, width, squares, options, seeds.next(), there ? &*there : nullptr).run(variance);
    if (restart == 0 || result.inertia < best.inertia) best = std::move(result);
  }
  return best;
}

}  // namespace nichelm::cluster
