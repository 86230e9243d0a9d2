// The emulator as a library in the place of nichelm_cuda.so (cuda/load.cpp loads whichever NICHELM_CUDA_LIBRARY names): so that what loads and drives a GPU
// is tested where there is none. For tests only.
#include "emulator/device.h"
#include "emulator/grid.h"
#include "runtime/error.h"

extern "C" __attribute__((visibility("default"))) nichelm::CudaDevice* nichelm_open_cuda(int ordinal) {
  using namespace nichelm;
  if (ordinal != 0) throw Error(ErrorCode::device, "there is no GPU " + std::to_string(ordinal) + "; there are 1, numbered from 0");
  // Races and orders of threads are the native tests' business.
  emulator::set_mode({emulator::Order::forward, emulator::Landing::late, false});
  return emulator::open_device().release();
}
