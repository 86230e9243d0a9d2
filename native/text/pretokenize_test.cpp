// The scanner against the pattern's definition, tried alternative by alternative with backtracking, on hand-made and random text.
#include "text/pretokenize.h"

#include <random>
#include <string>
#include <vector>

#include "runtime/error.h"
#include "test/test.h"
#include "text/unicode.h"

using namespace nichelm;
using namespace nichelm::text;

namespace {

std::vector<std::string> pieces(std::string_view text) {
  std::vector<std::string> all;
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p < end;) {
    const char* next = next_piece(p, end);
    all.emplace_back(p, next);
    p = next;
  }
  return all;
}

void encode(uint32_t point, std::string& out) {
  const auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (point < 0x80) return put(point);
  if (point < 0x800) return put(0xc0 | point >> 6), put(0x80 | (point & 63));
  if (point < 0x10000) return put(0xe0 | point >> 12), put(0x80 | (point >> 6 & 63)), put(0x80 | (point & 63));
  put(0xf0 | point >> 18), put(0x80 | (point >> 12 & 63)), put(0x80 | (point >> 6 & 63)), put(0x80 | (point & 63));
}

// The pattern read literally, over code points.
std::vector<std::string> by_pattern(const std::vector<uint32_t>& points) {
  const size_t n = points.size();
  const auto is = [&](size_t i, CharClass value) { return i < n && class_of(points[i]) == value; };
  const auto match = [&](size_t at) -> size_t {
    for (const char* tail : {"s", "t", "re", "ve", "m", "ll", "d"}) {
      size_t i = at;
      if (points[i++] != '\'') break;
      const char* t = tail;
      while (*t && i < n && points[i] == static_cast<uint32_t>(*t)) ++t, ++i;
      if (!*t) return i;
    }
    for (const CharClass value : {CharClass::letter, CharClass::number, CharClass::other})
      for (const size_t start : {at + (points[at] == ' '), at}) {
        size_t i = start;
        while (is(i, value)) ++i;
        if (i > start) return i;
      }
    size_t run = at;
    while (is(run, CharClass::space)) ++run;
    for (size_t i = run; i > at; --i)
      if (i == n || is(i, CharClass::space)) return i;
    return run;
  };
  std::vector<std::string> all;
  for (size_t at = 0; at < n;) {
    const size_t end = match(at);
    std::string piece;
    for (; at < end; ++at) encode(points[at], piece);
    all.push_back(piece);
  }
  return all;
}

}  // namespace

TEST(pretokenize_examples) {
  const std::vector<std::string> want{"We", "'ll", " say", " it", "'", "S", " 3", ".", "14\xc2\xbd", "  ", " \xe2\x82\xac", "\r\n", "\n", "x", "\t", "y", " \n "};
  EXPECT(pieces("We'll say it'S 3.14\xc2\xbd   \xe2\x82\xac\r\n\nx\ty \n ") == want, "hand-made example");
  EXPECT(pieces("").empty(), "no text, no pieces");
}

TEST(pretokenize_random) {
  const uint32_t alphabet[] = {' ', ' ', '\n', '\t', 0xa0, 0x3000, '\'', '\'', 's', 't', 'r', 'e', 'v', 'l', 'm', 'd', 'a', 'S', '0', '9', 0xbd, 0x661, '!', '_', 0, 0x301, 0xe9, 0x4e2d, 0x1f600, 0x200d, 0x10ffff};
  std::mt19937 random(1);
  for (int round = 0; round < 20000; ++round) {
    std::vector<uint32_t> points(random() % 24);
    std::string text;
    for (uint32_t& point : points) encode(point = alphabet[random() % std::size(alphabet)], text);
    if (pieces(text) == by_pattern(points)) continue;
    EXPECT(false, "random text " + std::to_string(round) + ": '" + text + "'");
    return;
  }
  EXPECT(true, "");
}

TEST(utf8_validity) {
  const auto invalid_at = [](std::string_view text) { return invalid_utf8(text); };
  const std::string_view valid = "plain text, long enough for eight at once \xc3\xa9 \xe4\xb8\xad \xf0\x9f\x98\x80\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80";
  EXPECT(invalid_at(valid) == valid.size(), "valid text is valid to its end");
  const struct { std::string_view text; size_t at; } bad[] = {
      {"abc\xff", 3}, {"\x80", 0}, {"abcdefgh\xc3", 8}, {"a\xc0\xaf", 1}, {"\xe0\x9f\xbf", 0}, {"ab\xed\xa0\x80", 2}, {"\xf0\x8f\xbf\xbf", 0}, {"\xf4\x90\x80\x80", 0}, {"\xf5\x80\x80\x80", 0}, {"\xe4\xb8z", 0}, {"\xf0\x9f\x98", 0}};
  for (const auto& b : bad) EXPECT(invalid_at(b.text) == b.at, "first invalid byte of text that should fail at " + std::to_string(b.at));
  const std::string_view texts[] = {"fine", "not \xff"};
  try {
    require_utf8(texts);
    EXPECT(false, "invalid UTF-8 must throw");
  } catch (const Error& e) {
    EXPECT(e.code == ErrorCode::data && std::string(e.what()) == "invalid UTF-8 at byte 4 of text 1", e.what());
  }
}
