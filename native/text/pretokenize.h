// Pre-tokenization as the Hugging Face library's ByteLevel does it: text is cut by GPT-2's pattern
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// and merges never cross a cut. Every byte belongs to exactly one piece.
#pragma once
#include <string_view>

namespace nichelm::text {

// The end of the piece that begins at `begin` < `end`, where `end` is the end of the text. The text must be valid UTF-8.
const char* next_piece(const char* begin, const char* end);

}  // namespace nichelm::text
