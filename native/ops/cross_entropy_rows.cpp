#include "ops/cross_entropy_rows.h"

#include "runtime/on_isa.h"

namespace nichelm {

void cross_entropy_rows(Cpu& device, const CrossEntropyRows& rows) { run_on_isa(device, rows); }

}  // namespace nichelm
