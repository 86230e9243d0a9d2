// Training and encoding of made-up text: words of English-like length, frequencies by Zipf's law with a long tail of rare ones, some punctuation and digits.
#include "benchmark/benchmark.h"

#include <cmath>
#include <random>

#include "text/tokenizer.h"
#include "text/trainer.h"

namespace nichelm::text {
namespace {

using benchmark::Result;

constexpr size_t kBytes = 16u << 20, kDocumentBytes = 4000, kWords = 100000, kVocabulary = 32000;

std::vector<std::string> documents() {
  std::mt19937 random(1);
  std::vector<std::string> words(kWords);
  for (size_t w = 0; w < kWords; ++w) {
    const size_t length = 1 + random() % 4 + static_cast<size_t>(std::log2(2.0 + static_cast<double>(w)) / 3);
    for (size_t i = 0; i < length; ++i) words[w] += "etaoinshrdlucmfwypvbgkjqxz"[std::min(random() % 26, random() % 26)];
  }
  std::vector<std::string> all;
  for (size_t bytes = 0; bytes < kBytes; bytes += all.back().size()) {
    std::string text;
    while (text.size() < kDocumentBytes) {
      const double uniform = std::ldexp(static_cast<double>(random()), -32);
      text += words[static_cast<size_t>(std::pow(static_cast<double>(kWords), uniform)) - 1];  // density of rank r like 1 / r
      const uint32_t what = random() % 64;
      text += what < 6 ? ", " : what < 10 ? ".\n" : what < 12 ? "'s " : " ";
      if (what == 12) text += std::to_string(random() % 2000) += ' ';
    }
    all.push_back(std::move(text));
  }
  return all;
}

std::vector<Result> run(Cpu& device) {
  const std::vector<std::string> texts = documents();
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  double bytes = 0;
  for (const auto& text : texts) bytes += static_cast<double>(text.size());
  const std::string shape = std::to_string(static_cast<int>(bytes / 1e6)) + " MB";
  const auto result = [&](const char* what, double seconds) { return Result{"tokenizer", what, shape, "utf8", seconds, 0, 0, bytes / seconds}; };
  std::vector<Result> results;
  results.push_back(result("count words", benchmark::fastest([&] { Trainer(device.threads()).add(views); })));
  Trainer trainer(device.threads());
  trainer.add(views);
  TrainedVocabulary v;
  results.push_back(result("learn 32000 tokens from the counts", benchmark::fastest([&] { v = trainer.train({kVocabulary, 2, {"<|endoftext|>"}}); })));
  const Tokenizer tokenizer(v.tokens, v.byte_ids, v.merges, {{"<|endoftext|>", 0, true, false}});
  EncodedBatch batch;
  results.push_back(result("encode", benchmark::fastest([&] { batch = tokenizer.encode(views, false, device.threads()); })));
  results.push_back(result("decode", benchmark::fastest([&] { tokenizer.decode(batch.ids); })));
  return results;
}

const benchmark::Register tokenizer("tokenizer", run);

}  // namespace
}  // namespace nichelm::text
