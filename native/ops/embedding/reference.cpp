// The oracle: the formulas of embedding.h in double, one place after the other.
#include <algorithm>
#include <vector>

#include "ops/embedding/embedding.h"

namespace nichelm {
namespace {

int64_t token_at(const Tensor& tokens, int64_t place) { return tokens.as<int32_t>()[place]; }
int64_t position_at(const Tensor& starts, int64_t place) { return place % starts.width() - starts.as<int32_t>()[place]; }

void scatter_add(const Tensor& dy, const Tensor& table, const std::vector<int64_t>& rows) {
  const int64_t width = dy.width();
  std::vector<double> sums(table.as<float>(), table.as<float>() + table.size());
  for (int64_t place = 0; place < dy.rows(); ++place)
    if (const int64_t row = rows[static_cast<size_t>(place)]; row >= 0 && row < table.rows())
      for (int64_t i = 0; i < width; ++i) sums[static_cast<size_t>(row * width + i)] += dy.as<float>()[place * width + i];
  std::copy(sums.begin(), sums.end(), table.as<float>());
}

}  // namespace

template <> void run(Reference&, const Embedding& op) {
  const int64_t width = op.y.width();
  for (int64_t place = 0; place < op.tokens.size(); ++place) {
    const int64_t token = std::clamp<int64_t>(token_at(op.tokens, place), 0, op.token_table.rows() - 1);
    const int64_t position = op.position_table.present() ? std::clamp<int64_t>(position_at(op.starts, place), 0, op.position_table.rows() - 1) : 0;
    for (int64_t i = 0; i < width; ++i) {
      const double of_position = op.position_table.present() ? op.position_table.as<float>()[position * width + i] : 0;
      op.y.as<float>()[place * width + i] = static_cast<float>(op.token_table.as<float>()[token * width + i] + of_position);
    }
  }
}

template <> void run(Reference&, const EmbeddingGradient& op) {
  std::vector<int64_t> tokens, positions;
  for (int64_t place = 0; place < op.tokens.size(); ++place) tokens.push_back(token_at(op.tokens, place)), positions.push_back(position_at(op.starts, place));
  if (op.dtoken_table.present()) scatter_add(op.dy, op.dtoken_table, tokens);
  if (op.dposition_table.present()) scatter_add(op.dy, op.dposition_table, positions);
}

}  // namespace nichelm
