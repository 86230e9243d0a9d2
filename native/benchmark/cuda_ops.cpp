// The ops of a training step on a GPU. FLOPs and bytes are those that must be: what a kernel computes or reads twice counts for nothing.
#include <array>

#include "benchmark/cuda_serving.h"
#include "cuda/peak.h"

namespace nichelm::benchmark {
namespace {

struct Sizes { int64_t rows, length, width, hidden, vocabulary, parameters; };
Sizes sizes_of(const CudaSettings& settings) { return settings.small ? Sizes{2, 64, 64, 128, 256, 4096} : Sizes{32, 1024, 1024, 4096, 32768, 126'000'000}; }

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t n : shape) text += (text.empty() ? "" : " x ") + std::to_string(n);
  return text;
}

struct Measured { std::string benchmark, what, shape; Type type; double flops, bytes; };

// Runs the program with all its operands random but those that `fill` overwrites.
template <class Fill> Result run_case(CudaDevice& device, const CudaSettings& settings, const Measured& m, const CudaText& text, const std::vector<std::string>& random, const Fill& fill) {
  CudaMemory memory(device, text.bytes());
  for (const std::string& operand : random) memory.fill(operand, 0.1f);
  fill(memory);
  CudaProgram program(text.text(), device, memory.data, memory.bytes);
  Result r;
  r.benchmark = m.benchmark, r.what = m.what, r.shape = m.shape, r.type = name_of(m.type), r.seconds = measure(device, program, settings.small);
  r.flops = m.flops / r.seconds, r.bytes = m.bytes / r.seconds, r.peak = m.flops > 0 ? stated_peak(device.describe(), m.type) : 0, r.bandwidth = m.bytes > 0 ? stated_bandwidth(device.describe()) : 0;
  return r;
}
const auto nothing = [](CudaMemory&) {};

struct Product { const char* what; int64_t m, n, k; bool a_across, b_across, accumulate; const char* epilogue; };

void matmul(CudaDevice& device, const CudaSettings& settings) {
  const Sizes s = sizes_of(settings);
  const int64_t tokens = s.rows * s.length, square = settings.small ? 128 : 4096;
  std::vector<Product> products{{"square", square, square, square, false, false, false, ""},
                                {"square", 2 * square, 2 * square, 2 * square, false, false, false, ""},
                                {"qkv", tokens, 3 * s.width, s.width, false, false, false, "bias"},
                                {"mlp up, gelu", tokens, s.hidden, s.width, false, false, false, "gelu"},
                                {"mlp down, residual", tokens, s.width, s.hidden, false, false, false, "residual"},
                                {"mlp up, input gradient", tokens, s.width, s.hidden, false, true, false, ""},
                                {"mlp up, weight gradient", s.width, s.hidden, tokens, true, false, true, ""},
                                {"out, weight gradient", s.width, s.width, tokens, true, false, true, ""},
                                {"logits of a chunk", settings.small ? 64 : 4096, s.vocabulary, s.width, false, true, false, ""}};
  for (const Product& p : products) {
    CudaText text;
    const std::string epilogue = p.epilogue, a = text.place(Type::bf16, p.a_across ? std::vector{p.k, p.m} : std::vector{p.m, p.k}), b = text.place(Type::bf16, p.b_across ? std::vector{p.n, p.k} : std::vector{p.k, p.n});
    const std::string c = text.place(p.accumulate ? Type::f32 : Type::bf16, {p.m, p.n}), across = std::string(" transpose_a=") + (p.a_across ? "1" : "0") + " transpose_b=" + (p.b_across ? "1" : "0");
    std::vector<std::string> random{a, b};
    if (p.accumulate) {
      text.call("matmul_accumulate a=" + a + " b=" + b + " c=" + c + across);
    } else {
      const bool gelu = epilogue == "gelu", biased = gelu || epilogue == "bias" || epilogue == "residual";
      const std::string bias = biased ? text.place(Type::f32, {p.n}) : "-", pre = gelu ? text.place(Type::bf16, {p.m, p.n}) : "-", residual = epilogue == "residual" ? text.place(Type::bf16, {p.m, p.n}) : "-";
      text.call("matmul a=" + a + " b=" + b + " bias=" + bias + " gelu_of=- residual=" + residual + " c=" + c + " pre=" + pre + across + " gelu=" + (gelu ? "1" : "0"));
      if (biased) random.push_back(bias);
      if (residual != "-") random.push_back(residual);
    }
    settings.found(run_case(device, settings, {"matmul", p.what, shape_text({p.m, p.n, p.k}), Type::bf16, 2.0 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k), 0}, text, random, nothing));
  }
}

