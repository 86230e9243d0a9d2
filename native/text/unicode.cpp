#include "text/unicode.h"

#include <cstring>
#include <string>

#include "runtime/error.h"

namespace nichelm::text {

size_t invalid_utf8(std::string_view text) {
  const auto* u = reinterpret_cast<const unsigned char*>(text.data());
  const size_t size = text.size();
  const auto tail = [&](size_t at) { return at < size && (u[at] & 0xc0) == 0x80; };
  for (size_t i = 0; i < size;) {
    if (u[i] < 0x80) {
      uint64_t eight;
      if (size - i >= 8 && (std::memcpy(&eight, u + i, 8), (eight & 0x8080808080808080u) == 0)) i += 8;
      else ++i;
      continue;
    }
    size_t bytes;
    if (u[i] >= 0xc2 && u[i] <= 0xdf) {
      bytes = 2;
    } else if ((u[i] & 0xf0) == 0xe0) {
      bytes = 3;
      if (i + 1 < size && ((u[i] == 0xe0 && u[i + 1] < 0xa0) || (u[i] == 0xed && u[i + 1] > 0x9f))) return i;
    } else if (u[i] >= 0xf0 && u[i] <= 0xf4) {
      bytes = 4;
      if (i + 1 < size && ((u[i] == 0xf0 && u[i + 1] < 0x90) || (u[i] == 0xf4 && u[i + 1] > 0x8f))) return i;
    } else {
      return i;
    }
    for (size_t k = 1; k < bytes; ++k)
      if (!tail(i + k)) return i;
    i += bytes;
  }
  return size;
}

void require_utf8(std::span<const std::string_view> texts) {
  for (size_t t = 0; t < texts.size(); ++t)
    if (const size_t at = invalid_utf8(texts[t]); at < texts[t].size())
      throw Error(ErrorCode::data, "invalid UTF-8 at byte " + std::to_string(at) + (texts.size() > 1 ? " of text " + std::to_string(t) : ""));
}

}  // namespace nichelm::text
