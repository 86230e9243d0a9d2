#include "cluster/words.h"

#include <algorithm>
#include <array>
#include <string>

#include "runtime/error.h"
#include "text/unicode.h"

namespace nichelm::cluster {
namespace {

using text::CharClass;

// Lower case by the simple rules of the scripts that have case and are common; others are compared as they stand.
constexpr uint32_t lowered(uint32_t c) {
  const auto in = [c](uint32_t first, uint32_t last) { return c >= first && c <= last; };
  if (in('A', 'Z')) return c + 32;
  if (c < 0xc0) return c;
  if (in(0xc0, 0xde)) return c == 0xd7 ? c : c + 32;
  if (c == 0x178) return 0xff;
  if (in(0x139, 0x148) || in(0x179, 0x17e)) return c + (c & 1);  // here capitals are odd
  if (in(0x100, 0x177) && c != 0x130 && c != 0x138) return c | 1;
  if (in(0x391, 0x3ab) && c != 0x3a2) return c + 32;             // Greek
  if (c == 0x386) return 0x3ac;
  if (in(0x388, 0x38a)) return c + 37;
  if (c == 0x38c) return 0x3cc;
  if (in(0x38e, 0x38f)) return c + 63;
  if (in(0x400, 0x40f)) return c + 80;                           // Cyrillic
  if (in(0x410, 0x42f)) return c + 32;
  if (in(0x460, 0x481) || in(0x48a, 0x4bf) || in(0x4d0, 0x52f)) return c | 1;
  if (in(0x531, 0x556)) return c + 48;                           // Armenian
  if (in(0x1e00, 0x1e95) || in(0x1ea0, 0x1eff)) return c | 1;    // Latin, Vietnamese among others
  if (in(0xff21, 0xff3a)) return c + 32;                         // full width
  return c;
}

constexpr bool without_spaces(uint32_t c) {
  return (c >= 0x3041 && c <= 0x30ff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x4e00 && c <= 0x9fff) || (c >= 0xf900 && c <= 0xfaff) || (c >= 0x20000 && c <= 0x3134f);
}

bool of_word(uint32_t c) {
  const CharClass kind = text::class_of(c);
  return kind == CharClass::letter || kind == CharClass::number;
}

// ASCII by table: the lower-case character, or 0 where no word goes on.
constexpr std::array<uint8_t, 128> kAscii = [] {
  std::array<uint8_t, 128> table{};
  for (uint32_t c = 0; c < 128; ++c)
    if ((c >= '0' && c <= '9') || (lowered(c) >= 'a' && lowered(c) <= 'z')) table[c] = static_cast<uint8_t>(lowered(c));
  return table;
}();

constexpr uint32_t kInvalid = ~0u;

// The character at p, which is moved past it; past one byte where that begins no character.
uint32_t next(const uint8_t*& p, const uint8_t* end) {
  const uint8_t lead = *p++;
  const int more = lead < 0xc2 || lead > 0xf4 ? -1 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
  if (more < 0 || end - p < more) return kInvalid;
  uint32_t c = lead & (0x3fu >> more);
  for (int i = 0; i < more; ++i) {
    if ((p[i] & 0xc0) != 0x80) return kInvalid;
    c = c << 6 | (p[i] & 0x3fu);
  }
  p += more;
  return c <= 0x10ffff ? c : kInvalid;
}

// FNV-1a over characters, then mixed so that all bits depend on all characters (the end of MurmurHash3).
constexpr uint32_t kBasis = 0x811c9dc5;
constexpr uint32_t add(uint32_t hash, uint32_t c) { return (hash ^ c) * 0x01000193u; }
constexpr uint32_t mixed(uint32_t hash) {
  hash = (hash ^ hash >> 16) * 0x85ebca6bu;
  hash = (hash ^ hash >> 13) * 0xc2b2ae35u;
  return hash ^ hash >> 16;
}

}  // namespace

std::vector<int64_t> checked_offsets(const Windows& windows, const TokenText& text) {
  std::vector<int64_t> first(static_cast<size_t>(windows.count) + 1);
  for (int64_t w = 0; w < windows.count; ++w) first[static_cast<size_t>(w) + 1] = first[static_cast<size_t>(w)] + windows.lengths[w];
  for (int64_t i = 0; i < first.back(); ++i)
    if (windows.tokens[i] >= text.vocabulary)
      throw Error(ErrorCode::argument, "token " + std::to_string(windows.tokens[i]) + " is not in the vocabulary of " + std::to_string(text.vocabulary));
  return first;
}

void append_words(const uint8_t* p, const uint8_t* end, std::vector<uint32_t>& words) {
  uint32_t hash = kBasis, last = 0;  // last: the character before, where the script is one without spaces
  int length = 0;
  const auto finish = [&] {
    if (length >= 2) words.push_back(mixed(hash));
    hash = kBasis, length = 0;
  };
  while (p < end) {
    if (*p < 0x80) {
      last = 0;
      if (const uint8_t c = kAscii[*p++]) hash = add(hash, c), ++length;
      else if (length) finish();
      continue;
    }
    const uint32_t c = next(p, end);
    if (c == kInvalid || !of_word(c)) {
      finish();
      last = 0;
    } else if (without_spaces(c)) {
      finish();
      if (last) words.push_back(mixed(add(add(kBasis, last), c)));
      last = c;
    } else {
      last = 0;
      hash = add(hash, lowered(c)), ++length;
    }
  }
  finish();
}

void WordCounter::count(const uint32_t* tokens, int64_t length, const TokenText& text) {
  bytes_.clear();
  for (int64_t i = 0; i < length; ++i) {
    const uint32_t first = text.offsets[tokens[i]], last = text.offsets[tokens[i] + 1];
    bytes_.insert(bytes_.end(), text.bytes + first, text.bytes + last);
  }
  all_.clear();
  append_words(bytes_.data(), bytes_.data() + bytes_.size(), all_);
  std::sort(all_.begin(), all_.end());
  distinct_.clear(), counts_.clear();
  for (const uint32_t word : all_) {
    if (distinct_.empty() || distinct_.back() != word) distinct_.push_back(word), counts_.push_back(0);
    ++counts_.back();
  }
}

}  // namespace nichelm::cluster
