// Training of byte-pair encoding: words are counted on all cores, then the most frequent pair of neighbours becomes a token, again and again.
// The result is a function of the text alone: not of its order, nor of the number of threads.
#pragma once
#include <array>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/merge_table.h"

namespace nichelm::text {

// How often each word (piece of pre-tokenization) occurs.
class WordTable {
 public:
  struct Word { uint64_t hash, count, offset, bytes; };
  void add(std::string_view word, uint64_t count) { add(word, count, hash_of(word)); }
  void add(const WordTable& other);
  void add_text(std::string_view text);  // valid UTF-8
  const std::vector<Word>& words() const { return words_; }
  std::string_view bytes_of(const Word& word) const { return {characters_.data() + word.offset, word.bytes}; }

 private:
  static uint64_t hash_of(std::string_view word);
  void add(std::string_view word, uint64_t count, uint64_t hash);
  void grow();
  std::vector<Word> words_;
  std::vector<uint32_t> slots_;  // place in words_ + 1; 0 is free
  std::vector<char> characters_;
};

struct TrainingOptions {
  size_t vocabulary_size;                // tokens at most, bytes and special tokens among them
  uint64_t minimum_frequency;            // pairs that occur less often do not become tokens
  std::vector<std::string> special;      // get the first ids; no merge ever makes one of them
};

struct TrainedVocabulary {
  std::vector<std::string> tokens;       // bytes of each id: special tokens, the 256 bytes in the order of their characters, merged tokens
  std::array<uint32_t, 256> byte_ids;
  std::vector<Merge> merges;             // in order of rank
};

class Trainer {
 public:
  explicit Trainer(int threads) : tables_(static_cast<size_t>(threads)) {}

  // Counts the words of the texts on all threads. Throws ErrorCode::data for invalid UTF-8, with text and byte offset; then nothing is counted.
  void add(std::span<const std::string_view> texts);

  // Ties between equally frequent pairs go to the lower left id, then the lower right id. Ends early when no pair is frequent enough.
  // Throws ErrorCode::argument if the vocabulary is too small for bytes and special tokens, ErrorCode::data if there was no text.
  TrainedVocabulary train(const TrainingOptions& options);

 private:
  std::mutex busy_;
  std::vector<WordTable> tables_;  // one for each thread
};

}  // namespace nichelm::text
