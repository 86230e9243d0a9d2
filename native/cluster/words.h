// The words of a window's bytes, as hashes: runs of letters and digits, lowercased, of two characters or more; in scripts that are
// written without spaces between words (Han, kana), pairs of neighbouring characters.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace nichelm::cluster {

// Windows by their tokens, one behind the other.
struct Windows {
  const uint32_t* tokens;
  const uint32_t* lengths;  // (count)
  int64_t count;
};
// What tokens stand for: token t is bytes[offsets[t], offsets[t + 1]).
struct TokenText {
  const uint8_t* bytes;
  const uint32_t* offsets;  // (vocabulary + 1)
  int64_t vocabulary;
};

// Throws if a token is not in the vocabulary. Gives where each window's tokens begin, and their end: (count + 1).
std::vector<int64_t> checked_offsets(const Windows& windows, const TokenText& text);

// Appends the hashes of the words of a text, in its order. Bytes that are not UTF-8 (a window may begin within a character) separate words.
void append_words(const uint8_t* text, const uint8_t* end, std::vector<uint32_t>& words);
inline void append_words(std::string_view text, std::vector<uint32_t>& words) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  append_words(bytes, bytes + text.size(), words);
}

// The distinct words of one window, ascending, and how often each occurs. Keeps its memory from window to window.
class WordCounter {
 public:
  void count(const uint32_t* tokens, int64_t length, const TokenText& text);
  const std::vector<uint32_t>& words() const { return distinct_; }
  const std::vector<uint32_t>& counts() const { return counts_; }

 private:
  std::vector<uint8_t> bytes_;
  std::vector<uint32_t> all_, distinct_, counts_;
};

}  // namespace nichelm::cluster
