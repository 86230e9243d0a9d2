// Results that are written past the caches: when, and that they are the same bits.
#include "ops/streaming.h"

#include <cstring>

#include "runtime/arena.h"
#include "test/devices.h"

using namespace nichelm;

namespace {

// Memory that begins at a line, as a program's tensors do, filled with normal deviates.
class Lined {
 public:
  Lined(Type type, std::vector<int64_t> shape, unsigned seed) : tensor_(test::tensor(nullptr, type, shape)), memory_(tensor_.bytes() + 4) {
    tensor_.data = memory_.data();
    const std::vector<float> values = test::normal(tensor_.size(), seed);
    if (type == Type::bf16) std::memcpy(tensor_.data, test::to_bf16(values).data(), static_cast<size_t>(tensor_.bytes()));
    else std::memcpy(tensor_.data, values.data(), static_cast<size_t>(tensor_.bytes()));
  }
  Tensor tensor() const { return tensor_; }
  std::string bits() const { return {static_cast<const char*>(tensor_.data), static_cast<size_t>(tensor_.bytes())}; }

 private:
  Tensor tensor_;
  Arena memory_;
};

bool streams(const Cpu& cpu, const Tensor& y, const Tensor& x) {
  bool streaming = false;
  with_store(cpu, y, [&](auto store) { streaming = store() == Store::streaming; }, x);
  return streaming;
}

}  // namespace

TEST(streaming_where_results_outgrow_caches) {
  Cpu cpu(1);
  const Lined x(Type::f32, {8, 32}, 1), y(Type::f32, {8, 32}, 2);
  EXPECT(!streams(cpu, y.tensor(), x.tensor()), "2 KiB");
  cpu.set_last_cache(2 * 8 * 32 * 4);
  EXPECT(!streams(cpu, y.tensor(), x.tensor()), "just as much as the cache");
  cpu.set_last_cache(2 * 8 * 32 * 4 - 1);
  EXPECT(streams(cpu, y.tensor(), x.tensor()), "a byte more than the cache");
  EXPECT(!streams(cpu, x.tensor(), x.tensor()), "in place");
  Tensor part = y.tensor();
  part.shape[1] = 24, part.shape[0] = 10;
  EXPECT(!streams(cpu, part, x.tensor()), "rows of one and a half lines");
  part.shape[1] = 32, part.shape[0] = 7;
  part.data = static_cast<float*>(part.data) + 4;
  EXPECT(!streams(cpu, part, x.tensor()), "not at the beginning of a line");
}

TEST(streaming_gives_the_same_bits) {
  constexpr int64_t kRows = 75;
  for (const Type type : {Type::f32, Type::bf16})
    for (const int64_t width : {32, 352, 1056}) {
      const auto table = [&](unsigned seed) { return Lined(type, {kRows, width}, seed); };
      const Lined x = table(1), dy = table(2), residual = table(3), gain(Type::f32, {width}, 4), bias(Type::f32, {width}, 5);
      test::on_cpus([&](Cpu& cpu, const std::string& name, bool) {
        std::string want[8];
        for (const bool streaming : {false, true}) {
          cpu.set_last_cache(streaming ? 0 : int64_t{1} << 40);
          const Lined y = table(6), mean(Type::f32, {kRows}, 7), scale(Type::f32, {kRows}, 8), dgain(Type::f32, {width}, 9), dbias(Type::f32, {width}, 10);
          int at = 0;
          const auto check = [&](const char* what, const auto& op) {
            std::memset(y.tensor().data, 0xff, static_cast<size_t>(y.tensor().bytes()));
            test::run_op(cpu, op);
            const std::string got = y.bits() + mean.bits() + scale.bits() + dgain.bits() + dbias.bits();
            if (streaming) EXPECT(got == want[at], std::string(what) + ", width " + std::to_string(width) + " " + name_of(type) + ", " + name);
            else want[at] = got;
            ++at;
          };
          const auto of = [](const Lined& t) { return t.tensor(); };
          check("layer norm", LayerNorm{{of(x)}, {of(gain)}, {of(bias)}, {of(y)}, {of(mean)}, {of(scale)}, 1e-5f});
          check("layer norm gradient", LayerNormGradient{{of(dy)}, {of(x)}, {of(gain)}, {of(mean)}, {of(scale)}, {of(residual)}, {of(y)}, {of(dgain)}, {of(dbias)}});
          check("layer norm gradient, frozen", LayerNormGradient{{of(dy)}, {of(x)}, {of(gain)}, {of(mean)}, {of(scale)}, {}, {of(y)}, {}, {}});
          check("RMS norm", RmsNorm{{of(x)}, {of(gain)}, {of(y)}, {of(scale)}, 1e-5f});
          check("RMS norm gradient", RmsNormGradient{{of(dy)}, {of(x)}, {of(gain)}, {of(scale)}, {of(residual)}, {of(y)}, {of(dgain)}});
          check("add", Add{{of(x)}, {of(dy)}, {of(y)}});
          check("GELU", Gelu{{of(x)}, {of(y)}});
          check("GELU gradient", GeluGradient{{of(dy)}, {of(x)}, {of(y)}});
        }
      });
    }
}
