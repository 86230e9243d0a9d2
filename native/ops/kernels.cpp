#include "ops/kernels.h"

namespace nichelm {

extern const KernelTable kernels_portable;
#ifdef NICHELM_HAS_avx2
extern const KernelTable kernels_avx2;
#endif
#ifdef NICHELM_HAS_avx512
extern const KernelTable kernels_avx512;
#endif
#ifdef NICHELM_HAS_avx512bf16
extern const KernelTable kernels_avx512bf16;
#endif

const KernelTable& kernels(Isa isa) {
  switch (isa) {
#ifdef NICHELM_HAS_avx2
    case Isa::avx2: return kernels_avx2;
#endif
#ifdef NICHELM_HAS_avx512
    case Isa::avx512: return kernels_avx512;
#endif
#ifdef NICHELM_HAS_avx512bf16
    case Isa::avx512bf16: return kernels_avx512bf16;
#endif
    default: return kernels_portable;
  }
}

}  // namespace nichelm
