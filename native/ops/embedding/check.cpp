#include "ops/embedding/embedding.h"

namespace nichelm {
namespace {

constexpr int64_t kMost = int64_t{1} << 31;  // places and table rows are counted in i32

bool places(const Tensor& tokens, const Tensor& starts) {
  return tokens.type == Type::i32 && starts.type == Type::i32 && tokens.size() == starts.size() && tokens.width() == starts.width() && tokens.size() < kMost;
}
bool table(const Tensor& t, Type type, int64_t width) { return t.type == type && t.axes == 2 && t.width() == width && t.rows() > 0 && t.rows() < kMost; }

}  // namespace

void Embedding::check() const {
  require(places(tokens, starts), "embedding: tokens and starts must be i32 of one shape (rows, length), fewer than 2^31 in all");
  require(token_table.type == Type::f32 || token_table.type == Type::bf16, "embedding: token_table must be f32 or bf16");
  require(table(token_table, token_table.type, token_table.width()) && token_table.width() > 0, "embedding: token_table must have the shape (vocabulary, width), neither of them 0");
  if (position_table.present()) {
    require(table(position_table, token_table.type, token_table.width()), "embedding: position_table must have the type and width of token_table");
    require(position_table.rows() >= tokens.width(), "embedding: position_table has fewer positions than a row has tokens");
  }
  require(y.type == token_table.type && y.width() == token_table.width() && y.rows() == tokens.size(), "embedding: y must have the type of token_table and the shape (rows, length, width)");
}

void EmbeddingGradient::check() const {
  require(places(tokens, starts), "embedding_gradient: tokens and starts must be i32 of one shape (rows, length), fewer than 2^31 in all");
  require(dy.type == Type::f32 || dy.type == Type::bf16, "embedding_gradient: dy must be f32 or bf16");
  require(dy.width() > 0 && dy.rows() == tokens.size(), "embedding_gradient: dy must have the shape (rows, length, width)");
  require(!dtoken_table.present() || table(dtoken_table, Type::f32, dy.width()), "embedding_gradient: dtoken_table must be f32 of shape (vocabulary, width)");
  if (dposition_table.present()) {
    require(table(dposition_table, Type::f32, dy.width()), "embedding_gradient: dposition_table must be f32 of shape (positions, width)");
    require(dposition_table.rows() >= tokens.width(), "embedding_gradient: dposition_table has fewer positions than a row has tokens");
  }
}

}  // namespace nichelm
