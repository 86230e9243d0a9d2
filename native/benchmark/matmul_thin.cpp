// Products of few rows, as generating text makes them, by weights that lie in memory: as many copies in turn as no cache holds. Bytes are those of the weights,
// beside reading as many in the same run.
#include "benchmark/matmul.h"
#include "ops/kernels.h"
#include "runtime/arena.h"

namespace nichelm::benchmark {
namespace {

constexpr int64_t kWeightBytes = int64_t{256} << 20, kMostRows = 64;
constexpr int64_t kPart = 8 << 20;  // that one timing reads, of one row: short, so that some are not disturbed by other processes

struct ThinCase { std::string what; int64_t n, k; bool transpose_b; };

std::vector<ThinCase> thin_cases() {
  std::vector<ThinCase> all;
  struct Model { const char* name; int64_t width, vocabulary; };
  for (const Model& s : {Model{"nano", 128, 4096}, Model{"mini", 256, 8192}, Model{"slm", 1024, 32000}}) {
    const std::string name = s.name;
    all.push_back({name + " qkv", 3 * s.width, s.width, false});
    all.push_back({name + " projection", s.width, s.width, false});
    all.push_back({name + " mlp up", 4 * s.width, s.width, false});
    all.push_back({name + " mlp down", s.width, 4 * s.width, false});
    all.push_back({name + " vocabulary", s.vocabulary, s.width, true});
  }
  return all;
}

// Bytes a second of reading the weights on all threads, a part after the other, by the compiler's plain loop.
double reading(Cpu& device, const uint64_t* weights) {
  constexpr int64_t kPiece = 1 << 13, kPieces = kPart / 8 / kPiece;
  std::vector<uint64_t> sums(kPieces);
  int64_t part = 0;
  const double seconds = fastest([&] {
    device.each(kPieces, [&](int64_t piece, int) {
      uint64_t sum[32] = {};
      const uint64_t* x = weights + (part * kPieces + piece) * kPiece;
      for (const uint64_t* end = x + kPiece; x < end; x += 32)
        for (int i = 0; i < 32; ++i) sum[i] ^= x[i];
      for (const uint64_t s : sum) sums[static_cast<size_t>(piece)] ^= s;
    });
    part = (part + 1) % (kWeightBytes / kPart);
  }, 1);
  return kPart / seconds;
}

}  // namespace

std::vector<Result> matmul_thin(Cpu& device) {
  std::vector<Result> results;
  Arena weights(kWeightBytes), a(kMostRows * 4096 * 4), c(kMostRows * 32000 * 4);
  // Small numbers in either type.
  for (int64_t i = 0; i < kWeightBytes / 2; ++i) reinterpret_cast<uint16_t*>(weights.data())[i] = static_cast<uint16_t>(0x3c00 + i * 7 % 64);
  for (int64_t i = 0; i < kMostRows * 4096 * 2; ++i) reinterpret_cast<uint16_t*>(a.data())[i] = static_cast<uint16_t>(0x3c00 + i * 5 % 64);
  const double peak = reading(device, reinterpret_cast<const uint64_t*>(weights.data()));
  for (const Type type : {Type::f32, Type::bf16})
    for (const ThinCase& shape : thin_cases())
      for (const int64_t m : {int64_t{1}, kMostRows}) {
        const auto [what, n, k, transpose_b] = shape;
        const std::string text = shape_of({what, m, n, k});
        if (!wanted(what, text, type)) continue;
        const int64_t bytes = n * k * bytes_of(type), copies = kWeightBytes / bytes, at_once = std::max<int64_t>(1, kPart / bytes / m);
        int64_t copy = 0;
        const double seconds = fastest([&, n = n, k = k, transpose_b = transpose_b] {
          for (int64_t i = 0; i < at_once; ++i, copy = (copy + 1) % copies) {
            const Tensor b{weights.data() + copy * bytes, type, 2, {transpose_b ? n : k, transpose_b ? k : n}};
            run_op(device, Matmul{{{a.data(), type, 2, {m, k}}}, {b}, {}, {}, {}, {{c.data(), transpose_b ? Type::f32 : type, 2, {m, n}}}, {}, false, transpose_b, false});
          }
        }, 0.3) / static_cast<double>(at_once);
        Result r;
        r.benchmark = "matmul_thin", r.what = what, r.shape = text, r.type = name_of(type);
        r.seconds = seconds, r.flops = 2.0 * static_cast<double>(m * n * k) / seconds, r.bytes = static_cast<double>(bytes) / seconds, r.peak_bytes = peak;
        results.push_back(r);
      }
  return results;
}

}  // namespace nichelm::benchmark
