#include "cuda/cublaslt.h"

#include <dirent.h>
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "runtime/error.h"

namespace nichelm {
namespace {

// Of cublasLt.h and library_types.h, with their values.
constexpr int kReal32 = 0, kBrain16 = 14, kCompute32 = 68;
constexpr int kTransposeOfA = 3, kTransposeOfB = 4;                      // cublasLtMatmulDescAttributes_t
constexpr int kBatchCount = 5, kBatchOffset = 6;                         // cublasLtMatrixLayoutAttribute_t
constexpr int kMostWorkspace = 1, kReductionSchemes = 3, kAlignment = 5; // cublasLtMatmulPreferenceAttributes_t; alignment of a, then of b, c and d
constexpr uint32_t kReduceInF32 = 2;                                     // parts of a sum are kept in the type they are computed in, and added in order
struct Algorithm { uint64_t data[8]; };
struct Heuristic { Algorithm algorithm; size_t workspace; int status; float waves; int reserved[4]; };
using Object = void*;

constexpr uint64_t kWorkspace = 32 << 20;  // what NVIDIA recommends for Hopper; of the GPUs before it less is asked for

struct Functions {
  size_t (*version)();
  int (*create)(Object*);
  int (*destroy)(Object);
  int (*create_product)(Object*, int compute, int scale);
  int (*destroy_product)(Object);
  int (*set_product)(Object, int attribute, const void*, size_t);
  int (*create_layout)(Object*, int type, uint64_t rows, uint64_t columns, int64_t stride);
  int (*destroy_layout)(Object);
  int (*set_layout)(Object, int attribute, const void*, size_t);
  int (*create_preference)(Object*);
  int (*destroy_preference)(Object);
  int (*set_preference)(Object, int attribute, const void*, size_t);
  int (*heuristics)(Object, Object product, Object a, Object b, Object c, Object d, Object preference, int wanted, Heuristic*, int* found);
  int (*multiply)(Object, Object product, const void* alpha, const void* a, Object, const void* b, Object, const void* beta, const void* c, Object, void* d, Object, const Algorithm*, void* workspace, size_t bytes, void* stream);
};

void check(int status, const char* what) {
  if (status != 0) throw Error(ErrorCode::device, std::string("cuBLASLt: ") + what + " failed with status " + std::to_string(status) + "; NICHELM_PRODUCTS=own does without it");
}

// Something of the library's that lives for a call.
class Owned {
 public:
  explicit Owned(int (*destroy)(Object)) : destroy_(destroy) {}
  ~Owned() { if (object) destroy_(object); }
  Owned(const Owned&) = delete;
  Object object = nullptr;

 private:
  int (*destroy_)(Object);
};

uint32_t alignment_of(const void* place) {
  const auto address = reinterpret_cast<uintptr_t>(place) | 256;
  return static_cast<uint32_t>(address & ~(address - 1));
}

// The library's matrices go down columns: what is row-major is the transpose there, so it is asked for cᵀ = bᵀ aᵀ.
class Description {
 public:
  Description(const Functions& lt, const LibraryProduct& p) : product(lt.destroy_product), first(lt.destroy_layout), second(lt.destroy_layout), result(lt.destroy_layout) {
    check(lt.create_product(&product.object, kCompute32, kReal32), "cublasLtMatmulDescCreate");
    const int32_t first_across = p.transpose_b, second_across = p.transpose_a;  // CUBLAS_OP_N, CUBLAS_OP_T
    check(lt.set_product(product.object, kTransposeOfA, &first_across, sizeof first_across), "cublasLtMatmulDescSetAttribute");
    check(lt.set_product(product.object, kTransposeOfB, &second_across, sizeof second_across), "cublasLtMatmulDescSetAttribute");
    layout(lt, first, p.bf16, p.transpose_b ? p.k : p.n, p.transpose_b ? p.n : p.k, p.groups, p.b_stride);
    layout(lt, second, p.bf16, p.transpose_a ? p.m : p.k, p.transpose_a ? p.k : p.m, p.groups, p.a_stride);
    layout(lt, result, p.c_is_bf16, p.n, p.m, p.groups, p.c_stride);
  }
  Owned product, first, second, result;

 private:
  static void layout(const Functions& lt, Owned& to, bool bf16, int64_t rows, int64_t columns, int64_t groups, int64_t stride) {
    check(lt.create_layout(&to.object, bf16 ? kBrain16 : kReal32, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), rows), "cublasLtMatrixLayoutCreate");
    if (groups == 1) return;
    const auto count = static_cast<int32_t>(groups);
    check(lt.set_layout(to.object, kBatchCount, &count, sizeof count), "cublasLtMatrixLayoutSetAttribute");
    check(lt.set_layout(to.object, kBatchOffset, &stride, sizeof stride), "cublasLtMatrixLayoutSetAttribute");
  }
};

class Loaded : public CublasLt {
 public:
  Loaded(void* library, std::string path) : path_(std::move(path)) {
    const auto find = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
      if (!function) throw Error(ErrorCode::device, path_ + " is not cuBLASLt: it has no " + name);
    };
    find(lt_.version, "cublasLtGetVersion"), find(lt_.create, "cublasLtCreate"), find(lt_.destroy, "cublasLtDestroy");
    find(lt_.create_product, "cublasLtMatmulDescCreate"), find(lt_.destroy_product, "cublasLtMatmulDescDestroy"), find(lt_.set_product, "cublasLtMatmulDescSetAttribute");
    find(lt_.create_layout, "cublasLtMatrixLayoutCreate"), find(lt_.destroy_layout, "cublasLtMatrixLayoutDestroy"), find(lt_.set_layout, "cublasLtMatrixLayoutSetAttribute");
    find(lt_.create_preference, "cublasLtMatmulPreferenceCreate"), find(lt_.destroy_preference, "cublasLtMatmulPreferenceDestroy"), find(lt_.set_preference, "cublasLtMatmulPreferenceSetAttribute");
    find(lt_.heuristics, "cublasLtMatmulAlgoGetHeuristic"), find(lt_.multiply, "cublasLtMatmul");
    check(lt_.create(&handle_), "cublasLtCreate");
  }
  ~Loaded() override { if (handle_) lt_.destroy(handle_); }