struct AttentionShape { const char* what; int64_t rows, length, heads, kv_heads, d, document; };

void attention(CudaDevice& device, const CudaSettings& settings) {
  const std::vector<AttentionShape> shapes = settings.small ? std::vector<AttentionShape>{{"slm", 1, 64, 2, 2, 64, 0}, {"slm, documents of 16", 1, 64, 2, 1, 64, 16}}
                                                            : std::vector<AttentionShape>{{"slm", 32, 1024, 8, 8, 128, 0},
                                                                                          {"slm, documents of 256", 32, 1024, 8, 8, 128, 256},
                                                                                          {"slm, 2 key heads", 32, 1024, 8, 2, 128, 0},
                                                                                          {"gpt2", 32, 1024, 12, 12, 64, 0},
                                                                                          {"long", 2, 16384, 16, 16, 128, 0},
                                                                                          {"long", 2, 16384, 16, 16, 64, 0}};
  for (const auto& [what, rows, length, heads, kv_heads, d, document] : shapes) {
    const int64_t width = (heads + 2 * kv_heads) * d;
    double visible = 0;
    std::vector<int32_t> starts;
    for (int64_t i = 0; i < rows * length; ++i) {
      const int64_t t = i % length, start = document ? t / document * document : 0;
      starts.push_back(static_cast<int32_t>(start)), visible += static_cast<double>((t - start + 1) * heads);
    }
    for (const bool backward : {false, true}) {
      CudaText text;
      const std::string qkv = text.place(Type::bf16, {rows, length, width}), at = text.place(Type::i32, {rows, length}), y = text.place(Type::bf16, {rows, length, heads * d}),
                        lse = text.place(Type::f32, {rows, heads, length}), of = " heads=" + std::to_string(heads) + " kv_heads=" + std::to_string(kv_heads);
      const std::string forward = "attention qkv=" + qkv + " starts=" + at + " y=" + y + " lse=" + lse + of;
      std::vector<std::string> random{qkv};
      const auto write_starts = [&, at = at](CudaMemory& memory) { memory.write(parse_cuda_operand(at).offset, starts); };
      if (backward) {
        const std::string dy = text.place(Type::bf16, {rows, length, heads * d}), dqkv = text.place(Type::bf16, {rows, length, width});
        random.push_back(dy);
        text.call("attention_gradient dy=" + dy + " qkv=" + qkv + " starts=" + at + " y=" + y + " lse=" + lse + " dqkv=" + dqkv + of);
        const auto fill = [&](CudaMemory& memory) {  // y and lse of a forward pass
          write_starts(memory);
          CudaProgram("nichelm-program 1\n" + forward + "\n", device, memory.data, memory.bytes).run();
          device.synchronize();
        };
        settings.found(run_case(device, settings, {"attention", std::string(what) + ", backward", shape_text({rows, length, heads, d}), Type::bf16, 10 * visible * static_cast<double>(d), 0}, text, random, fill));
      } else {
        text.call(forward);
        settings.found(run_case(device, settings, {"attention", std::string(what) + ", forward", shape_text({rows, length, heads, d}), Type::bf16, 4 * visible * static_cast<double>(d), 0}, text, random, write_starts));
      }
    }
  }
}

