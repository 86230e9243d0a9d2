// What a GPU does besides training: k-means over many windows, and the ops that continuing texts spends its time in.
#include "benchmark/cuda_serving.h"

#include <algorithm>
#include <memory>

#include "cluster/cuda_ops.h"
#include "cuda/peak.h"

namespace nichelm::benchmark {
namespace {

// Seconds of an op that is no op of programs: recorded, the median of several measurements.
template <class Op> double seconds_of(CudaDevice& device, const char* name, const Op& op, bool small) {
  device.run(name, &op);
  const std::unique_ptr<CudaGraph> graph = device.record([&] { device.run(name, &op); });
  if (small) return graph->seconds(1);
  const int times = static_cast<int>(std::clamp(0.05 / std::max(graph->seconds(2), 1e-7), 1.0, 1000.0));
  double all[5];
  for (double& one : all) one = graph->seconds(times);
  std::sort(all, all + 5);
  return all[2];
}

// Of what takes a few microseconds a graph holds many calls, so that it is not the launch that is measured; and as in a model, whose layers have weights of their
// own, each call finds other operands, together more than a second-level cache holds. What is tiny stays in it there too.
constexpr int kTimes = 20, kMostCopies = 64;
constexpr int64_t kNotCached = 256'000'000;

Result result_of(CudaDevice& device, const char* benchmark, const std::string& what, const std::string& shape, Type type, double seconds, double flops, double bytes) {
  Result r;
  r.benchmark = benchmark, r.what = what, r.shape = shape, r.type = name_of(type), r.seconds = seconds;
  r.flops = flops / seconds, r.bytes = bytes / seconds, r.peak = flops > 0 ? stated_peak(device.describe(), type) : 0, r.bandwidth = bytes > 0 ? stated_bandwidth(device.describe()) : 0;
  return r;
}

}  // namespace

void cuda_kmeans(CudaDevice& device, const CudaSettings& settings) {
  struct Shape { int64_t rows, width, clusters; };
  const std::vector<Shape> shapes = settings.small ? std::vector<Shape>{{200, 16, 8}} : std::vector<Shape>{{1 << 20, 384, 64}, {1 << 20, 384, 1024}, {1 << 18, 768, 16384}};
  for (const auto& [rows, width, clusters] : shapes) {
    CudaText text;
    const auto x = parse_cuda_operand(text.place(Type::f32, {rows, width})), centroids = parse_cuda_operand(text.place(Type::f32, {clusters, width})), labels = parse_cuda_operand(text.place(Type::i32, {rows})),
               distances = parse_cuda_operand(text.place(Type::f32, {rows}));
    CudaMemory memory(device, text.bytes());
    memory.fill("0:f32:" + std::to_string(rows) + "," + std::to_string(width), 1);
    memory.fill(std::to_string(centroids.offset) + ":f32:" + std::to_string(clusters) + "," + std::to_string(width), 1);
    const auto at = [&](const CudaOperand& operand) -> void* { return memory.data + operand.offset; };
    const Tensor of_x{at(x), Type::f32, 2, {rows, width}}, of_centroids{at(centroids), Type::f32, 2, {clusters, width}}, of_labels{at(labels), Type::i32, 1, {rows}}, of_distances{at(distances), Type::f32, 1, {rows}};
    const std::string shape = std::to_string(rows) + " x " + std::to_string(width) + ", " + std::to_string(clusters) + " clusters";
    const double elements = static_cast<double>(rows * width);
    settings.found(result_of(device, "kmeans", "assign", shape, Type::f32, seconds_of(device, "kmeans_assign", KmeansAssign{{of_x}, {of_centroids}, {of_labels}, {of_distances}}, settings.small),
                             2 * elements * static_cast<double>(clusters), 0));
    settings.found(result_of(device, "kmeans", "update", shape, Type::f32, seconds_of(device, "kmeans_update", KmeansUpdate{{of_x}, {of_labels}, {of_centroids}}, settings.small), 0, 4 * elements));
  }
}

void cuda_inference(CudaDevice& device, const CudaSettings& settings) {
  const int64_t width = settings.small ? 32 : 1024, hidden = 4 * width, heads = settings.small ? 2 : 8, vocabulary = settings.small ? 300 : 32768, capacity = settings.small ? 40 : 1024, cached = capacity / 2;
  const auto run = [&](const std::string& what, const std::string& shape, Type type, double flops, double bytes, const CudaText& text, const std::vector<std::string>& random, const auto& fill) {
    const int copies = settings.small ? 2 : static_cast<int>(std::clamp(kNotCached / text.bytes() + 1, int64_t{1}, int64_t{kMostCopies})), times = settings.small ? 2 : std::max(kTimes, copies);
    CudaMemory memory(device, copies * text.bytes());
    for (int i = 0; i < copies; ++i) {
      memory.begin = i * text.bytes();
      for (const std::string& operand : random) memory.fill(operand, 0.1f);
      fill(memory);
    }
    CudaProgram program(text.repeated(times, copies), device, memory.data, memory.bytes);
    Result r = result_of(device, "inference", what, shape, type, measure(device, program, settings.small) / times, flops, bytes);
    if (memory.bytes <= kNotCached) r.bandwidth = 0;  // no share of the memory's where a cache may hold it all
    settings.found(r);
  };
  const auto integers = [](CudaMemory& memory, const std::string& operand, const auto& value) {
    const CudaOperand o = parse_cuda_operand(operand);
    std::vector<int32_t> all;
    for (int64_t i = 0; i < o.size; ++i) all.push_back(static_cast<int32_t>(value(i)));
    memory.write(o.offset, all);
  };
  struct Part { int64_t rows, length; const char* what; };
  for (const auto& [rows, length, what] : {Part{1, 1, "a token of 1 text"}, Part{64, 1, "a token of 64 texts"}, Part{1, settings.small ? 16 : 256, "a piece of a prompt"}}) {
    const int64_t tokens = rows * length;
    const std::string name = what, texts = std::to_string(rows) + " x " + std::to_string(length);
    {
      CudaText text;
      const std::string qkv = text.place(Type::bf16, {rows, length, 3 * width}), slots = text.place(Type::i32, {rows}), before = text.place(Type::i32, {rows}), y = text.place(Type::bf16, {rows, length, width});
      const std::string keys = text.place(Type::bf16, {rows, heads, capacity, width / heads}), values = text.place(Type::bf16, {rows, heads, capacity, width / heads});
      text.call("cached_attention qkv=" + qkv + " slots=" + slots + " cached=" + before + " keys=" + keys + " values=" + values + " y=" + y + " heads=" + std::to_string(heads) + " kv_heads=" + std::to_string(heads));
      const double read = static_cast<double>(rows * (cached + length) * width);
      run(name + ", attention", texts + ", " + std::to_string(cached) + " cached", Type::bf16, length > 1 ? 4 * static_cast<double>(tokens * width) * static_cast<double>(cached + length / 2) : 0, length > 1 ? 0 : 4 * read, text,
          {qkv, keys, values}, [&, slots = slots, before = before](CudaMemory& memory) { integers(memory, slots, [](int64_t i) { return i; }), integers(memory, before, [&](int64_t) { return cached; }); });
    }
    struct Matrix { const char* of; int64_t n, k; };
    for (const auto& [of, n, k] : {Matrix{"qkv", 3 * width, width}, Matrix{"mlp up", hidden, width}, Matrix{"mlp down", width, hidden}, Matrix{"logits", vocabulary, width}}) {
      if (length > 1 && n == vocabulary) continue;  // prompts make none
      CudaText text;
      const std::string a = text.place(Type::bf16, {tokens, k}), b = n == vocabulary ? text.place(Type::bf16, {n, k}) : text.place(Type::bf16, {k, n}), c = text.place(n == vocabulary ? Type::f32 : Type::bf16, {tokens, n});
      text.call("matmul a=" + a + " b=" + b + " bias=- gelu_of=- residual=- c=" + c + " pre=- transpose_a=0 transpose_b=" + (n == vocabulary ? "1" : "0") + " gelu=0");
      const double flops = 2 * static_cast<double>(tokens * n) * static_cast<double>(k);
      run(name + ", " + of, std::to_string(tokens) + " x " + std::to_string(n) + " x " + std::to_string(k), Type::bf16, length > 1 ? flops : 0, length > 1 ? 0 : 2 * static_cast<double>(n * k), text, {a, b}, [](CudaMemory&) {});
    }
    if (length > 1) continue;
    for (const char* how : {"temperature=0 top_k=0 top_p=1", "temperature=0.8 top_k=0 top_p=1", "temperature=0.8 top_k=0 top_p=0.95", "temperature=0.8 top_k=40 top_p=0.95"}) {
      CudaText text;
      const std::string logits = text.place(Type::f32, {rows, vocabulary}), uniform = text.place(Type::f32, {rows});
      text.call("sample logits=" + logits + " uniform=" + uniform + " ids=" + text.place(Type::i32, {rows}) + " " + how);
      run(name + ", drawn at " + how, std::to_string(rows) + " x " + std::to_string(vocabulary), Type::f32, 0, 4 * static_cast<double>(rows * vocabulary), text, {logits}, [uniform = uniform](CudaMemory& memory) { memory.fill_with(uniform, 0.5f); });
    }
  }
}

}  // namespace nichelm::benchmark
