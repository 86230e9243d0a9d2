// embedding and its gradient: both types against the double reference, packed documents, tokens outside the vocabulary, threads, NaN.
#include "ops/embedding/embedding.h"

#include "test/devices.h"
#include "test/gradient.h"
#include "test/operand.h"

using namespace nichelm;
using namespace nichelm::test;

namespace {

struct Shape { int64_t rows, length, width, vocabulary; };
const Shape kShapes[] = {{1, 1, 1, 1}, {1, 5, 7, 3}, {3, 17, 16, 11}, {7, 64, 33, 301}, {2, 900, 64, 5}};

// Rows of packed documents whose tokens are drawn so that low ones are frequent.
struct Problem {
  Shape s;
  std::vector<int32_t> tokens, starts;
  std::vector<float> token_table, position_table, dy;
  Problem(Shape shape, Type type)
      : s(shape), token_table(as_type(normal(s.vocabulary * s.width, 1), type)), position_table(as_type(normal((s.length + 2) * s.width, 2), type)),
        dy(as_type(normal(s.rows * s.length * s.width, 3), type)) {
    uint32_t random = 12345;
    for (int64_t r = 0; r < s.rows; ++r)
      for (int64_t t = 0, start = 0; t < s.length; ++t) {
        random = random * 1664525 + 1013904223;
        if (random >> 28 == 0) start = t;
        const double u = (random >> 8 & 0xffff) / 65536.0;
        tokens.push_back(static_cast<int32_t>(u * u * static_cast<double>(s.vocabulary)));
        starts.push_back(static_cast<int32_t>(start));
      }
  }
  std::vector<int64_t> places() const { return {s.rows, s.length}; }
  std::vector<int64_t> wide() const { return {s.rows, s.length, s.width}; }
};

std::vector<float> oracle(Problem& p, bool positions) {
  std::vector<float> y(p.dy.size(), NAN);
  Embedding op{{i32(p.tokens, p.places())}, {i32(p.starts, p.places())}, {f32(p.token_table, {p.s.vocabulary, p.s.width})}, {}, {f32(y, p.wide())}};
  if (positions) op.position_table = {f32(p.position_table, {p.s.length + 2, p.s.width})};
  Reference reference;
  run(reference, op);
  return y;
}

struct Gradients {
  std::vector<float> tokens, positions;
  explicit Gradients(Shape s) : tokens(normal(s.vocabulary * s.width, 4)), positions(normal((s.length + 2) * s.width, 5)) {}
};

Gradients oracle_gradients(Problem p) {
  Gradients g(p.s);
  Reference reference;
  run(reference, EmbeddingGradient{{f32(p.dy, p.wide())}, {i32(p.tokens, p.places())}, {i32(p.starts, p.places())}, {f32(g.tokens, {p.s.vocabulary, p.s.width})}, {f32(g.positions, {p.s.length + 2, p.s.width})}});
  return g;
}

Gradients plain_gradients(const Problem& p) {  // sums in f32, place after place
  Gradients g(p.s);
  for (int64_t place = 0; place < p.s.rows * p.s.length; ++place)
    for (int64_t i = 0; i < p.s.width; ++i) {
      const size_t at = static_cast<size_t>(place);
      g.tokens[static_cast<size_t>(p.tokens[at] * p.s.width + i)] += p.dy[static_cast<size_t>(place * p.s.width + i)];
      g.positions[static_cast<size_t>((place % p.s.length - p.starts[at]) * p.s.width + i)] += p.dy[static_cast<size_t>(place * p.s.width + i)];
    }
  return g;
}

Gradients kernel_gradients(Device& device, Problem p, Type type, bool positions = true) {
  Gradients g(p.s);
  Operand dy(type, p.wide(), p.dy);
  EmbeddingGradient op{{dy.tensor()}, {i32(p.tokens, p.places())}, {i32(p.starts, p.places())}, {f32(g.tokens, {p.s.vocabulary, p.s.width})}, {}};
  if (positions) op.dposition_table = {f32(g.positions, {p.s.length + 2, p.s.width})};
  run_op(device, op);
  return g;
}

std::string place(const std::string& name, Shape s, Type type) {
  return name + ", " + std::to_string(s.rows) + " x " + std::to_string(s.length) + " x " + std::to_string(s.width) + " of " + std::to_string(s.vocabulary) + " " + name_of(type);
}

}  // namespace

TEST(embedding_against_reference) {
  for (Type type : {Type::f32, Type::bf16})
    for (Shape s : kShapes)
      for (bool positions : {false, true}) {
        Problem p(s, type);
        const auto want = as_type(oracle(p, positions), type);
        on_devices([&](Device& device, const std::string& name, bool) {
          Operand tokens(type, {s.vocabulary, s.width}, p.token_table), table(type, {s.length + 2, s.width}, p.position_table), y(type, p.wide());
          Embedding op{{i32(p.tokens, p.places())}, {i32(p.starts, p.places())}, {tokens.tensor()}, {}, {y.tensor()}};
          if (positions) op.position_table = {table.tensor()};
          run_op(device, op);
          EXPECT(y.values() == want, place(name, s, type) + (positions ? ", positions" : ""));
        });
      }
}