void loss(CudaDevice& device, const CudaSettings& settings) {
  const Sizes s = sizes_of(settings);
  const int64_t tokens = s.rows * s.length, k = settings.small ? 8 : 64;
  for (const bool distils : {false, true}) {
    CudaText text;
    const std::string x = text.place(Type::bf16, {tokens, s.width}), weight = text.place(Type::bf16, {s.vocabulary, s.width}), targets = text.place(Type::i32, {tokens}), weights = text.place(Type::f32, {tokens}),
                      ids = text.place(Type::i32, {tokens, k}), probabilities = text.place(Type::f32, {tokens, k}), nll = text.place(Type::f32, {tokens}), sum = text.place(Type::f32, {1}),
                      dx = text.place(Type::bf16, {tokens, s.width}), dweight = text.place(Type::f32, {s.vocabulary, s.width});
    const std::string given = " x=" + x + " weight=" + weight + " targets=" + targets + " token_weights=" + weights, out = " nll=" + nll + " loss=" + sum + " dx=" + dx + " dweight=" + dweight;
    text.call(distils ? "linear_distillation_gradient" + given + " teacher=- ids=" + ids + " probabilities=" + probabilities + out + " alpha=0.5 temperature=2" : "linear_cross_entropy_gradient" + given + out);
    const auto fill = [&](CudaMemory& memory) {
      memory.fill_integers(targets, s.vocabulary);
      memory.fill_with(weights, 1.0f / static_cast<float>(tokens));
      memory.fill_with(probabilities, 0.9f / static_cast<float>(k));
      std::vector<int32_t> known(static_cast<size_t>(tokens * k));
      for (size_t i = 0; i < known.size(); ++i) known[i] = static_cast<int32_t>(static_cast<int64_t>(i) % k * (s.vocabulary / k));
      memory.write(parse_cuda_operand(ids).offset, known);
    };
    settings.found(run_case(device, settings, {"loss", distils ? "distillation, known tokens" : "cross-entropy and gradient", shape_text({tokens, s.vocabulary, s.width}), Type::bf16,
                                               6.0 * static_cast<double>(tokens * s.width) * static_cast<double>(s.vocabulary), 0}, text, {x, weight}, fill));
  }
  CudaText text;
  const int64_t some = settings.small ? 16 : 4096;
  const std::string logits = text.place(Type::f32, {some, s.vocabulary});
  text.call("most_probable logits=" + logits + " ids=" + text.place(Type::i32, {some, k}) + " probabilities=" + text.place(Type::f32, {some, k}) + " rest=" + text.place(Type::f32, {some}) + " lost=" +
            text.place(Type::f32, {some}) + " temperature=1");
  settings.found(run_case(device, settings, {"loss", "most probable " + std::to_string(k), shape_text({some, s.vocabulary}), Type::f32, 0, 4.0 * static_cast<double>(some * s.vocabulary)}, text, {logits}, nothing));
}

