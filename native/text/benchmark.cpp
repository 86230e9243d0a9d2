// Training and encoding of made-up text.
#include "benchmark/benchmark.h"
#include "benchmark/made_up_text.h"
#include "text/tokenizer.h"
#include "text/trainer.h"

namespace nichelm::text {
namespace {

using benchmark::Result;

constexpr size_t kBytes = 16u << 20, kVocabulary = 32000;

std::vector<Result> run(Cpu& device) {
  const std::vector<std::string> texts = benchmark::made_up_text(kBytes);
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
