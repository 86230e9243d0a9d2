#include "cluster/lsi.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "cluster/eigen.h"
#include "cluster/sparse.h"
#include "cluster/splitmix.h"
#include "runtime/arena.h"

namespace nichelm::cluster {
namespace {

constexpr int64_t kWindowsAtOnce = 64;
constexpr int64_t kShards = 64;  // of the hashes, by their first bits: what document frequencies are counted in

// The words of all windows: window w has word[i], count[i] times, for offset[w] <= i < offset[w + 1]; ascending.
struct Counts {
  std::vector<int64_t> offset;
  std::vector<uint32_t> word, count;
};

Counts count_words(Cpu& device, const Windows& windows, const TokenText& text) {
  const std::vector<int64_t> first = checked_offsets(windows, text);
  const int64_t tasks = (windows.count + kWindowsAtOnce - 1) / kWindowsAtOnce;
  struct Part { std::vector<uint32_t> word, count; std::vector<int64_t> length; };
  std::vector<Part> parts(static_cast<size_t>(tasks));
  std::vector<WordCounter> counters(static_cast<size_t>(device.threads()));
  device.each(tasks, [&](int64_t task, int thread) {
    Part& part = parts[static_cast<size_t>(task)];
    WordCounter& counter = counters[static_cast<size_t>(thread)];
    for (int64_t w = task * kWindowsAtOnce; w < std::min(windows.count, (task + 1) * kWindowsAtOnce); ++w) {
      counter.count(windows.tokens + first[w], windows.lengths[w], text);
      part.word.insert(part.word.end(), counter.words().begin(), counter.words().end());
      part.count.insert(part.count.end(), counter.counts().begin(), counter.counts().end());
      part.length.push_back(static_cast<int64_t>(counter.words().size()));
    }
  });
  Counts counts{{0}, {}, {}};
  for (Part& part : parts) {
    counts.word.insert(counts.word.end(), part.word.begin(), part.word.end());
    counts.count.insert(counts.count.end(), part.count.begin(), part.count.end());
    for (const int64_t length : part.length) counts.offset.push_back(counts.offset.back() + length);
    part = {};
  }
  return counts;
}

struct Frequency { uint32_t word; int64_t windows; };

// In how many windows each word is. Words are ascending within a window, so those of one shard lie together.
std::vector<Frequency> window_frequencies(Cpu& device, const Counts& counts) {
  const int64_t windows = static_cast<int64_t>(counts.offset.size()) - 1;
  std::vector<std::vector<Frequency>> shards(kShards);
  device.each(kShards, [&](int64_t shard, int) {
    const uint64_t low = (uint64_t{1} << 32) / kShards * static_cast<uint64_t>(shard), high = low + (uint64_t{1} << 32) / kShards;
    std::vector<uint32_t> words;
    for (int64_t w = 0; w < windows; ++w) {
      const uint32_t *end = counts.word.data() + counts.offset[w + 1];
      for (const uint32_t* p = std::lower_bound(counts.word.data() + counts.offset[w], end, low); p < end && *p < high; ++p) words.push_back(*p);
    }
    std::sort(words.begin(), words.end());
    auto& frequencies = shards[static_cast<size_t>(shard)];
    for (size_t i = 0, j; i < words.size(); i = j) {
      for (j = i; j < words.size() && words[j] == words[i];) ++j;
      frequencies.push_back({words[i], static_cast<int64_t>(j - i)});
    }
  });
  std::vector<Frequency> all;
  for (const auto& shard : shards) all.insert(all.end(), shard.begin(), shard.end());
  return all;
}

// The most frequent words that are no stop words; words of one window only if there are no others. Ascending by hash.
std::vector<Frequency> choose_terms(std::vector<Frequency> frequencies, const LsiOptions& options) {
  std::vector<uint32_t> stop;
  append_words(options.stop_words, stop);
  std::sort(stop.begin(), stop.end());
  std::erase_if(frequencies, [&](const Frequency& f) { return std::binary_search(stop.begin(), stop.end(), f.word); });
  if (std::any_of(frequencies.begin(), frequencies.end(), [](const Frequency& f) { return f.windows > 1; }))
    std::erase_if(frequencies, [](const Frequency& f) { return f.windows == 1; });
  if (frequencies.empty()) fail(ErrorCode::data, "there are no words in the text that clusters could be made from");
  std::sort(frequencies.begin(), frequencies.end(), [](const Frequency& a, const Frequency& b) { return a.windows != b.windows ? a.windows > b.windows : a.word < b.word; });
  if (static_cast<int64_t>(frequencies.size()) > options.terms) frequencies.resize(static_cast<size_t>(options.terms));
  std::sort(frequencies.begin(), frequencies.end(), [](const Frequency& a, const Frequency& b) { return a.word < b.word; });
  return frequencies;
}

// Where a word stands among the terms: a hash table with linear probing.
class TermIndex {
 public:
  explicit TermIndex(std::span<const uint32_t> terms) : terms_(terms) {
    uint32_t slots = 64;
    while (slots < 2 * terms.size()) slots *= 2;
    mask_ = slots - 1;
    slots_.assign(slots, -1);
    for (size_t t = 0; t < terms.size(); ++t) {
      uint32_t at = terms[t] & mask_;
      while (slots_[at] >= 0) at = (at + 1) & mask_;
      slots_[at] = static_cast<int32_t>(t);
    }
  }
  int32_t operator[](uint32_t word) const {
    for (uint32_t at = word & mask_; slots_[at] >= 0; at = (at + 1) & mask_)
      if (terms_[static_cast<size_t>(slots_[at])] == word) return slots_[at];
    return -1;
  }

