// What every part of the addon's face uses: errors, type-tagged handles, arguments, asynchronous work.
#pragma once
#include <napi.h>

#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "runtime/cores.h"
#include "runtime/error.h"

namespace nichelm::binding {

// A JavaScript Error with a `code` of src/base/errors.ts; bindings/native.ts turns it into a NichelmError.
inline Napi::Error to_js(Napi::Env env, const char* code, const std::string& what) {
  Napi::Error error = Napi::Error::New(env, what);
  error.Set("code", Napi::String::New(env, code));
  return error;
}
struct Failure { const char* code; std::string what; };
inline Failure failure_of(std::exception_ptr thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& e) {
    switch (e.code) {
      case ErrorCode::memory: return {"RESOURCE", e.what()};
      case ErrorCode::device: return {"DEVICE", e.what()};
      case ErrorCode::data: return {"INPUT", e.what()};
      default: return {"USAGE", e.what()};
    }
  } catch (const std::bad_alloc&) {
    return {"RESOURCE", "out of memory"};
  } catch (const std::length_error&) {
    return {"RESOURCE", "out of memory: more was asked for than can be addressed"};
  } catch (const std::exception& e) {
    return {"INTERNAL", e.what()};
  } catch (...) {
    return {"INTERNAL", "an error of an unknown kind"};
  }
}

// Exports a function; what it throws reaches JavaScript as an Error with a code.
using Function = Napi::Value (*)(const Napi::CallbackInfo&);
template <Function function> void define(Napi::Env env, Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New(env, [](const Napi::CallbackInfo& info) -> Napi::Value {
    try {
      return function(info);
    } catch (const Napi::Error&) {
      throw;
    } catch (...) {
      const Failure failure = failure_of(std::current_exception());
      throw to_js(info.Env(), failure.code, failure.what);
    }
  }, name));
}

// Handles: objects that hold shared ownership of T until they are disposed or collected. Each T has its own tag, so a wrong handle is told.
template <class T> struct Tag;  // struct { static constexpr napi_type_tag value; static constexpr const char* name; }
template <class T> struct Held { std::shared_ptr<T> value; int64_t bytes; };

template <class T> Napi::Object make_handle(Napi::Env env, std::shared_ptr<T> value, int64_t bytes = 0) {
  Napi::Object handle = Napi::Object::New(env);
  auto* held = new Held<T>{std::move(value), bytes};
  const auto finalize = [](napi_env env, void* data, void*) {
    auto* h = static_cast<Held<T>*>(data);
    if (h->bytes) Napi::MemoryManagement::AdjustExternalMemory(env, -h->bytes);
    delete h;
  };
  if (napi_wrap(env, handle, held, finalize, nullptr, nullptr) != napi_ok || napi_type_tag_object(env, handle, &Tag<T>::value) != napi_ok) throw Napi::Error::New(env);
  if (bytes) Napi::MemoryManagement::AdjustExternalMemory(env, bytes);
  return handle;
}
template <class T> Held<T>* held_in(Napi::Value value) {
  bool matches = false;
  if (!value.IsObject() || napi_check_object_type_tag(value.Env(), value, &Tag<T>::value, &matches) != napi_ok || !matches) return nullptr;
  void* held = nullptr;
  return napi_unwrap(value.Env(), value, &held) == napi_ok ? static_cast<Held<T>*>(held) : nullptr;
}
template <class T> std::shared_ptr<T> get_handle(Napi::Value value) {
  Held<T>* held = held_in<T>(value);
  if (!held) throw to_js(value.Env(), "USAGE", std::string("this is not a handle of ") + Tag<T>::name);
  if (!held->value) throw to_js(value.Env(), "DISPOSED", std::string(Tag<T>::name) + " was disposed");
  return held->value;
}
// Lets go of the memory now; true if the value was a handle of T. Disposing twice does nothing.
template <class T> bool dispose_handle(Napi::Value value) {
  Held<T>* held = held_in<T>(value);
  if (!held) return false;
  if (held->bytes) Napi::MemoryManagement::AdjustExternalMemory(value.Env(), -std::exchange(held->bytes, 0));
  held->value.reset();
  return true;
}

