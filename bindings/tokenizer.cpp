// Tokenizer and its training: create, encode, decode, train, dispose. The types of arguments: bindings/tokenizer.ts.
#include "text/tokenizer.h"

#include <algorithm>

#include "common.h"
#include "text/trainer.h"

namespace nichelm::binding {

template <> struct Tag<text::Tokenizer> {
  static constexpr napi_type_tag value{0x6e6963686c6d746bu, 0x4f1c0d5e93b27a01u};
  static constexpr const char* name = "a tokenizer";
};
template <> struct Tag<text::Trainer> {
  static constexpr napi_type_tag value{0x6e6963686c6d7472u, 0x8a63e1b70c2d4f02u};
  static constexpr const char* name = "a tokenizer's training";
};

namespace {

constexpr int kMostThreads = 1024;

// Text of JavaScript as UTF-8: a string (lone surrogates become U+FFFD), or bytes.
std::string utf8(Napi::Value value) {
  if (value.IsString()) return value.As<Napi::String>().Utf8Value();
  if (value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array) {
    const Bytes b = bytes(value, "text");
    return {reinterpret_cast<const char*>(b.data), b.size};
  }
  throw to_js(value.Env(), "USAGE", "a text must be a string or a Uint8Array of UTF-8");
}

struct Texts {
  std::vector<std::string> held;
  std::vector<std::string_view> views;
};
std::shared_ptr<Texts> texts_of(Napi::Value value) {
  if (!value.IsArray()) throw to_js(value.Env(), "USAGE", "texts must be an array");
  const auto list = value.As<Napi::Array>();
  auto texts = std::make_shared<Texts>();
  const uint32_t count = list.Length();
  texts->held.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    Napi::HandleScope scope(value.Env());
    texts->held.push_back(utf8(list[i]));
  }
  texts->views.assign(texts->held.begin(), texts->held.end());
  return texts;
}

bool flag(Napi::Value value, const char* name) {
  if (!value.IsBoolean()) throw to_js(value.Env(), "USAGE", std::string(name) + " must be true or false");
  return value.As<Napi::Boolean>().Value();
}

Napi::Uint32Array array_of(Napi::Env env, const uint32_t* data, size_t size) {
  auto array = Napi::Uint32Array::New(env, size);
  std::copy_n(data, size, array.Data());
  return array;
}

// tokenizerCreate(bytes of all tokens, ends of each in it, ids of the 256 bytes, merges: left, right, merged, ..., added tokens: { content, id, special, normalized }) -> tokenizer
Napi::Value tokenizer_create(const Napi::CallbackInfo& info) {
  const Bytes blob = bytes(info[0], "tokens");
  const auto ends = elements<uint32_t>(info[1], napi_uint32_array, "ends");
  const auto byte_ids = elements<uint32_t>(info[2], napi_uint32_array, "byteIds");
  const auto merges = elements<uint32_t>(info[3], napi_uint32_array, "merges");
  if (!info[4].IsArray()) throw to_js(info.Env(), "USAGE", "added tokens must be an array");
  require(byte_ids.size == 256 && merges.size % 3 == 0, "tokenizer: 256 byte ids and three numbers for each merge are needed");
  std::vector<std::string> tokens;
  tokens.reserve(ends.size);
  size_t begin = 0;
  for (size_t i = 0; i < ends.size; begin = ends.data[i++]) {
    require(ends.data[i] >= begin && ends.data[i] <= blob.size, "tokenizer: the ends of tokens must rise and lie inside their bytes");
    tokens.emplace_back(reinterpret_cast<const char*>(blob.data) + begin, ends.data[i] - begin);
  }
  std::array<uint32_t, 256> ids_of_bytes;
  std::copy_n(byte_ids.data, 256, ids_of_bytes.begin());
  std::vector<text::Merge> rules(merges.size / 3);
  if (!rules.empty()) std::memcpy(rules.data(), merges.data, merges.size * sizeof(uint32_t));
  std::vector<text::AddedToken> added;
  const auto list = info[4].As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Value value = list[i];
    if (!value.IsObject()) throw to_js(info.Env(), "USAGE", "an added token must be an object");
    const auto token = value.As<Napi::Object>();
    const int64_t id = integer(token.Get("id"), "id");
    require(id >= 0 && id < static_cast<int64_t>(tokens.size()), "tokenizer: an added token has an id outside of the vocabulary");
    added.push_back({nichelm::binding::text(token.Get("content"), "content"), static_cast<uint32_t>(id), flag(token.Get("special"), "special"), flag(token.Get("normalized"), "normalized")});
  }
  const auto held = static_cast<int64_t>(blob.size + tokens.size() * sizeof(std::string) + rules.size() * 4 * sizeof(text::Merge) + sizeof(text::PieceCache::Slot) * 65536);
  return make_handle(info.Env(), std::make_shared<text::Tokenizer>(std::move(tokens), ids_of_bytes, rules, std::move(added)), held);
}

// tokenizerEncode(tokenizer, text, special) -> ids
Napi::Value tokenizer_encode(const Napi::CallbackInfo& info) {
  const auto tokenizer = get_handle<text::Tokenizer>(info[0]);
  const std::string text = utf8(info[1]);
  const std::string_view view = text;
  const auto ids = tokenizer->encode({&view, 1}, flag(info[2], "special"), 1).ids;
  return array_of(info.Env(), ids.data(), ids.size());
}

