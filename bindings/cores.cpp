// What the processor and the system give this process.
#include "common.h"
#include "runtime/cpu.h"

namespace nichelm::binding {
namespace {

// cores() -> {machine, affinity, quota, available, instructionSets}
Napi::Value describe_cores(const Napi::CallbackInfo& info) {
  const Cores c = cores();
  Napi::Object facts = Napi::Object::New(info.Env());
  facts.Set("machine", c.machine);
  facts.Set("affinity", c.affinity);
  facts.Set("quota", c.quota);
  facts.Set("available", c.available);
  Napi::Array sets = Napi::Array::New(info.Env());
  for (const Isa isa : runnable_isas()) sets.Set(sets.Length(), name_of(isa));
  facts.Set("instructionSets", sets);
  return facts;
}

}  // namespace

void export_cores(Napi::Env env, Napi::Object exports) { define<describe_cores>(env, exports, "cores"); }

}  // namespace nichelm::binding
