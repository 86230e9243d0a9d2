// Words of text: case, scripts, broken UTF-8, words across tokens.
#include <algorithm>
#include <map>
#include <string>

#include "cluster/words.h"
#include "runtime/error.h"
#include "test/test.h"

using namespace nichelm;
using namespace nichelm::cluster;

namespace {

std::vector<uint32_t> words_of(const std::string& text) {
  std::vector<uint32_t> words;
  append_words(text, words);
  return words;
}
uint32_t word(const std::string& text) {
  const auto words = words_of(text);
  EXPECT(words.size() == 1, "'" + text + "' should be one word, but is " + std::to_string(words.size()));
  return words.empty() ? 0 : words[0];
}

}  // namespace

TEST(words_are_lowercased_runs_of_letters_and_digits) {
  const std::vector<uint32_t> want{word("hello"), word("world"), word("don"), word("b2b"), word("1984"), word("naïve")};
  EXPECT(words_of("Hello, WORLD! don't (B2B) a 1984-x naïve") == want, "words of a sentence");
  EXPECT(words_of("").empty() && words_of(" a b, c! ").empty(), "single characters are no words");
  EXPECT(word("hello") != word("hellp") && word("ab") != word("ba"), "words differ");
}

TEST(words_of_other_scripts_are_lowercased) {
  const std::pair<const char*, const char*> pairs[] = {{"ÉTÉ", "été"}, {"ŁÓDŹ", "łódź"}, {"ŽŠČ", "žšč"}, {"ΑΘΗΝΑ", "αθηνα"}, {"ΆΈΌΎ", "άέόύ"},
                                                       {"МОСКВА", "москва"}, {"ЇЖАК", "їжак"}, {"ԵՐԵՎԱՆ", "երեվան"}, {"VIỆT", "việt"}, {"ＡＢＣ", "ａｂｃ"}};
  for (const auto& [upper, lower] : pairs) EXPECT(word(upper) == word(lower), std::string(upper) + " is " + lower);
  EXPECT(words_of("été–hiver — 12…").size() == 3, "punctuation beyond ASCII separates words");
}

TEST(words_without_spaces_are_pairs_of_characters) {
  EXPECT(words_of("東京都 ok 京都").size() == 4, "東京 京都 ok 京都");
  EXPECT(words_of("東京都")[1] == words_of("京都")[0], "京都 is 京都");
  EXPECT(words_of("東a京").empty(), "characters that do not touch are no pair");
}

TEST(words_break_at_bytes_that_are_not_utf8) {
  const std::vector<uint32_t> want{word("caf"), word("next")};
  for (const char* broken : {"caf\xc3 next", "caf\xff next", "caf\xc3\xc3 next", "caf\xed\xa0 next", "caf next\xe2\x82", "caf\xf5\x80\x80\x80 next"})
    EXPECT(words_of(broken) == want, std::string("words of ") + broken);
}

TEST(words_are_counted_across_tokens) {
  // tokens: "he", "llo", " hello", "\xc3", "\xa9t", "\xc3\xa9", and one that stands for nothing
  const std::string bytes = "hello hello\xc3\xa9t\xc3\xa9";
  const uint32_t offsets[] = {0, 2, 5, 11, 12, 14, 16, 16};
  const TokenText text{reinterpret_cast<const uint8_t*>(bytes.data()), offsets, 7};
  const uint32_t tokens[] = {0, 1, 6, 2, 2, 6, 3, 4, 5};  // hello hello helloété
  WordCounter counter;
  counter.count(tokens, 9, text);
  std::map<uint32_t, uint32_t> got;
  for (size_t i = 0; i < counter.words().size(); ++i) got[counter.words()[i]] = counter.counts()[i];
  EXPECT((got == std::map<uint32_t, uint32_t>{{word("hello"), 2}, {word("helloété"), 1}}), "hello twice, helloété once");
  EXPECT(std::is_sorted(counter.words().begin(), counter.words().end()), "words ascend");
  counter.count(tokens, 2, text);
  EXPECT(counter.words().size() == 1 && counter.counts()[0] == 1, "nothing is left of the window before");

  const uint32_t lengths[] = {4, 5}, wrong[] = {0, 1, 7};
  EXPECT((checked_offsets({tokens, lengths, 2}, text) == std::vector<int64_t>{0, 4, 9}), "where windows begin");
  const uint32_t three = 3;
  try {
    checked_offsets({wrong, &three, 1}, text);
    EXPECT(false, "a token beyond the vocabulary must be told");
  } catch (const Error& e) {
    EXPECT(std::string(e.what()) == "token 7 is not in the vocabulary of 7", e.what());
  }
}
