// UTF-8 and the classes of characters that pre-tokenization knows. Tables: scripts/generate-unicode-tables.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace nichelm::text {

enum class CharClass : uint8_t { other, letter, number, space };  // none of the others; \p{L}; \p{N}; \s, which is White_Space

#include "text/unicode_tables.inc"

constexpr CharClass class_of(uint32_t point) {
  return static_cast<CharClass>((kBlocks[kBlockOf[point >> 8]][(point & 255) >> 2] >> (2 * (point & 3))) & 3);
}

struct Character { uint32_t point; uint32_t bytes; };

// The character at p, where valid UTF-8 is known to stand.
inline Character decode(const char* p) {
  const auto* u = reinterpret_cast<const unsigned char*>(p);
  if (u[0] < 0x80) return {u[0], 1};
  if (u[0] < 0xe0) return {(u[0] & 0x1fu) << 6 | (u[1] & 0x3fu), 2};
  if (u[0] < 0xf0) return {(u[0] & 0x0fu) << 12 | (u[1] & 0x3fu) << 6 | (u[2] & 0x3fu), 3};
  return {(u[0] & 0x07u) << 18 | (u[1] & 0x3fu) << 12 | (u[2] & 0x3fu) << 6 | (u[3] & 0x3fu), 4};
}

// Byte offset of the first sequence that is not UTF-8 (RFC 3629: no surrogates, no overlong forms, nothing above U+10FFFF); text.size() if there is none.
size_t invalid_utf8(std::string_view text);

// Throws ErrorCode::data that names the byte offset (and which text, if there is more than one).
void require_utf8(std::span<const std::string_view> texts);

}  // namespace nichelm::text
