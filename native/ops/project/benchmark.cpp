// What a step does with a basis: project, its gradient, the norm, AdamW, and AdamW with the next project in one pass. They are bound by memory, so beside them stands what a plain loop over more memory than
// any cache holds reaches in the same run, reading alone and reading and writing. Bytes are those of the basis and its moments, and of every group's matrix once.
#include "benchmark/benchmark.h"
#include "ops/kernels.h"
#include "runtime/arena.h"

namespace nichelm::benchmark {
namespace {

struct Case { const char* what; int64_t h, groups, inputs, outputs; };
constexpr Case kCases[] = {{"nano mlp up", 32, 8, 128, 512}, {"mini mlp up", 32, 8, 256, 1024}, {"slm mlp up", 8, 4, 1024, 4096}};

// Operands lie in an arena, as those of a program do: its large pages matter here.
class Operands {
 public:
  explicit Operands(int64_t floats) : arena_(4 * floats + 64 * 16) {}
  Tensor f32(std::array<int64_t, 4> shape, uint8_t axes, float value) {
    Tensor t{next(), Type::f32, axes, shape};
    used_ += (t.bytes() + 63) / 64 * 64;
    for (int64_t i = 0; i < t.size(); ++i) t.as<float>()[i] = value;
    return t;
  }
  Tensor ids(int64_t count, int64_t experts) {
    Tensor t = f32({count}, 1, 0);
    t.type = Type::i32;
    for (int64_t i = 0; i < count; ++i) t.as<int32_t>()[i] = static_cast<int32_t>(i * 5 % experts);
    return t;
  }

 private:
  void* next() { return arena_.data() + used_; }
  Arena arena_;
  int64_t used_ = 0;
};

constexpr int64_t kPlain = int64_t{48} << 20;  // elements

// Bytes a second of a plain loop over `x`: adding to every element, which reads and writes; or summing, which reads.
double plain_loop(Cpu& device, const Tensor& x, bool writes) {
  constexpr int64_t kBlock = 16384, kBlocks = kPlain / kBlock;
  std::vector<float> sums(kBlocks);
  const double seconds = fastest([&] {
    device.split(kBlocks, [&](int64_t first, int64_t last) {
      for (int64_t b = first; b < last; ++b) {
        float* block = x.as<float>() + b * kBlock;
        if (writes) {
          for (int64_t i = 0; i < kBlock; ++i) block[i] += 1e-9f;
        } else {
          float lanes[64] = {};
          for (int64_t i = 0; i < kBlock; i += 64)
            for (int64_t l = 0; l < 64; ++l) lanes[l] += block[i + l];
          for (const float lane : lanes) sums[static_cast<size_t>(b)] += lane;
        }
      }
    });
  });
  return kPlain * (writes ? 8 : 4) / seconds;
}

std::vector<Result> projection(Cpu& device) {
  std::vector<Result> results;
  Operands plain_operands(kPlain);
  const Tensor plain = plain_operands.f32({kPlain}, 1, 1);
  for (const Case& c : kCases) {
    constexpr int64_t kExperts = 32, kWidth = 32;
    Operands o((3 * c.h + 2 * c.groups) * c.inputs * c.outputs + 8192);
    const double matrix = static_cast<double>(c.inputs * c.outputs), all = static_cast<double>(c.h) * matrix, groups = static_cast<double>(c.groups) * matrix;
    const auto add = [&](const std::string& what, double seconds, double bytes, double flops) {
      Result r;
      r.benchmark = "projection", r.what = std::string(c.what) + ", " + what, r.type = name_of(Type::f32), r.seconds = seconds, r.bytes = bytes / seconds, r.flops = flops / seconds;
      r.shape = std::to_string(c.h) + " x " + std::to_string(c.inputs) + " x " + std::to_string(c.outputs) + ", " + std::to_string(c.groups) + " groups";
      results.push_back(r);
    };
    const Tensor t = o.f32({c.h, c.inputs, c.outputs}, 3, 0.5f), m = o.f32({c.h, c.inputs, c.outputs}, 3, 0.01f), v = o.f32({c.h, c.inputs, c.outputs}, 3, 0.01f);
    const Tensor stack = o.f32({c.groups, c.inputs, c.outputs}, 3, 0.01f), weights = o.f32({c.groups, c.inputs, c.outputs}, 3, 0), coefficients = o.f32({c.groups, c.h}, 2, 0.1f);
    const Tensor experts = o.f32({kExperts, kWidth}, 2, 0.1f), mix = o.f32({kWidth, c.h}, 2, 0.1f), dexperts = o.f32({kExperts, kWidth}, 2, 0), dmix = o.f32({kWidth, c.h}, 2, 0);
    const Tensor ids = o.ids(c.groups, kExperts), squares = o.f32({1}, 1, 0), clip = o.f32({1}, 1, 1), schedule = o.f32({3}, 1, 1e-6f);
    const Project project{{experts}, {mix}, {t}, {ids}, {coefficients}, {weights}, 1};
    const ProjectGradient gradient{{stack}, {experts}, {mix}, {t}, {ids}, {dexperts}, {dmix}, 1e-9f};
    const BasisNorm norm{{stack}, {coefficients}, {squares}};
    const BasisAdamw step{{stack}, {coefficients}, {clip}, {schedule}, {t}, {m}, {v}, 0.9f, 0.95f, 1e-8f, 0.1f};
    const double products = 2.0 * static_cast<double>(c.groups) * all;
    const double reading = plain_loop(device, plain, false), writing = plain_loop(device, plain, true);
    add("plain loop, reading", 4.0 * kPlain / reading, 4.0 * kPlain, 0);
    add("project", fastest([&] { run_op(device, project); }), 4 * (all + groups), products);
    add("project_gradient", fastest([&] { run_op(device, gradient); }), 4 * (all + groups), products);
    add("basis_norm", fastest([&] { run_op(device, norm); }), 4 * groups, static_cast<double>(c.groups + 1) * groups);
    add("plain loop, writing too", 8.0 * kPlain / writing, 8.0 * kPlain, 0);
    add("basis_adamw", fastest([&] { run_op(device, step); }), 24 * all + 4 * groups, products);
    const BasisStep both{{stack}, {clip}, {schedule}, {experts}, {mix}, {ids}, {coefficients}, {t}, {m}, {v}, {weights}, 0.9f, 0.95f, 1e-8f, 0.1f, 1};
    add("basis_step", fastest([&] { run_op(device, both); }), 24 * all + 8 * groups, 2 * products);
  }
  return results;
}

const Register registered("projection", projection);

}  // namespace
}  // namespace nichelm::benchmark
