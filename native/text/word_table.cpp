#include <cstring>

#include "text/pretokenize.h"
#include "text/trainer.h"

namespace nichelm::text {
namespace {

// Longer pieces (a megabyte of letters without a space) are counted in parts, so that the work of a merge stays bounded. They teach nothing anyway.
constexpr size_t kLongestWord = 4096;

}  // namespace

uint64_t WordTable::hash_of(std::string_view word) {
  uint64_t hash = word.size() * 0x9e3779b97f4a7c15u, chunk = 0;
  const auto mix = [&] { hash = (hash ^ chunk) * 0xd6e8feb86659fd93u, hash ^= hash >> 32; };
  size_t i = 0;
  for (; i + 8 <= word.size(); i += 8) std::memcpy(&chunk, word.data() + i, 8), mix();
  chunk = 0;
  if (i < word.size()) std::memcpy(&chunk, word.data() + i, word.size() - i), mix();
  return hash * 0x9e3779b97f4a7c15u;
}

void WordTable::add(std::string_view word, uint64_t count, uint64_t hash) {
  if (2 * words_.size() >= slots_.size()) grow();
  for (size_t at = hash >> 20;; ++at) {
    uint32_t& slot = slots_[at & (slots_.size() - 1)];
    if (slot == 0) {
      words_.push_back({hash, count, characters_.size(), word.size()});
      characters_.insert(characters_.end(), word.begin(), word.end());
      slot = static_cast<uint32_t>(words_.size());
      return;
    }
    Word& known = words_[slot - 1];
    if (known.hash == hash && bytes_of(known) == word) {
      known.count += count;
      return;
    }
  }
}

void WordTable::grow() {
  slots_.assign(slots_.empty() ? size_t{1} << 16 : 2 * slots_.size(), 0);
  for (uint32_t i = 0; i < words_.size(); ++i) {
    size_t at = words_[i].hash >> 20;
    while (slots_[at & (slots_.size() - 1)] != 0) ++at;
    slots_[at & (slots_.size() - 1)] = i + 1;
  }
}

void WordTable::add(const WordTable& other) {
  for (const Word& word : other.words_) add(other.bytes_of(word), word.count, word.hash);
}

void WordTable::add_text(std::string_view text) {
  const char* const end = text.data() + text.size();
  for (const char* piece = text.data(); piece < end;) {
    const char* next = next_piece(piece, end);
    if (next - piece > static_cast<ptrdiff_t>(kLongestWord)) {
      next = piece + kLongestWord;
      while ((static_cast<unsigned char>(*next) & 0xc0) == 0x80) --next;  // not inside a character
    }
    add({piece, static_cast<size_t>(next - piece)}, 1);
    piece = next;
  }
}

}  // namespace nichelm::text