void memory_bound(CudaDevice& device, const CudaSettings& settings) {
  const Sizes s = sizes_of(settings);
  const int64_t tokens = s.rows * s.length, n = s.parameters;
  const double size = static_cast<double>(tokens * s.width), all = static_cast<double>(n);
  const auto add = [&](const char* what, const std::string& shape, Type type, double bytes, const CudaText& text, const std::vector<std::string>& random, const auto& fill) {
    settings.found(run_case(device, settings, {"memory", what, shape, type, 0, bytes}, text, random, fill));
  };
  {
    CudaText text;
    const std::string x = text.place(Type::f32, {n}), y = text.place(Type::f32, {n});
    text.call("scale x=" + x + " y=" + y + " factor=2");
    add("copy (scale)", std::to_string(n), Type::f32, 8 * all, text, {x}, nothing);
  }
  {
    CudaText text;
    std::array<std::string, 4> run;
    for (std::string& operand : run) operand = text.place(Type::f32, {n});
    const std::string clip = text.place(Type::f32, {1}), schedule = text.place(Type::f32, {3}), copy = text.place(Type::bf16, {n});
    text.call("adamw gradient=" + run[0] + " clip=" + clip + " schedule=" + schedule + " p=" + run[1] + " m=" + run[2] + " v=" + run[3] + " copy=" + copy + " beta1=0.9 beta2=0.95 epsilon=1e-08 weight_decay=0.1");
    add("AdamW with bf16 copy", std::to_string(n), Type::f32, 30 * all, text, {run[0], run[1]}, [&](CudaMemory& memory) { memory.fill_with(clip, 1), memory.fill_with(schedule, 1e-4f); });
  }
  {
    CudaText text;
    const std::string gradient = text.place(Type::f32, {n});
    text.call("global_norm gradient=" + gradient + " squares=- norm=" + text.place(Type::f32, {1}) + " clip=" + text.place(Type::f32, {1}) + " limit=1");
    add("global norm", std::to_string(n), Type::f32, 4 * all, text, {gradient}, nothing);
  }
  for (const int64_t groups : {int64_t{8}, int64_t{16}, int64_t{32}}) {
    const int64_t h = settings.small ? 4 : 32;
    const double matrix = static_cast<double>(s.width * s.hidden), basis_size = static_cast<double>(h) * matrix, of_groups = static_cast<double>(groups) * matrix;
    CudaText project, optimizer, both, gradient;
    const std::string shape = std::to_string(h) + " x " + shape_text({s.width, s.hidden}) + ", " + std::to_string(groups) + " groups";
    {
      const std::string experts = project.place(Type::f32, {h, h}), mix = project.place(Type::f32, {h, h}), basis = project.place(Type::f32, {h, s.width, s.hidden});
      project.call("project experts=" + experts + " mix=" + mix + " basis=" + basis + " ids=" + project.place(Type::i32, {groups}) + " coefficients=" + project.place(Type::f32, {groups, h}) + " weights=" +
                   project.place(Type::bf16, {groups, s.width, s.hidden}) + " scale=0.1");
      add("project", shape, Type::f32, 4 * basis_size + 2 * of_groups, project, {experts, mix, basis}, nothing);
    }
    {
      const std::string dweights = gradient.place(Type::f32, {groups, s.width, s.hidden}), experts = gradient.place(Type::f32, {h, h}), mix = gradient.place(Type::f32, {h, h}), basis = gradient.place(Type::f32, {h, s.width, s.hidden});
      gradient.call("project_gradient dweights=" + dweights + " experts=" + experts + " mix=" + mix + " basis=" + basis + " ids=" + gradient.place(Type::i32, {groups}) + " dexperts=" + gradient.place(Type::f32, {h, h}) +
                    " dmix=" + gradient.place(Type::f32, {h, h}) + " scale=0.1");
      add("project gradient", shape, Type::f32, 4 * (basis_size + of_groups), gradient, {dweights, experts, mix, basis}, nothing);
    }
    {
      const std::string dweights = optimizer.place(Type::f32, {groups, s.width, s.hidden}), coefficients = optimizer.place(Type::f32, {groups, h}), clip = optimizer.place(Type::f32, {1}), schedule = optimizer.place(Type::f32, {3}),
                        basis = optimizer.place(Type::f32, {h, s.width, s.hidden}), m = optimizer.place(Type::f32, {h, s.width, s.hidden}), v = optimizer.place(Type::f32, {h, s.width, s.hidden});
      optimizer.call("basis_adamw dweights=" + dweights + " coefficients=" + coefficients + " clip=" + clip + " schedule=" + schedule + " basis=" + basis + " m=" + m + " v=" + v +
                     " beta1=0.9 beta2=0.95 epsilon=1e-08 weight_decay=0.1");
      add("basis AdamW", shape, Type::f32, 24 * basis_size + 4 * of_groups, optimizer, {dweights, coefficients, basis}, [&](CudaMemory& memory) { memory.fill_with(clip, 1), memory.fill_with(schedule, 1e-4f); });
    }
    {
      const std::string dweights = both.place(Type::f32, {groups, s.width, s.hidden}), coefficients = both.place(Type::f32, {groups, h}), clip = both.place(Type::f32, {1}), schedule = both.place(Type::f32, {3}),
                        basis = both.place(Type::f32, {h, s.width, s.hidden}), m = both.place(Type::f32, {h, s.width, s.hidden}), v = both.place(Type::f32, {h, s.width, s.hidden}),
                        experts = both.place(Type::f32, {h, h}), mix = both.place(Type::f32, {h, h});
      both.call("basis_step dweights=" + dweights + " clip=" + clip + " schedule=" + schedule + " experts=" + experts + " mix=" + mix + " ids=" + both.place(Type::i32, {groups}) + " coefficients=" + coefficients +
                " basis=" + basis + " m=" + m + " v=" + v + " weights=" + both.place(Type::bf16, {groups, s.width, s.hidden}) + " beta1=0.9 beta2=0.95 epsilon=1e-08 weight_decay=0.1 scale=0.1");
      add("basis AdamW and project", shape, Type::f32, 24 * basis_size + 6 * of_groups, both, {dweights, coefficients, basis, experts, mix},
          [&](CudaMemory& memory) { memory.fill_with(clip, 1), memory.fill_with(schedule, 1e-4f); });
    }
  }
  {
    CudaText text;
    const std::string dy = text.place(Type::bf16, {s.rows, s.length, s.width}), ids = text.place(Type::i32, {s.rows, s.length}), starts = text.place(Type::i32, {s.rows, s.length}),
                      tokens_table = text.place(Type::f32, {s.vocabulary, s.width}), positions = text.place(Type::f32, {s.length, s.width});
    text.call("embedding_gradient dy=" + dy + " tokens=" + ids + " starts=" + starts + " dtoken_table=" + tokens_table + " dposition_table=" + positions);
    add("embedding gradient", shape_text({tokens, s.width}), Type::bf16, 10 * size, text, {dy}, [&](CudaMemory& memory) { memory.fill_integers(ids, s.vocabulary); });  // rows added to are read and written
  }
  {
    CudaText forward, backward;
    const std::string x = forward.place(Type::bf16, {tokens, s.width}), gain = forward.place(Type::f32, {s.width}), bias = forward.place(Type::f32, {s.width});
    forward.call("layer_norm x=" + x + " gain=" + gain + " bias=" + bias + " y=" + forward.place(Type::bf16, {tokens, s.width}) + " mean=" + forward.place(Type::f32, {tokens}) + " scale=" +
                 forward.place(Type::f32, {tokens}) + " epsilon=1e-05");
    add("layer norm", shape_text({tokens, s.width}), Type::bf16, 4 * size, forward, {x, gain, bias}, nothing);
    const std::string dy = backward.place(Type::bf16, {tokens, s.width}), x_there = backward.place(Type::bf16, {tokens, s.width}), g = backward.place(Type::f32, {s.width}), mean = backward.place(Type::f32, {tokens}),
                      scale = backward.place(Type::f32, {tokens}), residual = backward.place(Type::bf16, {tokens, s.width});
    backward.call("layer_norm_gradient dy=" + dy + " x=" + x_there + " gain=" + g + " mean=" + mean + " scale=" + scale + " residual=" + residual + " dx=" + backward.place(Type::bf16, {tokens, s.width}) +
                  " dgain=" + backward.place(Type::f32, {s.width}) + " dbias=" + backward.place(Type::f32, {s.width}));
    add("layer norm gradient", shape_text({tokens, s.width}), Type::bf16, 8 * size, backward, {dy, x_there, g, residual}, [&](CudaMemory& memory) { memory.fill_with(scale, 1); });
  }
}

}  // namespace

const std::vector<CudaEntry>& cuda_entries() {
  static const std::vector<CudaEntry> all{{"matmul", matmul}, {"attention", attention}, {"loss", loss}, {"memory", memory_bound}, {"kmeans", cuda_kmeans}, {"inference", cuda_inference}, {"steps", cuda_steps}};
  return all;
}

}  // namespace nichelm::benchmark
