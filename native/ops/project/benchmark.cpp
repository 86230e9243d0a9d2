// What a step does with a basis: project, its gradient, the norm, AdamW. They are bound by memory, so beside them stands what a plain loop over as much memory
// reaches in the same run, reading alone and reading and writing. Bytes are those of the basis and its moments, and of every group's matrix once.
#include "benchmark/benchmark.h"
#include "ops/kernels.h"

namespace nichelm::benchmark {
namespace {

struct Case { const char* what; int64_t h, groups, inputs, outputs; };
constexpr Case kCases[] = {{"nano mlp up", 32, 8, 128, 512}, {"mini mlp up", 32, 8, 256, 1024}, {"slm mlp up", 8, 4, 1024, 4096}};

struct Buffers {
  std::vector<float> basis, m, v, dweights, weights, experts, mix, dexperts, dmix, coefficients, squares{0}, clip{1}, schedule{1e-6f, 1, 1};
  std::vector<int32_t> ids;
  explicit Buffers(const Case& c)
      : basis(static_cast<size_t>(c.h * c.inputs * c.outputs), 0.5f), m(basis.size(), 0.01f), v(basis.size(), 0.01f), dweights(static_cast<size_t>(c.groups * c.inputs * c.outputs), 0.01f),
        weights(dweights.size()), experts(32 * 32, 0.1f), mix(static_cast<size_t>(32 * c.h), 0.1f), dexperts(experts.size()), dmix(mix.size()), coefficients(static_cast<size_t>(c.groups * c.h), 0.1f),
        ids(static_cast<size_t>(c.groups)) {
    for (size_t g = 0; g < ids.size(); ++g) ids[g] = static_cast<int32_t>(g * 5 % 32);
  }
};

Tensor f32(std::vector<float>& x, std::array<int64_t, 4> shape, uint8_t axes) { return {x.data(), Type::f32, axes, shape}; }

// Bytes a second of a plain loop over `x`: adding to every element, which reads and writes; or summing, which reads.
double plain_loop(Cpu& device, std::vector<float>& x, bool writes) {
  constexpr int64_t kBlock = 16384;
  const int64_t blocks = static_cast<int64_t>(x.size()) / kBlock;
  std::vector<float> sums(static_cast<size_t>(blocks));
  const double seconds = fastest([&] {
    device.split(blocks, [&](int64_t first, int64_t last) {
      for (int64_t b = first; b < last; ++b) {
        float* block = x.data() + b * kBlock;
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
  return static_cast<double>(blocks * kBlock) * (writes ? 8 : 4) / seconds;
}

std::vector<Result> projection(Cpu& device) {
  std::vector<Result> results;
  for (const Case& c : kCases) {
    Buffers b(c);
    const double matrix = static_cast<double>(c.inputs * c.outputs), all = static_cast<double>(c.h) * matrix, groups = static_cast<double>(c.groups) * matrix;
    const auto add = [&](const std::string& what, double seconds, double bytes, double flops) {
      Result r;
      r.benchmark = "projection", r.what = std::string(c.what) + ", " + what, r.type = name_of(Type::f32), r.seconds = seconds, r.bytes = bytes / seconds, r.flops = flops / seconds;
      r.shape = std::to_string(c.h) + " x " + std::to_string(c.inputs) + " x " + std::to_string(c.outputs) + ", " + std::to_string(c.groups) + " groups";
      results.push_back(r);
    };
    const Tensor stack = f32(b.dweights, {c.groups, c.inputs, c.outputs}, 3), t = f32(b.basis, {c.h, c.inputs, c.outputs}, 3), coefficients = f32(b.coefficients, {c.groups, c.h}, 2);
    const Tensor experts = f32(b.experts, {32, 32}, 2), mix = f32(b.mix, {32, c.h}, 2), ids{b.ids.data(), Type::i32, 1, {c.groups}};
    const Project project{{experts}, {mix}, {t}, {ids}, {coefficients}, {f32(b.weights, {c.groups, c.inputs, c.outputs}, 3)}, 1};
    const ProjectGradient gradient{{stack}, {experts}, {mix}, {t}, {ids}, {f32(b.dexperts, {32, 32}, 2)}, {f32(b.dmix, {32, c.h}, 2)}, 1e-9f};
    const BasisNorm norm{{stack}, {coefficients}, {f32(b.squares, {1}, 1)}};
    const BasisAdamw step{{stack}, {coefficients}, {f32(b.clip, {1}, 1)}, {f32(b.schedule, {3}, 1)}, {t}, {f32(b.m, {c.h, c.inputs, c.outputs}, 3)}, {f32(b.v, {c.h, c.inputs, c.outputs}, 3)}, 0.9f, 0.95f, 1e-8f, 0.1f};
    const double products = 2.0 * static_cast<double>(c.groups) * all;
    const double reading = plain_loop(device, b.basis, false), writing = plain_loop(device, b.basis, true);
    add("plain loop, reading", 4 * all / reading, 4 * all, 0);
    add("project", fastest([&] { run_op(device, project); }), 4 * (all + groups), products);
    add("project_gradient", fastest([&] { run_op(device, gradient); }), 4 * (all + groups), products);
    add("basis_norm", fastest([&] { run_op(device, norm); }), 4 * groups, static_cast<double>(c.groups + 1) * groups);
    add("plain loop, reading and writing", 8 * all / writing, 8 * all, 0);
    add("basis_adamw", fastest([&] { run_op(device, step); }), 24 * all + 4 * groups, products);
  }
  return results;
}

const Register registered("projection", projection);

}  // namespace
}  // namespace nichelm::benchmark
