// The addon's face, in parts: what a part exports is in its own file.
#include "common.h"

namespace nichelm::binding {

void export_cluster(Napi::Env, Napi::Object exports);
void export_cores(Napi::Env, Napi::Object exports);
void export_device(Napi::Env, Napi::Object exports);
void export_tokenizer(Napi::Env, Napi::Object exports);

static Napi::Object start(Napi::Env env, Napi::Object exports) {
  export_cluster(env, exports);
  export_cores(env, exports);
  export_device(env, exports);
  export_tokenizer(env, exports);
  return exports;
}

}  // namespace nichelm::binding

static Napi::Object init(Napi::Env env, Napi::Object exports) { return nichelm::binding::start(env, exports); }
NODE_API_MODULE(nichelm, init)