 private:
  std::span<const uint32_t> terms_;
  std::vector<int32_t> slots_;
  uint32_t mask_;
};

// Appends a window's row of weighted terms, at unit length.
void append_row(Sparse& rows, const TermIndex& index, std::span<const float> idf, const uint32_t* words, const uint32_t* counts, int64_t n) {
  const size_t first = rows.value.size();
  double squares = 0;
  for (int64_t i = 0; i < n; ++i)
    if (const int32_t term = index[words[i]]; term >= 0) {
      const float value = (1 + std::log(static_cast<float>(counts[i]))) * idf[static_cast<size_t>(term)];
      rows.column.push_back(term);
      rows.value.push_back(value);
      squares += static_cast<double>(value) * value;
    }
  for (size_t i = first; i < rows.value.size(); ++i) rows.value[i] *= static_cast<float>(1 / std::sqrt(squares));
  rows.offset.push_back(static_cast<int64_t>(rows.value.size()));
}

// Normal deviates by Box and Muller's method.
std::vector<float> random_directions(int64_t count, uint64_t seed) {
  std::vector<float> x(static_cast<size_t>(count));
  Splitmix random(seed);
  for (float& v : x) {
    const double radius = std::sqrt(-2 * std::log(1 - random.uniform()));
    v = static_cast<float>(radius * std::cos(2 * std::numbers::pi * random.uniform()));
  }
  return x;
}

// Leading right singular vectors of a, as the projection (columns of a, dimensions), and the singular values.
void randomized_svd(Cpu& device, const Sparse& a, const LsiOptions& options, Lsi& lsi) {
  const int64_t rows = a.rows(), terms = a.columns, dimensions = options.dimensions, width = dimensions + options.oversampling;
  require_memory(4 * width * (terms + rows + std::max(rows, terms)) + 24 * width * width);
  const Sparse at = transposed(a);
  std::vector<float> z = random_directions(terms * width, options.seed), y(static_cast<size_t>(rows * width)), scratch(static_cast<size_t>(std::max(rows, terms) * width));
  for (int64_t iteration = 0; iteration <= options.iterations; ++iteration) {
    multiply(device, a, z.data(), y.data(), width);
    orthonormalise(device, y.data(), scratch.data(), rows, width);
    if (iteration == options.iterations) orthonormalise(device, y.data(), scratch.data(), rows, width);  // once more, to the last bits
    multiply(device, at, y.data(), z.data(), width);
  }
  // z = aᵀ q, (terms, width); a ≈ q zᵀ, so the right singular vectors of zᵀ are a's: with zᵀ z = u s² uᵀ they are z u / s.
  const Eigen eigen = eigen_symmetric(gram(device, z.data(), terms, width), width);
  std::vector<float> rotation(static_cast<size_t>(width * dimensions));
  lsi.singular.assign(static_cast<size_t>(dimensions), 0);
  for (int64_t j = 0; j < dimensions; ++j) {
    if (!(eigen.values[j] > 1e-10 * eigen.values[0])) continue;
    lsi.singular[j] = std::sqrt(eigen.values[j]);
    for (int64_t i = 0; i < width; ++i) rotation[i * dimensions + j] = static_cast<float>(eigen.vectors[i * width + j] / lsi.singular[j]);
  }
  lsi.projection.resize(static_cast<size_t>(terms * dimensions));
  multiply_dense(device, z.data(), rotation.data(), lsi.projection.data(), terms, width, dimensions);
}

}  // namespace

Lsi fit_lsi(Cpu& device, const Windows& sample, const TokenText& text, const LsiOptions& options) {
  require(options.dimensions >= 1 && options.terms >= 1 && options.iterations >= 0 && options.oversampling >= 0, "lsi: dimensions and terms must be positive, iterations and oversampling not negative");
  require(options.dimensions <= kMostDimensions && options.oversampling <= kMostDimensions && options.iterations <= 1000, "lsi: there may be 65536 dimensions, as many more of oversampling, and 1000 iterations at most");
  const Counts counts = count_words(device, sample, text);
  Lsi lsi;
  for (const auto& [word, windows] : choose_terms(window_frequencies(device, counts), options)) {
    lsi.terms.push_back(word);
    lsi.idf.push_back(static_cast<float>(1 + std::log((1.0 + static_cast<double>(sample.count)) / (1.0 + static_cast<double>(windows)))));
  }
  const TermIndex index(lsi.terms);
  Sparse values;
  values.columns = static_cast<int64_t>(lsi.terms.size());
  for (int64_t w = 0; w < sample.count; ++w) append_row(values, index, lsi.idf, counts.word.data() + counts.offset[w], counts.count.data() + counts.offset[w], counts.offset[w + 1] - counts.offset[w]);
  randomized_svd(device, values, options, lsi);
  return lsi;
}

void embed_lsi(Cpu& device, const LsiView& lsi, const Windows& windows, const TokenText& text, float* embeddings) {
  require(lsi.dimensions >= 1 && lsi.idf.size() == lsi.terms.size() && lsi.projection.size() == lsi.terms.size() * static_cast<size_t>(lsi.dimensions),
          "lsi: idf must hold a value for every term, projection a row of `dimensions`");
  const Kernels& kernels = kernels_for(device.isa());
  const std::vector<int64_t> first = checked_offsets(windows, text);
  const TermIndex index(lsi.terms);
  struct Own { WordCounter counter; Sparse row; };
  std::vector<Own> own(static_cast<size_t>(device.threads()));
  device.each((windows.count + kWindowsAtOnce - 1) / kWindowsAtOnce, [&](int64_t task, int thread) {
    auto& [counter, row] = own[static_cast<size_t>(thread)];
    for (int64_t w = task * kWindowsAtOnce; w < std::min(windows.count, (task + 1) * kWindowsAtOnce); ++w) {
      counter.count(windows.tokens + first[w], windows.lengths[w], text);
      row.offset.assign(1, 0), row.column.clear(), row.value.clear();
      append_row(row, index, lsi.idf, counter.words().data(), counter.counts().data(), static_cast<int64_t>(counter.words().size()));
      float* out = embeddings + w * lsi.dimensions;
      kernels.sparse_rows({row.offset.data(), row.column.data(), row.value.data()}, lsi.projection.data(), out, lsi.dimensions, 0, 1);
      kernels.normalise(out, 1, lsi.dimensions);
    }
  });
}

}  // namespace nichelm::cluster
