// Embedding of windows and k-means. Arrays are copied when a call is made: JavaScript may do with its own what it likes meanwhile.
// The types of arguments: bindings/cluster.ts.
#include <algorithm>
#include <vector>

#include "cluster/kmeans.h"
#include "cluster/lsi.h"
#include "device.h"

namespace nichelm::binding {

using cluster::Lsi;
struct Embedder {
  Lsi lsi;
  int64_t dimensions;
};
template <> struct Tag<Embedder> {
  static constexpr napi_type_tag value{0x6e6963686c6d6c73u, 0x3b1f6a08d2e95c47u};
  static constexpr const char* name = "an embedder";
};

namespace {

template <class T> std::vector<T> copied(Napi::Value value, napi_typedarray_type kind, const char* name) {
  const auto e = elements<T>(value, kind, name);
  return {e.data, e.data + e.size};
}
std::vector<uint32_t> integers(Napi::Value value, const char* name) { return copied<uint32_t>(value, napi_uint32_array, name); }
std::vector<float> floats(Napi::Value value, const char* name) { return copied<float>(value, napi_float32_array, name); }

template <class Array, class T> Array array_of(Napi::Env env, const std::vector<T>& values) {
  auto array = Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

Napi::Object options_of(Napi::Value value) {
  if (!value.IsObject()) throw to_js(value.Env(), "USAGE", "options must be an object");
  return value.As<Napi::Object>();
}

// Windows and the bytes of their tokens, as four arguments: tokens, lengths, bytes, offsets.
struct WindowTexts {
  std::vector<uint32_t> tokens, lengths, offsets;
  std::vector<uint8_t> bytes;

  WindowTexts(const Napi::CallbackInfo& info, size_t first)
      : tokens(integers(info[first], "tokens")),
        lengths(integers(info[first + 1], "lengths")),
        offsets(integers(info[first + 3], "offsets")),
        bytes(copied<uint8_t>(info[first + 2], napi_uint8_array, "bytes")) {
    uint64_t sum = 0;
    for (const uint32_t n : lengths) sum += n;
    require(sum == tokens.size(), "windows: the lengths must sum to the number of tokens");
    require(!offsets.empty() && std::is_sorted(offsets.begin(), offsets.end()) && offsets.back() <= bytes.size(), "windows: the offsets of tokens must rise and lie inside their bytes");
  }
  cluster::Windows windows() const { return {tokens.data(), lengths.data(), static_cast<int64_t>(lengths.size())}; }
  cluster::TokenText text() const { return {bytes.data(), offsets.data(), static_cast<int64_t>(offsets.size()) - 1}; }
};

// lsiFit(device, tokens, lengths, bytes, offsets, { dimensions, terms, iterations, oversampling, seed, stopWords }) -> promise of { terms, idf, projection, singular }
Napi::Value lsi_fit(const Napi::CallbackInfo& info) {
  const auto device = get_handle<Device>(info[0]);
  auto texts = std::make_shared<WindowTexts>(info, 1);
  const Napi::Object given = options_of(info[5]);
  auto stop_words = std::make_shared<std::string>(text(given.Get("stopWords"), "stopWords"));
  cluster::LsiOptions options;
  options.dimensions = integer(given.Get("dimensions"), "dimensions");
  options.terms = integer(given.Get("terms"), "terms");
  options.iterations = integer(given.Get("iterations"), "iterations");
  options.oversampling = integer(given.Get("oversampling"), "oversampling");
  options.seed = static_cast<uint64_t>(integer(given.Get("seed"), "seed"));
  options.stop_words = *stop_words;
  return async(
      info.Env(),
      [device, texts, stop_words, options] {
        return cluster::fit_lsi(device->cpu, texts->windows(), texts->text(), options);
      },
      [](Napi::Env env, Lsi& lsi) -> Napi::Value {
        Napi::Object result = Napi::Object::New(env);
        result.Set("terms", array_of<Napi::Uint32Array>(env, lsi.terms));
        result.Set("idf", array_of<Napi::Float32Array>(env, lsi.idf));
        result.Set("projection", array_of<Napi::Float32Array>(env, lsi.projection));
        result.Set("singular", array_of<Napi::Float64Array>(env, lsi.singular));
        return result;
      },
      device->calls);
}

// lsiCreate(terms, idf, projection, dimensions) -> embedder
Napi::Value lsi_create(const Napi::CallbackInfo& info) {
  auto embedder = std::make_shared<Embedder>(Embedder{{integers(info[0], "terms"), floats(info[1], "idf"), floats(info[2], "projection"), {}}, integer(info[3], "dimensions")});
  const Lsi& lsi = embedder->lsi;
  require(embedder->dimensions >= 1 && embedder->dimensions <= cluster::kMostDimensions, "lsi: dimensions must be between 1 and 65536");
  require( lsi.idf.size() == lsi.terms.size() && lsi.projection.size() == lsi.terms.size() * static_cast<size_t>(embedder->dimensions),
          "lsi: there must be an idf for every term, and a row of `dimensions` of the projection");
  return make_handle(info.Env(), embedder, static_cast<int64_t>(4 * (lsi.terms.size() + lsi.idf.size() + lsi.projection.size())));
}

// lsiEmbed(device, embedder, tokens, lengths, bytes, offsets) -> promise of Float32Array [windows, dimensions]
Napi::Value lsi_embed(const Napi::CallbackInfo& info) {
  const auto device = get_handle<Device>(info[0]);
  const auto embedder = get_handle<Embedder>(info[1]);
  auto texts = std::make_shared<WindowTexts>(info, 2);
  return async(
      info.Env(),
      [device, embedder, texts] {
        const int64_t count = static_cast<int64_t>(texts->lengths.size()) * embedder->dimensions;
        require_memory(4 * count);
        std::vector<float> embeddings(static_cast<size_t>(count));
        const Lsi& lsi = embedder->lsi;
        cluster::embed_lsi(device->cpu, {lsi.terms, lsi.idf, lsi.projection, embedder->dimensions}, texts->windows(), texts->text(), embeddings.data());
        return embeddings;
      },
      [](Napi::Env env, std::vector<float>& embeddings) -> Napi::Value { return array_of<Napi::Float32Array>(env, embeddings); },
      device->calls);
}

Napi::Value lsi_dispose(const Napi::CallbackInfo& info) {
  if (!dispose_handle<Embedder>(info[0])) throw to_js(info.Env(), "USAGE", "this is not a handle of an embedder");
  return info.Env().Undefined();
}

struct Rows {
  std::vector<float> x;
  int64_t width, count;

  Rows(Napi::Value values, Napi::Value columns) : x(floats(values, "rows")), width(integer(columns, "width")) {
    require(width >= 1 && x.size() % static_cast<size_t>(width) == 0, "kmeans: the rows must fill a whole number of `width` columns");
    count = static_cast<int64_t>(x.size()) / width;
  }
};

// kmeansFit(device, rows, width, { clusters, seed, iterations, tolerance, restarts }) -> promise of { centroids, labels, inertia, iterations, reseeded }
Napi::Value kmeans_fit(const Napi::CallbackInfo& info) {
  const auto device = get_handle<Device>(info[0]);
  auto rows = std::make_shared<Rows>(info[1], info[2]);
  const Napi::Object given = options_of(info[3]);
  cluster::KmeansOptions options{};
  options.clusters = integer(given.Get("clusters"), "clusters");
  options.seed = static_cast<uint64_t>(integer(given.Get("seed"), "seed"));
  options.iterations = integer(given.Get("iterations"), "iterations");
  options.tolerance = number(given.Get("tolerance"), "tolerance");
  options.restarts = integer(given.Get("restarts"), "restarts");
  return async(
      info.Env(),
      [device, rows, options] {
        const auto lock = device->gpu ? std::unique_lock(device->gpu->lock) : std::unique_lock<std::mutex>();
        return cluster::kmeans(device->cpu, rows->x.data(), rows->count, rows->width, options, device->gpu ? device->gpu->device.get() : nullptr);
      },
      [](Napi::Env env, cluster::Kmeans& k) -> Napi::Value {
        Napi::Object result = Napi::Object::New(env);
        result.Set("centroids", array_of<Napi::Float32Array>(env, k.centroids));
        result.Set("labels", array_of<Napi::Int32Array>(env, k.labels));
        result.Set("inertia", k.inertia);
        result.Set("iterations", static_cast<double>(k.iterations));
        result.Set("reseeded", static_cast<double>(k.reseeded));
        return result;
      },
      device->calls);
}

struct Nearest { std::vector<int32_t> labels; std::vector<float> distances; };

// kmeansNearest(device, rows, width, centroids) -> promise of { labels, distances }
Napi::Value kmeans_nearest(const Napi::CallbackInfo& info) {
  const auto device = get_handle<Device>(info[0]);
  auto rows = std::make_shared<Rows>(info[1], info[2]);
  auto centroids = std::make_shared<Rows>(info[3], info[2]);
  return async(
      info.Env(),
      [device, rows, centroids] {
        Nearest found{std::vector<int32_t>(static_cast<size_t>(rows->count)), std::vector<float>(static_cast<size_t>(rows->count))};
        const auto lock = device->gpu ? std::unique_lock(device->gpu->lock) : std::unique_lock<std::mutex>();
        cluster::nearest(device->cpu, rows->x.data(), rows->count, rows->width, centroids->x.data(), centroids->count, found.labels.data(), found.distances.data(), device->gpu ? device->gpu->device.get() : nullptr);
        return found;
      },
      [](Napi::Env env, Nearest& found) -> Napi::Value {
        Napi::Object result = Napi::Object::New(env);
        result.Set("labels", array_of<Napi::Int32Array>(env, found.labels));
        result.Set("distances", array_of<Napi::Float32Array>(env, found.distances));
        return result;
      },
      device->calls);
}

}  // namespace

void export_cluster(Napi::Env env, Napi::Object exports) {
  define<lsi_fit>(env, exports, "lsiFit");
  define<lsi_create>(env, exports, "lsiCreate");
  define<lsi_embed>(env, exports, "lsiEmbed");
  define<lsi_dispose>(env, exports, "lsiDispose");
  define<kmeans_fit>(env, exports, "kmeansFit");
  define<kmeans_nearest>(env, exports, "kmeansNearest");
}

}  // namespace nichelm::binding
