#include "ops/kernels.h"

namespace nichelm {

extern const KernelTable kernels_portable;
#ifdef __x86_64__
extern const KernelTable kernels_avx2, kernels_avx512, kernels_avx512bf16;
#endif

const KernelTable& kernels(Isa isa) {
#ifdef __x86_64__
  switch (isa) {
    case Isa::avx2: return kernels_avx2;
    case Isa::avx512: return kernels_avx512;
    case Isa::avx512bf16: return kernels_avx512bf16;
    default: break;
  }
#endif
  (void)isa;
  return kernels_portable;
}

}  // namespace nichelm
