// Gradients by central finite differences, for tests of the oracles' gradients.
#pragma once
#include <vector>

namespace nichelm::test {

// The gradient of loss() by x.
template <class Loss> std::vector<float> finite_differences(std::vector<float>& x, const Loss& loss, float step = 1e-2f) {
  std::vector<float> gradient(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const float middle = x[i], above = middle + step, below = middle - step;
    x[i] = above;
    const double high = loss();
    x[i] = below;
    const double low = loss();
    x[i] = middle;
    gradient[i] = static_cast<float>((high - low) / (double{above} - below));
  }
  return gradient;
}

inline double dot(const std::vector<float>& x, const std::vector<float>& y) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += double{x[i]} * y[i];
  return sum;
}

}  // namespace nichelm::test