// tokenizerEncodeBatch(tokenizer, texts, special, threads) -> promise of an array of ids for each text, views of one buffer
Napi::Value tokenizer_encode_batch(const Napi::CallbackInfo& info) {
  const auto tokenizer = get_handle<text::Tokenizer>(info[0]);
  const auto texts = texts_of(info[1]);
  const bool special = flag(info[2], "special");
  const int threads = threads_of(info[3], kMostThreads);
  return async(info.Env(), [=] { return tokenizer->encode(texts->views, special, threads); }, [](Napi::Env env, text::EncodedBatch& batch) -> Napi::Value {
    const auto all = array_of(env, batch.ids.data(), batch.ids.size());
    const Napi::ArrayBuffer buffer = all.ArrayBuffer();
    const size_t count = batch.offsets.size() - 1;
    Napi::Array views = Napi::Array::New(env, count);
    for (uint32_t i = 0; i < count; ++i) {
      Napi::HandleScope scope(env);
      views.Set(i, Napi::Uint32Array::New(env, batch.offsets[i + 1] - batch.offsets[i], buffer, batch.offsets[i] * sizeof(uint32_t)));
    }
    return views;
  });
}

// tokenizerDecode(tokenizer, ids) -> bytes
Napi::Value tokenizer_decode(const Napi::CallbackInfo& info) {
  const auto tokenizer = get_handle<text::Tokenizer>(info[0]);
  const auto ids = elements<uint32_t>(info[1], napi_uint32_array, "ids");
  const std::string bytes = tokenizer->decode({ids.data, ids.size});
  return Napi::Buffer<char>::Copy(info.Env(), bytes.data(), bytes.size());
}

// trainerCreate(threads) -> training
Napi::Value trainer_create(const Napi::CallbackInfo& info) { return make_handle(info.Env(), std::make_shared<text::Trainer>(threads_of(info[0], kMostThreads))); }

// trainerAdd(training, texts) -> promise
Napi::Value trainer_add(const Napi::CallbackInfo& info) {
  const auto trainer = get_handle<text::Trainer>(info[0]);
  const auto texts = texts_of(info[1]);
  return async(info.Env(), [=] { trainer->add(texts->views); return true; }, [](Napi::Env env, bool) { return env.Undefined(); });
}

// trainerTrain(training, vocabulary size, minimum frequency, special tokens) -> promise of { tokens, ends, byteIds, merges } as tokenizerCreate takes them
Napi::Value trainer_train(const Napi::CallbackInfo& info) {
  const auto trainer = get_handle<text::Trainer>(info[0]);
  const int64_t size = integer(info[1], "vocabularySize"), minimum = integer(info[2], "minimumFrequency");
  require(size >= 0 && size <= (int64_t{1} << 30), "vocabularySize must be between 256 and 2^30");
  require(minimum >= 0, "minimumFrequency must not be negative");
  text::TrainingOptions options{static_cast<size_t>(size), static_cast<uint64_t>(minimum), texts_of(info[3])->held};
  return async(info.Env(), [=] { return trainer->train(options); }, [](Napi::Env env, text::TrainedVocabulary& v) -> Napi::Value {
    std::string blob;
    std::vector<uint32_t> ends;
    for (const std::string& token : v.tokens) {
      blob += token;
      ends.push_back(static_cast<uint32_t>(blob.size()));
    }
    static_assert(sizeof(text::Merge) == 3 * sizeof(uint32_t));
    Napi::Object result = Napi::Object::New(env);
    result.Set("tokens", Napi::Buffer<char>::Copy(env, blob.data(), blob.size()));
    result.Set("ends", array_of(env, ends.data(), ends.size()));
    result.Set("byteIds", array_of(env, v.byte_ids.data(), v.byte_ids.size()));
    result.Set("merges", array_of(env, reinterpret_cast<const uint32_t*>(v.merges.data()), 3 * v.merges.size()));
    return result;
  });
}

// tokenizerDispose(tokenizer or training)
Napi::Value tokenizer_dispose(const Napi::CallbackInfo& info) {
  if (!dispose_handle<text::Tokenizer>(info[0]) && !dispose_handle<text::Trainer>(info[0])) throw to_js(info.Env(), "USAGE", "this is not a handle of a tokenizer");
  return info.Env().Undefined();
}

}  // namespace

void export_tokenizer(Napi::Env env, Napi::Object exports) {
  define<tokenizer_create>(env, exports, "tokenizerCreate");
  define<tokenizer_encode>(env, exports, "tokenizerEncode");
  define<tokenizer_encode_batch>(env, exports, "tokenizerEncodeBatch");
  define<tokenizer_decode>(env, exports, "tokenizerDecode");
  define<trainer_create>(env, exports, "trainerCreate");
  define<trainer_add>(env, exports, "trainerAdd");
  define<trainer_train>(env, exports, "trainerTrain");
  define<tokenizer_dispose>(env, exports, "tokenizerDispose");
}

}  // namespace nichelm::binding
