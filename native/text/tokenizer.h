// A tokenizer: byte-pair encoding with the tokens that stand outside of it, for many documents on many threads.
#pragma once
#include <mutex>
#include <string>

#include "runtime/pool.h"
#include "text/bpe.h"

namespace nichelm::text {

// A token that is looked for in the text itself, before pre-tokenization.
struct AddedToken {
  std::string content;
  uint32_t id;
  bool special;     // looked for only where special tokens are asked for
  bool normalized;  // the Hugging Face library looks for these after all others, in what is left
};

struct EncodedBatch {
  std::vector<uint32_t> ids;    // of all texts, one after the other
  std::vector<size_t> offsets;  // [texts + 1]: text i is ids[offsets[i], offsets[i + 1])
};

class Tokenizer {
 public:
  // `tokens`: the bytes each id stands for. Throws ErrorCode::argument if a rule or token speaks of an id outside of them.
  Tokenizer(std::vector<std::string> tokens, const std::array<uint32_t, 256>& byte_ids, std::span<const Merge> merges, std::vector<AddedToken> added);

  // Ids of each text, on `threads` threads; the same whatever their number. Long texts are shared between threads.
  // `special`: special tokens in the text become their ids; else they are text like any other.
  // Throws ErrorCode::data for invalid UTF-8, with the byte offset (and which text, if there is more than one).
  EncodedBatch encode(std::span<const std::string_view> texts, bool special, int threads) const;

  // The bytes of the ids, one after the other. Throws ErrorCode::argument for an id there is no token of.
  std::string decode(std::span<const uint32_t> ids) const;

  size_t size() const { return tokens_.size(); }

 private:
  struct Section;
  void cut(std::string_view text, bool special, size_t phase, std::vector<Section>& sections) const;

  std::vector<std::string> tokens_;
  Bpe bpe_;
  std::vector<AddedToken> added_;
  std::array<std::vector<uint32_t>, 256> by_first_byte_[2];  // not normalized, normalized; longest first
  struct Caches;
  mutable std::mutex caches_mutex_;
  mutable std::vector<std::unique_ptr<PieceCache>> free_caches_;  // of calls that are done, for the next ones
};

}  // namespace nichelm::text
