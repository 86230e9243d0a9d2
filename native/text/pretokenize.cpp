// A hand-written scanner: the alternatives of the pattern in their order. No backtracking is needed but for one white space character.
#include "text/pretokenize.h"

#include <array>
#include <cstdint>

#include "text/unicode.h"

namespace nichelm::text {
namespace {

constexpr uint8_t kNotAscii = 4;
constexpr std::array<uint8_t, 256> kByteClass = [] {
  std::array<uint8_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) table[byte] = byte < 128 ? static_cast<uint8_t>(class_of(byte)) : kNotAscii;
  return table;
}();

uint8_t byte_class(const char* p) { return kByteClass[static_cast<unsigned char>(*p)]; }

struct Classified { CharClass value; uint32_t bytes; };
Classified classify(const char* p) {
  const uint8_t ascii = byte_class(p);
  if (ascii != kNotAscii) return {static_cast<CharClass>(ascii), 1};
  const Character c = decode(p);
  return {class_of(c.point), c.bytes};
}

// The end of the run of characters of one class.
const char* run_end(const char* p, const char* end, CharClass value) {
  while (p < end) {
    const uint8_t ascii = byte_class(p);
    if (ascii == static_cast<uint8_t>(value)) { ++p; continue; }
    if (ascii != kNotAscii) break;
    const Character c = decode(p);
    if (class_of(c.point) != value) break;
    p += c.bytes;
  }
  return p;
}

// Bytes of a contraction at p, which is an apostrophe: 's 't 'm 'd 're 've 'll; 0 if there is none.
int contraction(const char* p, const char* end) {
  if (end - p < 2) return 0;
  switch (p[1]) {
    case 's': case 't': case 'm': case 'd': return 2;
    case 'r': case 'v': return end - p >= 3 && p[2] == 'e' ? 3 : 0;
    case 'l': return end - p >= 3 && p[2] == 'l' ? 3 : 0;
    default: return 0;
  }
}

}  // namespace

const char* next_piece(const char* begin, const char* end) {
  if (*begin == '\'')
    if (const int bytes = contraction(begin, end)) return begin + bytes;
  const Classified first = classify(begin);
  if (first.value != CharClass::space) return run_end(begin + first.bytes, end, first.value);
  if (*begin == ' ' && end - begin > 1) {
    const Classified second = classify(begin + 1);
    if (second.value != CharClass::space) return run_end(begin + 1 + second.bytes, end, second.value);
  }
  // White space up to the end of the text is one piece; before anything else, its last character is left to the next piece, unless it is all there is.
  const char* last = begin;
  const char* p = begin + first.bytes;
  while (p < end) {
    const Classified c = classify(p);
    if (c.value != CharClass::space) break;
    last = p;
    p += c.bytes;
  }
  return p == end || last == begin ? p : last;
}

}  // namespace nichelm::text
