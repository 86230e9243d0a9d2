// Latent semantic indexing (Deerwester et al. 1990): windows as weighted words, projected on the directions that vary most, at unit length.
//   value[w, t] = (1 + log count) idf[t],   idf[t] = 1 + log((1 + windows) / (1 + windows with t)),   rows at unit length
//   embedding[w] = value[w] V / |value[w] V|,   V the leading right singular vectors of the sample's values
// V by randomized SVD with subspace iterations (Halko, Martinsson & Tropp 2011, arXiv 0909.4061, algorithms 4.4 and 5.1).
#pragma once
#include <span>
#include <string_view>

#include "cluster/words.h"
#include "runtime/cpu.h"

namespace nichelm::cluster {

constexpr int64_t kMostDimensions = 65536;

struct LsiOptions {
  int64_t dimensions = 128;
  int64_t terms = 50000;        // the most frequent words, by windows that have them
  int64_t iterations = 4;       // of the subspace
  int64_t oversampling = 16;    // further directions that are followed and then dropped
  uint64_t seed = 0;
  std::string_view stop_words = {};  // separated by blanks: no terms
};

struct Lsi {
  std::vector<uint32_t> terms;     // hashes, ascending
  std::vector<float> idf;          // (terms)
  std::vector<float> projection;   // (terms, dimensions); columns beyond the sample's rank are zero
  std::vector<double> singular;    // (dimensions), descending
};

// Learns terms, weights and projection from a sample of windows. Throws ErrorCode::data if it has no words.
Lsi fit_lsi(Cpu& device, const Windows& sample, const TokenText& text, const LsiOptions& options);

struct LsiView {
  std::span<const uint32_t> terms;
  std::span<const float> idf, projection;
  int64_t dimensions;
};
// embeddings (windows, dimensions); a window without any of the terms gets zeros.
void embed_lsi(Cpu& device, const LsiView& lsi, const Windows& windows, const TokenText& text, float* embeddings);

}  // namespace nichelm::cluster