TEST(embedding_gradient_against_reference) {
  for (Type type : {Type::f32, Type::bf16})
    for (Shape s : kShapes) {
      const Problem p(s, type);
      const Gradients want = oracle_gradients(p), loop = plain_gradients(p);
      on_devices([&](Device& device, const std::string& name, bool) {
        const Gradients got = kernel_gradients(device, p, type), without = kernel_gradients(device, p, type, false);
        const std::string at = place(name, s, type);
        EXPECT(within(error(got.tokens, want.tokens), error(loop.tokens, want.tokens)), "dtoken_table: " + at);
        EXPECT(within(error(got.positions, want.positions), error(loop.positions, want.positions)), "dposition_table: " + at);
        EXPECT(got.tokens == loop.tokens && got.positions == loop.positions, "sums in the order of places, so the same bits as the plain loop: " + at);
        EXPECT(without.tokens == loop.tokens && without.positions == Gradients(s).positions, "without positions: " + at);
        Gradients only(s);
        Operand dy(type, p.wide(), p.dy);
        Problem q = p;
        run_op(device, EmbeddingGradient{{dy.tensor()}, {i32(q.tokens, q.places())}, {i32(q.starts, q.places())}, {}, {f32(only.positions, {s.length + 2, s.width})}});
        EXPECT(only.positions == loop.positions, "positions alone, tokens frozen: " + at);
      });
    }
}

TEST(embedding_gradient_by_finite_differences) {
  Problem p({2, 6, 3, 4}, Type::f32);
  Gradients zero(p.s), got = oracle_gradients(p);
  for (size_t i = 0; i < got.tokens.size(); ++i) got.tokens[i] -= zero.tokens[i];
  for (size_t i = 0; i < got.positions.size(); ++i) got.positions[i] -= zero.positions[i];
  const auto loss = [&] { return dot(oracle(p, true), p.dy); };
  EXPECT(error(got.tokens, finite_differences(p.token_table, loss)) < 1e-4, "dtoken_table");
  EXPECT(error(got.positions, finite_differences(p.position_table, loss)) < 1e-4, "dposition_table");
}

TEST(embedding_outside_the_tables) {
  const Shape s{1, 6, 5, 3};
  Problem p(s, Type::f32);
  p.tokens = {0, -1, 3, 2147483647, 2, -2147483647 - 1};
  p.starts = {0, 0, -2147483647 - 1, 2147483647, 9, 0};
  const auto want = oracle(p, true);
  const Gradients want_gradients = oracle_gradients(p);
  on_devices([&](Device& device, const std::string& name, bool) {
    std::vector<float> y(want.size(), NAN);
    run_op(device, Embedding{{i32(p.tokens, p.places())}, {i32(p.starts, p.places())}, {f32(p.token_table, {3, 5})}, {f32(p.position_table, {8, 5})}, {f32(y, p.wide())}});
    EXPECT(y == want, "clamped: " + name);
    const Gradients got = kernel_gradients(device, p, Type::f32);
    EXPECT(got.tokens == want_gradients.tokens && got.positions == want_gradients.positions, "ignored in the gradient: " + name);
  });
}

TEST(embedding_gradient_of_a_row_is_one_sum) {  // places outside the tables stand between those of a row, whose number's digits are alike
  for (const int64_t vocabulary : {256, 65536}) {
    const Shape s{1, 12, 3, vocabulary};
    Problem p(s, Type::f32);
    for (size_t t = 0; t < 12; ++t) p.tokens[t] = t % 2 ? -1 : 0, p.starts[t] = 0;
    Problem inside = p;
    for (size_t i = 0; i < inside.dy.size(); ++i) inside.dy[i] *= inside.tokens[i / 3] < 0 ? 0.0f : 1.0f;
    for (int32_t& token : inside.tokens) token = 0;
    const Gradients want = plain_gradients(inside);
    on_devices([&](Device& device, const std::string& name, bool) {
      EXPECT(kernel_gradients(device, p, Type::f32, false).tokens == want.tokens, name + ", " + std::to_string(vocabulary));
    });
  }
}

TEST(embedding_nan_is_seen) {
  on_devices([&](Device& device, const std::string& name, bool) {
    for (Type type : {Type::f32, Type::bf16}) {
      Problem p({1, 5, 7, 3}, type);
      p.dy[7 * 2 + 6] = NAN;
      const Gradients got = kernel_gradients(device, p, type);
      EXPECT(std::isnan(got.tokens[static_cast<size_t>(p.tokens[2] * 7 + 6)]) && std::isnan(got.positions[static_cast<size_t>((2 - p.starts[2]) * 7 + 6)]), name);
    }
  });
}

TEST(embedding_refuses) {
  Problem p({1, 6, 5, 3}, Type::f32);
  std::vector<float> y(30);
  const Embedding good{{i32(p.tokens, {1, 6})}, {i32(p.starts, {1, 6})}, {f32(p.token_table, {3, 5})}, {f32(p.position_table, {8, 5})}, {f32(y, {1, 6, 5})}};
  good.check();
  Embedding bad = good;
  bad.starts = {i32(p.starts, {1, 5})};
  EXPECT(refuses(bad, "one shape"), "short starts");
  bad = good, bad.position_table = {f32(p.position_table, {5, 5})};
  EXPECT(refuses(bad, "fewer positions"), "a short position table");
  bad = good, bad.y = {f32(y, {1, 5, 5})};
  EXPECT(refuses(bad, "y must have"), "a short y");
  bad = good, bad.token_table.type = Type::i32;
  EXPECT(refuses(bad, "token_table must be f32 or bf16"), "an i32 table");
  EmbeddingGradient gradient{{f32(y, {1, 6, 5})}, {i32(p.tokens, {1, 6})}, {i32(p.starts, {1, 6})}, {f32(p.token_table, {3, 5})}, {}};
  gradient.check();
  gradient.dtoken_table = {f32(p.token_table, {5, 3})};
  EXPECT(refuses(gradient, "dtoken_table"), "a table of another width");
}
