// Which kernel computes a matrix product on a GPU: nichelm's own, or cuBLASLt's. NICHELM_PRODUCTS says:
//   own       (the default) nichelm's. What a product's sums are follows from its shape alone.
//   cublaslt  cuBLASLt's first proposal, wherever it has one.
//   measured  the faster one, measured once for each product and kept in a file: NICHELM_PRODUCTS_FILE, or products.txt in the user's cache folder. What is in
//             the file is not measured again, so that the same file gives the same results.
// Measuring is asked for and not the default, because which of two is faster by a few percent is an accident of the moment, while their results differ in the
// last bits: a run must not come out differently when it is made again.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cuda/cublaslt.h"
#include "cuda/device.h"

namespace nichelm {

class Products {
 public:
  // gpu: what the measurements belong to, in words.
  explicit Products(std::string gpu) : gpu_(std::move(gpu)) {}

  // Whether there is anything to choose. Throws for a NICHELM_PRODUCTS that is none, and for cuBLASLt where it is asked for and cannot be loaded.
  bool choose();

  // How to compute a product: a plan of cuBLASLt's, or null for nichelm's own kernels. epilogue: what is done besides, in words. seconds(plan) measures: null for
  // nichelm's. It is not called while calls are recorded: what has not been chosen by then is nichelm's.
  const CublasLt::Plan* plan(const LibraryProduct& product, const std::string& epilogue, bool recording, const std::function<double(const CublasLt::Plan*)>& seconds);
  CublasLt& library() { return *library_; }

  CudaProducts describe();

 private:
  enum class Mode { unknown, own, library, measured };
  struct Choice { bool by_library; int proposal; CublasLt::Plan plan; double own_seconds, library_seconds; };
  void open();
  Choice measure(const LibraryProduct& product, const std::string& name, const std::function<double(const CublasLt::Plan*)>& seconds);

  std::string gpu_, file_;
  Mode mode_ = Mode::unknown;
  std::shared_ptr<CublasLt> library_;
  std::map<std::string, Choice> choices_;
};

}  // namespace nichelm