  const std::string& path() const override { return path_; }
  int64_t version() const override { return static_cast<int64_t>(lt_.version()); }

  std::vector<Plan> plans(const LibraryProduct& p, int most) override {
    const Description d(lt_, p);
    Owned preference(lt_.destroy_preference);
    check(lt_.create_preference(&preference.object), "cublasLtMatmulPreferenceCreate");
    const auto set = [&](int attribute, const auto& value) { check(lt_.set_preference(preference.object, attribute, &value, sizeof value), "cublasLtMatmulPreferenceSetAttribute"); };
    set(kMostWorkspace, kWorkspace), set(kReductionSchemes, kReduceInF32);
    const void* const operands[] = {p.b, p.a, p.addend ? p.addend : p.c, p.c};
    for (int i = 0; i < 4; ++i) set(kAlignment + i, alignment_of(operands[i]));
    std::vector<Heuristic> found(static_cast<size_t>(most));
    int count = 0;
    // Where it cannot compute the product it says so by a status (CUBLAS_STATUS_NOT_SUPPORTED), or by finding nothing.
    if (lt_.heuristics(handle_, d.product.object, d.first.object, d.second.object, d.result.object, d.result.object, preference.object, most, found.data(), &count) != 0) return {};
    std::vector<Plan> plans;
    for (int i = 0; i < count; ++i) {
      const Heuristic& h = found[static_cast<size_t>(i)];
      if (h.status != 0 || h.workspace > kWorkspace) continue;
      Plan& plan = plans.emplace_back();
      std::copy_n(h.algorithm.data, 8, plan.algorithm);
      plan.workspace = static_cast<int64_t>(h.workspace);
    }
    return plans;
  }

  void multiply(const LibraryProduct& p, const Plan& plan, void* workspace, void* stream) override {
    const Description d(lt_, p);
    const float one = 1, weight = p.addend ? 1.0f : 0.0f;
    Algorithm algorithm;
    std::copy_n(plan.algorithm, 8, algorithm.data);
    check(lt_.multiply(handle_, d.product.object, &one, p.b, d.first.object, p.a, d.second.object, &weight, p.addend ? p.addend : p.c, d.result.object, p.c, d.result.object, &algorithm, workspace,
                       static_cast<size_t>(plan.workspace), stream),
          "cublasLtMatmul");
  }

 private:
  std::string path_;
  Functions lt_{};
  Object handle_ = nullptr;
};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::vector<std::string> python_folders(const std::string& folder) {
  std::vector<std::string> names;
  if (DIR* open = opendir(folder.c_str())) {
    while (const dirent* entry = readdir(open))
      if (std::string(entry->d_name).rfind("python3", 0) == 0) names.push_back(folder + "/" + entry->d_name);
    closedir(open);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

std::vector<std::string> cublaslt_places() {
  if (const std::string named = variable("NICHELM_CUBLASLT"); !named.empty()) return {named};
  constexpr const char* kNames[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
  std::vector<std::string> places(std::begin(kNames), std::end(kNames)), folders;
  for (const std::string& toolkit : {variable("CUDA_HOME"), variable("CUDA_PATH"), std::string("/usr/local/cuda")})
    if (!toolkit.empty()) folders.push_back(toolkit + "/lib64"), folders.push_back(toolkit + "/targets/x86_64-linux/lib");
  for (const std::string& root : {variable("VIRTUAL_ENV") + "/lib", variable("HOME") + "/.local/lib", std::string("/usr/local/lib"), std::string("/usr/lib")})
    for (const std::string& python : python_folders(root))
      for (const char* packages : {"/site-packages", "/dist-packages"})
        for (const char* wheel : {"/nvidia/cu13/lib", "/nvidia/cublas/lib"}) folders.push_back(python + packages + wheel);
  for (const std::string& folder : folders)
    for (const char* name : kNames) places.push_back(folder + "/" + name);
  return places;
}

std::shared_ptr<CublasLt> CublasLt::open() {
  std::string tried;
  for (const std::string& place : cublaslt_places()) {
    // Files that are not there need no telling one by one.
    if (place.find('/') != std::string::npos && access(place.c_str(), R_OK) != 0 && variable("NICHELM_CUBLASLT").empty()) continue;
    if (void* library = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL)) return std::make_shared<Loaded>(library, place);  // for good
    tried += (tried.empty() ? "" : "; ") + std::string(dlerror());
  }
  throw Error(ErrorCode::device, "cuBLASLt could not be loaded (" + tried + "). It comes with the CUDA toolkit and as the Python wheel nvidia-cublas; NICHELM_CUBLASLT names the file; NICHELM_PRODUCTS=own does without it");
}

}  // namespace nichelm
