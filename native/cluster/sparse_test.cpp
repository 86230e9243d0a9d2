// Sparse products, Gram matrices and orthonormal columns against plain loops in double, on every instruction set and with any number of threads.
#include "cluster/sparse.h"

#include <cmath>
#include <string>

#include "test/test.h"

using namespace nichelm;
using namespace nichelm::cluster;

namespace {

Sparse random_sparse(int64_t rows, int64_t columns, unsigned seed) {
  const std::vector<float> x = test::normal(rows * columns, seed);
  Sparse a;
  a.columns = columns;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c)
      if (x[r * columns + c] > 1 && r % 7 != 3) a.column.push_back(static_cast<int32_t>(c)), a.value.push_back(x[r * columns + c]);  // some rows are empty
    a.offset.push_back(static_cast<int64_t>(a.value.size()));
  }
  return a;
}

template <class Body> void on_every_device(const Body& body) {
  for (const int isa : test::isas()) {
    decltype(body(std::declval<Cpu&>())) first;
    for (const int threads : {1, 2, 5}) {
      Cpu device(threads, static_cast<Isa>(isa));
      auto result = body(device);
      if (threads == 1) first = result;
      EXPECT(result == first, std::string(name_of(device.isa())) + ": other bits with " + std::to_string(threads) + " threads");
    }
  }
}

}  // namespace

TEST(cluster_sparse_product) {
  struct Shape { int64_t rows, columns, width; };
  for (const auto& [rows, columns, width] : {Shape{1, 1, 1}, {13, 50, 7}, {200, 31, 64}, {150, 211, 144}, {129, 64, 131}}) {
    const Sparse a = random_sparse(rows, columns, 5), at = transposed(a);
    const std::vector<float> x = test::normal(columns * width, 6), z = test::normal(rows * width, 7);
    std::vector<float> want(static_cast<size_t>(rows * width)), want_t(static_cast<size_t>(columns * width)), plain(want.size());
    std::vector<double> sum(want.size()), sum_t(want_t.size());
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = a.offset[r]; i < a.offset[r + 1]; ++i)
        for (int64_t j = 0; j < width; ++j) {
          sum[r * width + j] += static_cast<double>(a.value[i]) * x[a.column[i] * width + j];
          plain[r * width + j] += a.value[i] * x[a.column[i] * width + j];
          sum_t[a.column[i] * width + j] += static_cast<double>(a.value[i]) * z[r * width + j];
        }
    for (size_t i = 0; i < sum.size(); ++i) want[i] = static_cast<float>(sum[i]);
    for (size_t i = 0; i < sum_t.size(); ++i) want_t[i] = static_cast<float>(sum_t[i]);
    on_every_device([&](Cpu& device) {
      std::vector<float> y(want.size(), NAN), yt(want_t.size(), NAN);
      multiply(device, a, x.data(), y.data(), width);
      multiply(device, at, z.data(), yt.data(), width);
      const double plain_error = test::error(plain, want);
      EXPECT(test::within(test::error(y, want), plain_error), "a x is off by " + std::to_string(test::error(y, want)));
      EXPECT(test::within(test::error(yt, want_t), plain_error, 5e-7), "aᵀ z is off by " + std::to_string(test::error(yt, want_t)));
      y.insert(y.end(), yt.begin(), yt.end());
      return y;
    });
  }
}

TEST(cluster_gram) {
  struct Shape { int64_t rows, width; };
  for (const auto& [rows, width] : {Shape{1, 1}, {5, 3}, {64, 8}, {1000, 37}, {3001, 12}, {200, 144}}) {
    const std::vector<float> x = test::normal(rows * width, 9);
    std::vector<long double> want(static_cast<size_t>(width * width));
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = 0; i < width; ++i)
        for (int64_t j = 0; j < width; ++j) want[i * width + j] += static_cast<long double>(x[r * width + i]) * x[r * width + j];
    on_every_device([&](Cpu& device) {
      const std::vector<double> g = gram(device, x.data(), rows, width);
      double worst = 0;
      for (size_t i = 0; i < want.size(); ++i) worst = std::max(worst, std::abs(static_cast<double>(g[i] - want[i])));
      EXPECT(worst <= 1e-14 * static_cast<double>(rows + 10), "gram is off by " + std::to_string(worst));
      return g;
    });
  }
}

TEST(cluster_orthonormal_columns) {
  const int64_t rows = 500, width = 21;
  std::vector<float> x = test::normal(rows * width, 11);
  for (int64_t r = 0; r < rows; ++r) {
    float* row = &x[r * width];
    for (int64_t j = 0; j < width; ++j) row[j] *= std::pow(10.f, -static_cast<float>(j) / 5);
    row[8] = 2 * row[3] - row[7];  // dependent on others
    row[12] = 0;
  }
  on_every_device([&](Cpu& device) {
    std::vector<float> q = x, scratch(x.size());
    orthonormalise(device, q.data(), scratch.data(), rows, width);
    orthonormalise(device, q.data(), scratch.data(), rows, width);
    const std::vector<double> g = gram(device, q.data(), rows, width);
    for (int64_t i = 0; i < width; ++i)
      for (int64_t j = 0; j < width; ++j) {
        if (i == 8 || j == 8) continue;  // nothing but rounding is left of it: zero, or some direction
        EXPECT(std::abs(g[i * width + j] - (i == j && i != 12)) < 3e-6, "column " + std::to_string(i) + " with " + std::to_string(j) + ": " + std::to_string(g[i * width + j]));
      }
    // the columns still span what they did: x - q qᵀ x = 0
    double left = 0, all = 0;
    for (int64_t j = 0; j < width; ++j) {
      std::vector<double> dots(static_cast<size_t>(width));
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < width; ++i) dots[i] += static_cast<double>(q[r * width + i]) * x[r * width + j];
      for (int64_t r = 0; r < rows; ++r) {
        double rest = x[r * width + j];
        for (int64_t i = 0; i < width; ++i) rest -= dots[i] * q[r * width + i];
        left += rest * rest, all += static_cast<double>(x[r * width + j]) * x[r * width + j];
      }
    }
    EXPECT(std::sqrt(left / all) < 1e-5, "the span has changed by " + std::to_string(std::sqrt(left / all)));
    return q;
  });
}
