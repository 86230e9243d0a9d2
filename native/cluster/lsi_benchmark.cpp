// Windows of 256 tokens of made-up text to vectors by latent semantic indexing; bytes of text a second. First the fit on a sample, of which only the time counts.
#include "benchmark/benchmark.h"
#include "benchmark/made_up_text.h"
#include "cluster/lsi.h"
#include "text/tokenizer.h"
#include "text/trainer.h"

namespace nichelm::cluster {
namespace {

using benchmark::Result;

constexpr size_t kBytes = 8u << 20, kVocabulary = 8192;
constexpr uint32_t kWindow = 256;
constexpr int64_t kSample = 2000;

// Tokens in windows, and what each stands for.
struct Corpus {
  std::vector<uint32_t> tokens, lengths, offsets{0};
  std::string bytes;
  double text_bytes = 0;

  explicit Corpus(int threads) {
    const std::vector<std::string> texts = benchmark::made_up_text(kBytes);
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    text::Trainer trainer(threads);
    trainer.add(views);
    const text::TrainedVocabulary v = trainer.train({kVocabulary, 2, {}});
    for (const std::string& token : v.tokens) bytes += token, offsets.push_back(static_cast<uint32_t>(bytes.size()));
    tokens = text::Tokenizer(v.tokens, v.byte_ids, v.merges, {}).encode(views, false, threads).ids;
    tokens.resize(tokens.size() / kWindow * kWindow);
    lengths.assign(tokens.size() / kWindow, kWindow);
    for (const uint32_t token : tokens) text_bytes += offsets[token + 1] - offsets[token];
  }
  int64_t windows() const { return static_cast<int64_t>(lengths.size()); }
  Windows first(int64_t count) const { return {tokens.data(), lengths.data(), count}; }
  TokenText text() const { return {reinterpret_cast<const uint8_t*>(bytes.data()), offsets.data(), static_cast<int64_t>(offsets.size()) - 1}; }
};

std::vector<Result> measure(Cpu& device) {
  const Corpus corpus(device.threads());
  std::vector<Result> results;
  for (const int64_t dimensions : {128, 384}) {
    const std::string size = std::to_string(dimensions) + " dimensions";
    const auto result = [&](std::string what, int64_t windows, double seconds, double bytes) {
      results.push_back({"lsi", std::move(what), std::to_string(windows) + " windows", "utf8", seconds, 0, 0, bytes / seconds});
    };
    const double began = benchmark::now();
    const Lsi lsi = fit_lsi(device, corpus.first(kSample), corpus.text(), {.dimensions = dimensions});
    result("fit, " + size, kSample, benchmark::now() - began, 0);
    std::vector<float> embeddings(static_cast<size_t>(corpus.windows() * dimensions));
    const double seconds = benchmark::fastest([&] { embed_lsi(device, {lsi.terms, lsi.idf, lsi.projection, dimensions}, corpus.first(corpus.windows()), corpus.text(), embeddings.data()); });
    result("embed, " + size, corpus.windows(), seconds, corpus.text_bytes);
  }
  return results;
}

const benchmark::Register registered("lsi", measure);

}  // namespace
}  // namespace nichelm::cluster
