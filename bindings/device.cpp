// Device, arena, programs: open, compile, run, read and write, dispose.
#include "device.h"

#include <map>
#include <vector>

#include "cuda/load.h"
#include "cuda/peak.h"
#include "runtime/peak.h"

namespace nichelm::binding {
namespace {

Napi::Value list_ops(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Napi::Array ops = Napi::Array::New(env);
  for (const OpInfo& op : op_table()) {
    Napi::Object fields = Napi::Object::New(env);
    for (const FieldInfo& field : op.fields) fields.Set(field.name, field.kind);
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("name", op.name);
    entry.Set("fields", fields);
    ops.Set(ops.Length(), entry);
  }
  return ops;
}

std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

// One for each GPU, as long as a handle holds it: its memory, stream and recorded programs are the process's.
std::shared_ptr<Gpu> open_gpu(int ordinal) {
  static std::map<int, std::weak_ptr<Gpu>> open;  // main thread only
  auto gpu = open[ordinal].lock();
  if (!gpu) open[ordinal] = gpu = std::make_shared<Gpu>(open_cuda(ordinal), ordinal);
  return gpu;
}

// deviceOpen(threads: undefined for all, isa: '' for the best, GPU: its number, or -1 for the CPU) -> device
Napi::Value device_open(const Napi::CallbackInfo& info) {
  const int64_t gpu = integer(info[2], "index");
  require(gpu >= -1 && gpu < 1024, "index must be the number of a GPU, counted from 0");
  const int threads = threads_of(info[0], available_threads(), ", the cores this process may use");
  const std::string isa = text(info[1], "isa");
  return make_handle(info.Env(), std::make_shared<Device>(threads, isa.empty() ? best_isa() : parse_isa(isa), gpu < 0 ? nullptr : open_gpu(static_cast<int>(gpu))));
}

Napi::Object described(Napi::Env env, const CudaProducts& products) {
  Napi::Object facts = Napi::Object::New(env);
  facts.Set("mode", products.mode);
  if (!products.library.empty()) facts.Set("library", products.library), facts.Set("version", static_cast<double>(products.version));
  if (!products.file.empty()) facts.Set("file", products.file);
  Napi::Array choices = Napi::Array::New(env);
  for (const CudaProducts::Choice& choice : products.choices) {
    const auto seconds = [&](double s) { return s > 0 ? Napi::Value(Napi::Number::New(env, s)) : env.Null(); };
    Napi::Object one = Napi::Object::New(env);
    one.Set("product", choice.product);
    one.Set("by", choice.by);
    one.Set("ownSeconds", seconds(choice.own_seconds));
    one.Set("librarySeconds", seconds(choice.library_seconds));
    choices.Set(choices.Length(), one);
  }
  facts.Set("choices", choices);
  return facts;
}

Napi::Value device_describe(const Napi::CallbackInfo& info) {
  const auto device = get_handle<Device>(info[0]);
  Napi::Object facts = Napi::Object::New(info.Env());
  facts.Set("kind", device->gpu ? "cuda" : "cpu");
  facts.Set("isa", name_of(device->cpu.isa()));
  facts.Set("threads", device->cpu.threads());
  facts.Set("scratchBytes", static_cast<double>(device->cpu.scratch_bytes()));
  facts.Set("availableMemory", static_cast<double>(available_memory()));
  if (!device->gpu) return facts;
  const std::lock_guard lock(device->gpu->lock);
  const CudaDescription there = device->gpu->device->describe();
  Napi::Object gpu = Napi::Object::New(info.Env());
  gpu.Set("name", there.name);
  gpu.Set("index", device->gpu->ordinal);
  gpu.Set("capability", std::to_string(there.major) + "." + std::to_string(there.minor));
  gpu.Set("multiprocessors", there.multiprocessors);
  gpu.Set("devices", there.devices);
  gpu.Set("memory", static_cast<double>(there.memory));
  if (const double bandwidth = stated_bandwidth(there)) gpu.Set("bandwidth", bandwidth);
  gpu.Set("driver", version(there.driver));
  gpu.Set("runtime", version(there.runtime));
  gpu.Set("products", described(info.Env(), device->gpu->device->products()));
  facts.Set("availableMemory", static_cast<double>(there.available));
  facts.Set("gpu", gpu);
  return facts;
}

// arenaCreate(bytes, device or undefined: the CPU's) -> arena
Napi::Value arena_create(const Napi::CallbackInfo& info) {
  const int64_t size = integer(info[0], "bytes");
  const auto gpu = info[1].IsUndefined() ? nullptr : get_handle<Device>(info[1])->gpu;
  if (gpu) return make_handle(info.Env(), std::make_shared<Memory>(gpu, size));
  return make_handle(info.Env(), std::make_shared<Memory>(size), size);
}

Napi::Value arena_write(const Napi::CallbackInfo& info) {
  const auto memory = get_handle<Memory>(info[0]);
  const Bytes from = bytes(info[2], "data");
  // Kernels read some operands twice (token ids), so these must not change under them.
  require(memory->running == 0, "the arena cannot be written to while a program runs in it: wait for the run, or give it the data as writes");
  memory->write(integer(info[1], "offset"), from.data, static_cast<int64_t>(from.size));
  return info.Env().Undefined();
}

Napi::Value arena_read(const Napi::CallbackInfo& info) {
  const Bytes into = bytes(info[2], "into");
  get_handle<Memory>(info[0])->read(integer(info[1], "offset"), into.data, static_cast<int64_t>(into.size));
  return info.Env().Undefined();
}

void require_same(const Device& device, const Memory& memory) { require(device.gpu == memory.gpu(), "the arena is in the memory of another device"); }

Napi::Value program_compile(const Napi::CallbackInfo& info) {
  const auto device = get_handle<Device>(info[0]);
  const auto memory = get_handle<Memory>(info[1]);
  require_same(*device, *memory);
  return make_handle(info.Env(), std::make_shared<BoundProgram>(memory, text(info[2], "program"), device->cpu.isa()));
}

// Counts a run of the memory's until it is let go of, with the task that holds it, on the main thread.
std::shared_ptr<Memory> hold(const std::shared_ptr<Memory>& memory) {
  ++memory->running;
  return {memory.get(), [memory](Memory* held) { --held->running; }};
}

struct Copy { int64_t offset; std::vector<uint8_t> data; };
struct Command { std::vector<Copy> writes; std::shared_ptr<BoundProgram> program; size_t reads_end; };

// What `targets`, pairs of an offset and an array, ask for: appended to reads, the arrays to into.
void append_reads(const Napi::Value& value, std::vector<Copy>& reads, Napi::Array& into) {
  if (!value.IsArray() || value.As<Napi::Array>().Length() % 2 != 0) throw to_js(value.Env(), "USAGE", "run: reads must be an array of pairs: an offset, an array");
  const auto pairs = value.As<Napi::Array>();
  for (uint32_t r = 0; r + 1 < pairs.Length(); r += 2) {
    const int64_t offset = integer(pairs[r], "offset");
    const Napi::Value target = pairs[r + 1];
    into[static_cast<uint32_t>(reads.size())] = target;
    reads.push_back({offset, std::vector<uint8_t>(bytes(target, "into").size)});
  }
}

// run(device, arena, [{ program, writes: [offset, typed array, ...], reads: as below }, ...], reads: [offset, typed array, ...]) -> promise
// In order: each command's writes, its program, its reads; at the end the other reads. Arrays are filled when all is done.
Napi::Value run_programs(const Napi::CallbackInfo& info) {
  const auto device = get_handle<Device>(info[0]);
  const auto memory = get_handle<Memory>(info[1]);
  require_same(*device, *memory);
  if (!info[2].IsArray() || !info[3].IsArray()) throw to_js(info.Env(), "USAGE", "run: commands and reads must be arrays");
  std::vector<Command> commands;
  std::vector<Copy> reads;
  auto targets = Napi::Array::New(info.Env());
  const auto list = info[2].As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Value value = list[i];
    if (!value.IsObject()) throw to_js(info.Env(), "USAGE", "run: a command must be an object");
    const auto object = value.As<Napi::Object>();
    Command command;
    command.program = get_handle<BoundProgram>(object.Get("program"));
    if (command.program->memory != memory) throw to_js(info.Env(), "USAGE", "run: a program of another arena");
    if (const Napi::Value writes = object.Get("writes"); !writes.IsUndefined()) {
      if (!writes.IsArray() || writes.As<Napi::Array>().Length() % 2 != 0) throw to_js(info.Env(), "USAGE", "run: writes must be an array of pairs: an offset, an array");
      const auto pairs = writes.As<Napi::Array>();
      for (uint32_t w = 0; w + 1 < pairs.Length(); w += 2) {
        const int64_t offset = integer(pairs[w], "offset");  // first: a getter could take the array's bytes away
        const Bytes from = bytes(pairs[w + 1], "data");
        command.writes.push_back({offset, {from.data, from.data + from.size}});
      }
    }
    if (const Napi::Value after = object.Get("reads"); !after.IsUndefined()) append_reads(after, reads, targets);
    command.reads_end = reads.size();
    commands.push_back(std::move(command));
  }
  append_reads(info[3], reads, targets);

