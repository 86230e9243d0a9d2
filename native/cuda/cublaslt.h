// NVIDIA's cuBLASLt, where there is one: found and loaded when it is asked for, so that nichelm is built and runs without it. Of its declarations only those
// that are used are repeated (cublaslt.cpp); they have been the same from version 11 to 13.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace nichelm {

// c (m, n) = a b, or a b + addend, of each group; row-major, a's, b's and c's of the next group so many elements on. All sums are f32.
struct LibraryProduct {
  const void *a, *b;
  const void* addend;  // as c, which it may be; null: none
  void* c;
  int64_t m, n, k, groups, a_stride, b_stride, c_stride;
  bool transpose_a, transpose_b;  // a is (k, m); b is (n, k)
  bool bf16, c_is_bf16;           // a and b; c and addend; else f32
};

class CublasLt {
 public:
  // A way to compute a product that cuBLASLt proposes, with the memory that it needs. For products of the same shape, types and alignment.
  struct Plan {
    uint64_t algorithm[8];
    int64_t workspace;  // bytes
  };

  // Loads the library: the one that NICHELM_CUBLASLT names, else the loader's, a toolkit's, or one of Python's wheels. Throws a device error that says where it
  // was looked for.
  static std::shared_ptr<CublasLt> open();
  virtual ~CublasLt() = default;

  virtual const std::string& path() const = 0;
  virtual int64_t version() const = 0;  // 10000 major + 100 minor + patch
  // At most so many, those first that it takes for faster; none where it cannot compute the product.
  virtual std::vector<Plan> plans(const LibraryProduct& product, int most) = 0;
  // workspace: as much as the plan needs, 256-byte aligned. stream: a cudaStream_t.
  virtual void multiply(const LibraryProduct& product, const Plan& plan, void* workspace, void* stream) = 0;
};

// Where open() looks, in its order: names for the loader, then files.
std::vector<std::string> cublaslt_places();

}  // namespace nichelm
