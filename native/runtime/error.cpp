#include "runtime/error.h"

#include "runtime/tensor.h"

namespace nichelm {

const char* name_of(Type type) {
  switch (type) {
    case Type::f32: return "f32";
    case Type::bf16: return "bf16";
    default: return "i32";
  }
}

void fail(ErrorCode code, const char* what) { throw Error(code, what); }

}  // namespace nichelm
