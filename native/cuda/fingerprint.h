// What the CUDA library and who loads it must have in common: the structs of ops, and the device's interface.
#pragma once
#include <cstdint>
#include <string_view>

#include "cluster/cuda_ops.h"
#include "cuda/device.h"
#include "ops/list.h"

namespace nichelm {

// Raised when CudaDevice changes.
constexpr uint64_t kCudaInterface = 2;

inline uint64_t cuda_fingerprint() {
  uint64_t hash = 14695981039346656037ull;  // FNV-1a
  const auto add = [&](std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  };
  const auto add_op = [&](auto* op) {
    using Op = std::remove_pointer_t<decltype(op)>;
    constexpr auto fields = Op::fields();
    add(fields.op);
    for (const char* name : fields.names) add(" "), add(name);
    add(std::to_string(sizeof(Op)));
  };
  const auto add_ops = [&]<class... Ops>(OpList<Ops...>) { (add_op(static_cast<Ops*>(nullptr)), ...); };
  add_ops(AllOps{});
  add_ops(OpList<KmeansAssign, KmeansUpdate>{});
  add(std::to_string(kCudaInterface) + ", " + std::to_string(sizeof(CudaDescription)));
  return hash;
}

}  // namespace nichelm