// Arguments, each told by name when it is of the wrong kind.
inline int64_t integer(Napi::Value value, const char* name) {
  const double x = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : 0.5;
  if (!(x >= -9007199254740991.0 && x <= 9007199254740991.0) || x != static_cast<double>(static_cast<int64_t>(x))) throw to_js(value.Env(), "USAGE", std::string(name) + " must be a whole number");
  return static_cast<int64_t>(x);
}
// A number of threads from 1 to `most`; undefined for all cores. why: why no more, for the message.
inline int threads_of(Napi::Value value, int most, const char* why = "") {
  if (value.IsUndefined()) return available_threads();
  const int64_t threads = integer(value, "threads");
  if (threads < 1 || threads > most)
    throw Error(ErrorCode::argument, "threads must be between 1 and " + std::to_string(most) + why + ", or left out for all cores; got " + std::to_string(threads));
  return static_cast<int>(threads);
}
inline double number(Napi::Value value, const char* name) {
  if (!value.IsNumber()) throw to_js(value.Env(), "USAGE", std::string(name) + " must be a number");
  return value.As<Napi::Number>().DoubleValue();
}
inline std::string text(Napi::Value value, const char* name) {
  if (!value.IsString()) throw to_js(value.Env(), "USAGE", std::string(name) + " must be a string");
  return value.As<Napi::String>().Utf8Value();
}
// The bytes of a typed array; they belong to JavaScript. Memory that other threads may write to meanwhile is refused: what was checked must stay so.
struct Bytes { uint8_t* data; size_t size; };
inline Bytes bytes(Napi::Value value, const char* name) {
  if (!value.IsTypedArray()) throw to_js(value.Env(), "USAGE", std::string(name) + " must be a typed array");
  const auto array = value.As<Napi::TypedArray>();
  napi_value buffer = nullptr;
  void* data = nullptr;
  bool own = false;
  if (napi_get_typedarray_info(value.Env(), value, nullptr, nullptr, &data, &buffer, nullptr) != napi_ok || napi_is_arraybuffer(value.Env(), buffer, &own) != napi_ok || !own)
    throw to_js(value.Env(), "USAGE", std::string(name) + " must not be in memory that is shared between threads");
  return {static_cast<uint8_t*>(data), array.ByteLength()};
}
// The elements of a typed array of one kind: napi_float32_array and float, ...
template <class T> struct Elements { T* data; size_t size; };
template <class T> Elements<T> elements(Napi::Value value, napi_typedarray_type kind, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != kind) throw to_js(value.Env(), "USAGE", std::string(name) + " is a typed array of the wrong kind");
  const Bytes b = bytes(value, name);
  return {reinterpret_cast<T*>(b.data), b.size / sizeof(T)};
}

// Calls that wait for each other: one at a time, in the order they were made. Those that wait hold no thread of libuv's pool, which reads files too.
// Used on the main thread only.
class Calls {
 public:
  void add(Napi::AsyncWorker* call) {
    if (std::exchange(busy_, true)) waiting_.push_back(call);
    else call->Queue();
  }
  void next() {
    busy_ = !waiting_.empty();
    if (!busy_) return;
    waiting_.front()->Queue();
    waiting_.pop_front();
  }

 private:
  bool busy_ = false;
  std::deque<Napi::AsyncWorker*> waiting_;
};

// Runs `work` (no JavaScript in it) on a thread of libuv's pool, then `finish(env, result)` back on the main thread; a promise of what that returns.
// With `calls` it waits for those before it.
template <class Work, class Finish> class Task : public Napi::AsyncWorker {
 public:
  Task(Napi::Env env, Work work, Finish finish, std::shared_ptr<Calls> calls)
      : Napi::AsyncWorker(env), deferred(Napi::Promise::Deferred::New(env)), work_(std::move(work)), finish_(std::move(finish)), calls_(std::move(calls)) {}
  void start() { calls_ ? calls_->add(this) : Queue(); }
  void Execute() override {
    try {
      result_ = std::make_unique<Result>(work_());
    } catch (...) {
      failure_ = failure_of(std::current_exception());
    }
  }
  void OnOK() override {
    Napi::HandleScope scope(Env());
    if (calls_) calls_->next();
    if (!result_) return deferred.Reject(to_js(Env(), failure_.code, failure_.what).Value());
    try {
      deferred.Resolve(finish_(Env(), *result_));
    } catch (const Napi::Error& e) {
      deferred.Reject(e.Value());
    } catch (...) {
      const Failure failure = failure_of(std::current_exception());
      deferred.Reject(to_js(Env(), failure.code, failure.what).Value());
    }
  }
  Napi::Promise::Deferred deferred;

 private:
  using Result = decltype(std::declval<Work>()());
  Work work_;
  Finish finish_;
  std::shared_ptr<Calls> calls_;
  std::unique_ptr<Result> result_;
  Failure failure_{"INTERNAL", ""};
};
template <class Work, class Finish> Napi::Value async(Napi::Env env, Work work, Finish finish, std::shared_ptr<Calls> calls = {}) {
  auto* task = new Task<Work, Finish>(env, std::move(work), std::move(finish), std::move(calls));
  Napi::Promise promise = task->deferred.Promise();
  task->start();
  return promise;
}

}  // namespace nichelm::binding
