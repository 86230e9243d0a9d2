// Tensor maps, made by the driver. Its function is asked for at run time, so that the library does not need libcuda to be loaded.
#include "cuda/tensor_map.h"

#include <string>

namespace nichelm {

TensorMap tensor_map(const void* data, const TensorShape& shape, int rows) {
  using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*, const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                              CUtensorMapL2promotion, CUtensorMapFloatOOBfill);
  static const Encode encode = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult answer;
    check_cuda(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &answer), "cuTensorMapEncodeTiled");
    require(answer == cudaDriverEntryPointSuccess && found, "the driver has no cuTensorMapEncodeTiled: it must be for CUDA 12.0 or newer");
    return reinterpret_cast<Encode>(found);
  }();
  cuuint64_t sizes[4], strides[3];
  for (int i = 0; i < 4; ++i) sizes[i] = static_cast<cuuint64_t>(shape.sizes[i]);
  for (int i = 0; i < 3; ++i) strides[i] = static_cast<cuuint64_t>(shape.strides[i + 1]) * 2;
  const cuuint32_t box[4] = {kBoxColumns, static_cast<cuuint32_t>(rows), 1, 1}, steps[4] = {1, 1, 1, 1};
  TensorMap map;
  const CUresult status = encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 4, const_cast<void*>(data), sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) throw Error(ErrorCode::device, "CUDA: cuTensorMapEncodeTiled: error " + std::to_string(static_cast<int>(status)));
  return map;
}

}  // namespace nichelm
