#include "cluster/kernels.h"

namespace nichelm::cluster {

extern const Kernels kernels_portable;
#ifdef NICHELM_HAS_avx2
extern const Kernels kernels_avx2;
#endif
#ifdef NICHELM_HAS_avx512
extern const Kernels kernels_avx512;
#endif
#ifdef NICHELM_HAS_avx512bf16
extern const Kernels kernels_avx512bf16;
#endif

const Kernels& kernels_for(Isa isa) {
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

}  // namespace nichelm::cluster
