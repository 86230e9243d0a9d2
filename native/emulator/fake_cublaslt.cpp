// Stands for cuBLASLt in tests, where there is no GPU: the same functions, matrices that go down columns with their strides and batches, computed on the CPU by
// a plain loop. It refuses what the real one would (a product with one row), proposes two ways of which one needs memory, and counts what it is asked for.
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace {

enum Status { success = 0, invalid = 7, unsupported = 15 };
constexpr uint64_t kMagic = 0x6e696368656c6d00;
constexpr size_t kWorkspace = 4096;

struct Product { int compute, scale, transpose[2]; };
struct Layout { int type; uint64_t rows, columns; int64_t stride, batch_stride; int batches; };
struct Preference { uint64_t workspace; uint32_t schemes, alignment[4]; };
struct Algorithm { uint64_t data[8]; };
struct Heuristic { Algorithm algorithm; size_t workspace; int status; float waves; int reserved[4]; };

float element(const Layout& l, const void* data, int batch, uint64_t row, uint64_t column) {
  const int64_t at = batch * l.batch_stride + static_cast<int64_t>(row) + static_cast<int64_t>(column) * l.stride;
  if (l.type == 0) return static_cast<const float*>(data)[at];
  const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(data)[at]) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

void set_element(const Layout& l, void* data, int batch, uint64_t row, uint64_t column, float value) {
  const int64_t at = batch * l.batch_stride + static_cast<int64_t>(row) + static_cast<int64_t>(column) * l.stride;
  if (l.type == 0) {
    static_cast<float*>(data)[at] = value;
    return;
  }
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if (value == value) bits += 0x7fff + (bits >> 16 & 1);  // to the nearest, ties to even
  static_cast<uint16_t*>(data)[at] = static_cast<uint16_t>(bits >> 16);
}

bool agree(const Product& p, const Layout& a, const Layout& b, const Layout& c) {
  const uint64_t m = p.transpose[0] ? a.columns : a.rows, k = p.transpose[0] ? a.rows : a.columns, n = p.transpose[1] ? b.rows : b.columns, other = p.transpose[1] ? b.columns : b.rows;
  return m == c.rows && n == c.columns && k == other && a.type == b.type && a.batches == b.batches && a.batches == c.batches && p.compute == 68 && p.scale == 0;
}

template <class T> T* made(void** into) { return static_cast<T*>(*into = new T{}); }
template <class T> int freed(void* object) {
  delete static_cast<T*>(object);
  return success;
}
int copied(const void* from, size_t bytes, void* to, size_t size) {
  if (bytes != size) return invalid;
  std::memcpy(to, from, size);
  return success;
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

int64_t fake_cublaslt_products = 0, fake_cublaslt_heuristics = 0;

size_t cublasLtGetVersion() { return 130100; }
int cublasLtCreate(void** handle) { return *made<int>(handle) = 1, success; }
int cublasLtDestroy(void* handle) { return freed<int>(handle); }

int cublasLtMatmulDescCreate(void** product, int compute, int scale) {
  auto* p = made<Product>(product);
  p->compute = compute, p->scale = scale;
  return success;
}
int cublasLtMatmulDescDestroy(void* product) { return freed<Product>(product); }
int cublasLtMatmulDescSetAttribute(void* product, int attribute, const void* from, size_t bytes) {
  if (attribute != 3 && attribute != 4) return invalid;
  return copied(from, bytes, &static_cast<Product*>(product)->transpose[attribute - 3], 4);
}

int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t columns, int64_t stride) {
  if (type != 0 && type != 14) return invalid;
  *made<Layout>(layout) = {type, rows, columns, stride, 0, 1};
  return success;
}
int cublasLtMatrixLayoutDestroy(void* layout) { return freed<Layout>(layout); }
int cublasLtMatrixLayoutSetAttribute(void* layout, int attribute, const void* from, size_t bytes) {
  auto* l = static_cast<Layout*>(layout);
  if (attribute == 5) return copied(from, bytes, &l->batches, 4);
  if (attribute == 6) return copied(from, bytes, &l->batch_stride, 8);
  return invalid;
}

int cublasLtMatmulPreferenceCreate(void** preference) { return *made<Preference>(preference) = {0, 7, {256, 256, 256, 256}}, success; }
int cublasLtMatmulPreferenceDestroy(void* preference) { return freed<Preference>(preference); }
int cublasLtMatmulPreferenceSetAttribute(void* preference, int attribute, const void* from, size_t bytes) {
  auto* p = static_cast<Preference*>(preference);
  if (attribute == 1) return copied(from, bytes, &p->workspace, 8);
  if (attribute == 3) return copied(from, bytes, &p->schemes, 4);
  if (attribute >= 5 && attribute <= 8) return copied(from, bytes, &p->alignment[attribute - 5], 4);
  return invalid;
}

int cublasLtMatmulAlgoGetHeuristic(void*, void* product, void* a, void* b, void* c, void* d, void* preference, int wanted, Heuristic* found, int* count) {
  ++fake_cublaslt_heuristics;
  const auto &p = *static_cast<Product*>(product);
  const auto &of_a = *static_cast<Layout*>(a), &of_b = *static_cast<Layout*>(b), &of_c = *static_cast<Layout*>(c), &of_d = *static_cast<Layout*>(d);
  *count = 0;
  if (!agree(p, of_a, of_b, of_c) || std::memcmp(&of_c, &of_d, sizeof of_c) != 0 || (of_a.type == 0 && of_c.type != 0)) return invalid;
  if (of_c.columns == 1) return unsupported;
  for (int i = 0; i < wanted && i < 2; ++i) {
    const size_t workspace = i == 0 ? kWorkspace : 0;
    if (workspace > static_cast<Preference*>(preference)->workspace) continue;
    found[*count] = {{{kMagic + static_cast<uint64_t>(i)}}, workspace, success, 1, {}};
    ++*count;
  }
  return success;
}

int cublasLtMatmul(void*, void* product, const void* alpha, const void* a, void* a_layout, const void* b, void* b_layout, const void* beta, const void* c, void* c_layout, void* d, void* d_layout,
                   const Algorithm* algorithm, void* workspace, size_t bytes, void*) {
  const auto& p = *static_cast<Product*>(product);
  const auto &of_a = *static_cast<Layout*>(a_layout), &of_b = *static_cast<Layout*>(b_layout), &of_c = *static_cast<Layout*>(c_layout), &of_d = *static_cast<Layout*>(d_layout);
  const float scale = *static_cast<const float*>(alpha), share = *static_cast<const float*>(beta);
  const uint64_t proposal = algorithm->data[0] - kMagic;
  if (!agree(p, of_a, of_b, of_c) || proposal > 1 || (proposal == 0 && (bytes < kWorkspace || !workspace))) return invalid;
  if (proposal == 0) std::memset(workspace, 0x55, bytes);
  ++fake_cublaslt_products;
  const uint64_t k = p.transpose[0] ? of_a.rows : of_a.columns;
  for (int batch = 0; batch < of_c.batches; ++batch)
    for (uint64_t j = 0; j < of_c.columns; ++j)
      for (uint64_t i = 0; i < of_c.rows; ++i) {
        float sum = 0;
        for (uint64_t x = 0; x < k; ++x) sum += element(of_a, a, batch, p.transpose[0] ? x : i, p.transpose[0] ? i : x) * element(of_b, b, batch, p.transpose[1] ? j : x, p.transpose[1] ? x : j);
        set_element(of_d, d, batch, i, j, scale * sum + (share == 0 ? 0 : share * element(of_c, c, batch, i, j)));
      }
  return success;
}

}
#pragma GCC visibility pop
