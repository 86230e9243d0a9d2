#include "cluster/kernels.h"

namespace nichelm::cluster {

extern const Kernels kernels_portable;
#ifdef __x86_64__
extern const Kernels kernels_avx2, kernels_avx512, kernels_avx512bf16;
#endif

const Kernels& kernels_for(Isa isa) {
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

}  // namespace nichelm::cluster
