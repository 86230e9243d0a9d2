#include "cuda/fingerprint.h"

// Of the library: load.cpp compares it with its own.
extern "C" __attribute__((visibility("default"))) uint64_t nichelm_cuda_fingerprint() { return nichelm::cuda_fingerprint(); }
