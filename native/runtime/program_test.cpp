// Arena and program reader: what cannot be is refused by line and field; operands without elements run.
#include <cstring>
#include <string>

#include "runtime/program.h"
#include "test/test.h"

using namespace nichelm;

namespace {

template <class Act> std::string message_of(const Act& act) {
  try {
    act();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
std::string refusal(const std::string& lines) {
  const Arena arena(4096);
  return message_of([&] { Program("nichelm-program 1\n" + lines, arena, Isa::portable); });
}

}  // namespace

TEST(arena_holds_to_its_bounds) {
  Arena arena(100);
  char bytes[100] = {};
  bytes[99] = 7;
  arena.write(0, bytes, 100);
  char back = 0;
  arena.read(99, &back, 1);
  EXPECT(back == 7, "what was written is read");
  for (const auto& [offset, count] : {std::pair<int64_t, int64_t>{-1, 1}, {100, 1}, {1, 100}, {INT64_MAX, 1}, {0, INT64_MAX}, {INT64_MIN, 1}, {0, -1}})
    EXPECT(has(message_of([&, o = offset, c = count] { arena.read(o, bytes, c); }), "inside the arena of 100"), "outside: " + std::to_string(offset) + ", " + std::to_string(count));
  EXPECT(has(message_of([] { Arena(0); }), "positive"), "no bytes");
  if (available_memory() >= 0) {
    const std::string told = message_of([] { Arena(int64_t{1} << 52); });
    EXPECT(has(told, "4294967296 MiB are needed") && has(told, "are available"), "too large: " + told);
  }
}

TEST(program_names_line_and_field) {
  const struct { const char *lines, *told; } cases[] = {
      {"nonsense a=1", "line 2, nonsense: there is no such op"},
      {"\n\nfill y=0:f32:4", "line 4, fill: 'value' is missing"},
      {"fill y=0:f32:4 value=1 value=1", "'value' is given twice"},
      {"fill y=0:f32:4 value=1 other=1", "more fields"},
      {"fill y=0:f32:4 value=x", "value: attribute 'x' is not a number"},
      {"fill y=- value=1", "y: the operand is not optional"},
      {"fill y=0 value=1", "is not OFFSET:TYPE:SHAPE"},
      {"fill y=0:f64:4 value=1", "unknown type 'f64'"},
      {"fill y=0:i32:4 value=1", "fill: y must be f32 or bf16"},
      {"fill y=4:f32:4 value=1", "not a multiple of 64"},
      {"fill y=-64:f32:4 value=1", "not a multiple of 64"},
      {"fill y=0:f32:-1 value=1", "axis out of range"},
      {"fill y=0:f32:9000000000000000000 value=1", "axis out of range"},
      {"fill y=0:f32:99999999999999999999 value=1", "is not a number"},
      {"fill y=0:f32:1099511627776,1099511627776 value=1", "tensor too large"},
      {"fill y=0:f32:0,1099511627776,1099511627776 value=1", "tensor too large"},
      {"fill y=0:f32:0,1099511627776 value=1", "outside the arena"},
      {"fill y=0:f32:1,1,1,1,1 value=1", "more than 4 axes"},
      {"fill y=4032:f32:17 value=1", "outside the arena of 4096"},
      {"attention qkv=0:f32:2,6 starts=64:i32:1,2 y=128:f32:2,2 lse=192:f32:2 heads=9000000000000000000 kv_heads=4500000000000000000", "heads"},
      {"rotary x=0:f32:2,6 starts=64:i32:1,2 y=128:f32:2,6 heads=9000000000000000000 kv_heads=4500000000000000000 theta=1 inverse=0", "head"},
      {"cast x=0:f32:32 y=64:bf16:32", "x and y overlap"},
  };
  for (const auto& c : cases) EXPECT(has(refusal(c.lines), c.told), std::string(c.lines) + ": '" + refusal(c.lines) + "'");
  const Arena arena(4096);
  EXPECT(has(message_of([&] { Program("fill y=0:f32:4 value=1", arena, Isa::portable); }), "first line"), "no first line");
}

TEST(matmul_refuses_a_product_that_overflows) {
  Matmul op{};
  char nowhere[64];
  op.a = In{{nowhere, Type::f32, 2, {int64_t{1} << 40, 0}}};
  op.b = In{{nowhere, Type::f32, 2, {0, int64_t{1} << 40}}};
  op.c = Out{{nowhere, Type::f32, 2, {0, int64_t{1} << 40}}};
  EXPECT(has(message_of([&] { op.check(); }), "c must hold a row"), "2^80 elements are not 0");
}

TEST(program_runs_operands_without_elements) {
  const char* lines[] = {
      "fill y=0:f32:0 value=1",
      "add a=0:f32:0,8 b=0:f32:0,8 y=64:f32:0,8",
      "column_sum x=0:f32:0,8 sum=64:f32:8",
      "swiglu x=0:bf16:0,8 y=64:bf16:0,4",
      "rms_norm x=0:f32:0,8 gain=64:f32:8 y=128:f32:0,8 scale=192:f32:0 epsilon=1e-5",
      "layer_norm x=0:bf16:0,8 gain=64:f32:8 bias=64:f32:8 y=128:bf16:0,8 mean=192:f32:0 scale=192:f32:0 epsilon=1e-5",
      "matmul a=0:f32:0,8 b=64:f32:8,2 bias=- gelu_of=- residual=- c=128:f32:0,2 pre=- transpose_a=0 transpose_b=0 gelu=0",
      "matmul a=0:bf16:4,0 b=64:bf16:0,2 bias=- gelu_of=- residual=- c=128:f32:4,2 pre=- transpose_a=0 transpose_b=0 gelu=0",
      "attention qkv=0:f32:0,6 starts=64:i32:0,2 y=128:f32:0,2 lse=192:f32:0 heads=1 kv_heads=1",
      "rotary x=0:f32:0,6 starts=64:i32:2,0 y=128:f32:0,6 heads=1 kv_heads=1 theta=10000 inverse=0",
      "embedding tokens=0:i32:0,2 starts=0:i32:0,2 token_table=64:f32:2,2 position_table=- y=128:f32:0,2",
      "embedding_gradient dy=0:f32:0,2 tokens=64:i32:2,0 starts=64:i32:2,0 dtoken_table=128:f32:2,2 dposition_table=-",
      "linear_cross_entropy x=0:f32:0,4 weight=64:f32:3,4 targets=128:i32:0 token_weights=128:f32:0 nll=192:f32:0 loss=256:f32:1",
      "matmul a=0:f32:0,8 b=64:f32:2,8,2 bias=- gelu_of=- residual=- c=192:f32:0,2 pre=- transpose_a=0 transpose_b=0 gelu=0",
      "matmul_accumulate a=0:f32:0,8 b=64:f32:0,2 c=128:f32:2,8,2 transpose_a=1 transpose_b=0",
      "project experts=0:f32:1,2 mix=64:f32:2,3 basis=128:f32:3,0,4 ids=192:i32:2 coefficients=256:f32:2,3 weights=320:bf16:2,0,4 scale=1",
      "project_gradient dweights=0:f32:2,0,4 experts=64:f32:1,2 mix=128:f32:2,3 basis=192:f32:3,0,4 ids=256:i32:2 dexperts=320:f32:1,2 dmix=384:f32:2,3 scale=1",
      "basis_norm dweights=0:f32:2,0,4 coefficients=64:f32:2,3 squares=128:f32:1",
      "global_norm gradient=0:f32:0 squares=- norm=64:f32:1 clip=128:f32:1 limit=1",
  };
  for (const int isa : test::isas())
    for (const int threads : {1, 3}) {
      Cpu cpu(threads, static_cast<Isa>(isa));
      for (const char* line : lines) {
        const Arena arena(4096);
        const std::string told = message_of([&] { Program("nichelm-program 1\n" + std::string(line), arena, cpu.isa()).run(cpu); });
        EXPECT(told.empty(), std::string(line) + ": " + told);
      }
    }
}