  const auto running = hold(memory);
  auto work = [device, memory, running, commands = std::move(commands), reads = std::move(reads)]() mutable {
    const std::lock_guard lock(memory->lock);
    size_t next = 0;
    const auto read_up_to = [&](size_t end) {
      for (; next < end; ++next) memory->read(reads[next].offset, reads[next].data.data(), static_cast<int64_t>(reads[next].data.size()));
    };
    for (const Command& command : commands) {
      for (const Copy& write : command.writes) memory->write(write.offset, write.data.data(), static_cast<int64_t>(write.data.size()));
      command.program->run(*device);
      read_up_to(command.reads_end);
    }
    read_up_to(reads.size());
    memory->wait();  // so that what goes wrong on a GPU is told here
    return std::move(reads);
  };
  auto into = std::make_shared<Napi::ObjectReference>(Napi::Persistent(targets.As<Napi::Object>()));
  const auto finish = [into](Napi::Env env, std::vector<Copy>& done) -> Napi::Value {
    const auto arrays = into->Value().As<Napi::Array>();
    for (size_t r = 0; r < done.size(); ++r) {
      const Bytes target = bytes(arrays[static_cast<uint32_t>(r)], "into");
      if (target.size != done[r].data.size()) throw to_js(env, "USAGE", "run: an array to read into changed its size meanwhile");
      std::memcpy(target.data, done[r].data.data(), target.size);
    }
    return env.Undefined();
  };
  return async(info.Env(), std::move(work), finish, device->calls);
}

// profile(device, program) -> promise of [{ op, calls, seconds }]
Napi::Value profile_program(const Napi::CallbackInfo& info) {
  const auto device = get_handle<Device>(info[0]);
  const auto program = get_handle<BoundProgram>(info[1]);
  require_same(*device, *program->memory);
  return async(
      info.Env(),
      [device, program, running = hold(program->memory)] {
        const std::lock_guard lock(program->memory->lock);
        return program->profile(*device);
      },
      [](Napi::Env env, std::vector<Program::Timing>& timings) -> Napi::Value {
        Napi::Array list = Napi::Array::New(env);
        for (const auto& timing : timings) {
          Napi::Object entry = Napi::Object::New(env);
          entry.Set("op", timing.op);
          entry.Set("calls", static_cast<double>(timing.calls));
          entry.Set("seconds", timing.seconds);
          list.Set(list.Length(), entry);
        }
        return list;
      },
      device->calls);
}

Napi::Value dispose(const Napi::CallbackInfo& info) {
  if (!dispose_handle<BoundProgram>(info[0]) && !dispose_handle<Memory>(info[0]) && !dispose_handle<Device>(info[0])) throw to_js(info.Env(), "USAGE", "dispose: not a handle");
  return info.Env().Undefined();
}

// devicePeak(device, 'f32' | 'bf16') -> promise of FLOP/s; of a GPU what its maker states, 0 where that is not known here
Napi::Value device_peak(const Napi::CallbackInfo& info) {
  const auto device = get_handle<Device>(info[0]);
  const std::string name = text(info[1], "type");
  require(name == "f32" || name == "bf16", "type must be f32 or bf16");
  const Type type = name == "bf16" ? Type::bf16 : Type::f32;
  return async(
      info.Env(),
      [device, type] {
        if (!device->gpu) return measured_peak(device->cpu, type);
        const std::lock_guard lock(device->gpu->lock);
        return stated_peak(device->gpu->device->describe(), type);
      },
      [](Napi::Env env, double flops) -> Napi::Value { return Napi::Number::New(env, flops); }, device->calls);
}

// cudaLibrary() -> { driver: version or null, path }
Napi::Value cuda_library(const Napi::CallbackInfo& info) {
  Napi::Object facts = Napi::Object::New(info.Env());
  const int driver = cuda_driver_version();
  facts.Set("driver", driver ? Napi::Value(Napi::String::New(info.Env(), version(driver))) : info.Env().Null());
  facts.Set("path", cuda_library_path());
  return facts;
}

Napi::Value available(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), available_threads()); }

}  // namespace

void export_device(Napi::Env env, Napi::Object exports) {
  define<list_ops>(env, exports, "ops");
  define<device_open>(env, exports, "deviceOpen");
  define<device_describe>(env, exports, "deviceDescribe");
  define<device_peak>(env, exports, "devicePeak");
  define<arena_create>(env, exports, "arenaCreate");
  define<arena_write>(env, exports, "arenaWrite");
  define<arena_read>(env, exports, "arenaRead");
  define<program_compile>(env, exports, "programCompile");
  define<run_programs>(env, exports, "run");
  define<profile_program>(env, exports, "profile");
  define<dispose>(env, exports, "dispose");
  define<cuda_library>(env, exports, "cudaLibrary");
  define<available>(env, exports, "availableThreads");
}

}  // namespace nichelm::binding
