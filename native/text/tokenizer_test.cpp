// Training, encoding, decoding. The oracles are the definitions, done the slow way.
#include "text/tokenizer.h"

#include <algorithm>
#include <map>
#include <random>

#include "runtime/error.h"
#include "test/test.h"
#include "text/pretokenize.h"
#include "text/trainer.h"

using namespace nichelm;
using namespace nichelm::text;

namespace {

// Words of a Zipf-like vocabulary, with punctuation, digits, accents and an emoji now and then.
std::vector<std::string> corpus(int documents, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::string> words{"\xf0\x9f\x98\x80", "na\xc3\xafve", "1984", "don't", "...", "\n\n", "aaaaaa", "abababab"};
  for (int i = 0; i < 300; ++i) {
    std::string word;
    for (size_t k = 1 + random() % 9; k > 0; --k) word += "etaoinshrdlu"[std::min(random() % 12, random() % 12)];
    words.push_back(word);
  }
  std::vector<std::string> all;
  for (int d = 0; d < documents; ++d) {
    std::string text;
    for (size_t k = random() % 200; k > 0; --k) text += words[std::min(random() % words.size(), random() % words.size())] + (random() % 8 ? " " : ", ");
    all.push_back(text);
  }
  return all;
}

std::vector<std::string_view> views(const std::vector<std::string>& texts) { return {texts.begin(), texts.end()}; }

TrainedVocabulary trained(const std::vector<std::string>& texts, size_t size, int threads, uint64_t minimum = 2, std::vector<std::string> special = {"<|endoftext|>"}) {
  Trainer trainer(threads);
  const auto all = views(texts);
  for (size_t i = 0; i < texts.size(); i += 7) trainer.add(std::span(all).subspan(i, std::min<size_t>(7, texts.size() - i)));
  return trainer.train({size, minimum, std::move(special)});
}

// Counts every pair anew for every merge.
TrainedVocabulary trained_slowly(const std::vector<std::string>& texts, size_t size, int64_t minimum) {
  TrainedVocabulary v = trained({"x"}, 257, 1);
  std::map<std::string, int64_t> counts;
  for (const std::string& text : texts)
    for (const char* p = text.data(); p < text.data() + text.size();) {
      const char* next = next_piece(p, text.data() + text.size());
      ++counts[std::string(p, next)];
      p = next;
    }
  std::vector<std::pair<std::vector<uint32_t>, int64_t>> words;
  for (const auto& [word, count] : counts) {
    words.push_back({{}, count});
    for (const char c : word) words.back().first.push_back(v.byte_ids[static_cast<unsigned char>(c)]);
  }
  while (v.tokens.size() < size) {
    std::map<std::pair<uint32_t, uint32_t>, int64_t> pairs;
    for (const auto& [ids, count] : words)
      for (size_t i = 0; i + 1 < ids.size(); ++i) pairs[{ids[i], ids[i + 1]}] += count;
    if (pairs.empty()) break;
    const auto best = std::max_element(pairs.begin(), pairs.end(), [](const auto& a, const auto& b) { return a.second != b.second ? a.second < b.second : a.first > b.first; });
    if (best->second < minimum) break;
    const auto [left, right] = best->first;
    const std::string bytes = v.tokens[left] + v.tokens[right];
    const auto known = std::find(v.tokens.begin() + 1, v.tokens.end(), bytes);
    const auto id = static_cast<uint32_t>(known - v.tokens.begin());
    if (known == v.tokens.end()) v.tokens.push_back(bytes);
    v.merges.push_back({left, right, id});
    for (auto& [ids, count] : words)
      for (size_t i = 0; i + 1 < ids.size(); ++i)
        if (ids[i] == left && ids[i + 1] == right) ids[i] = id, ids.erase(ids.begin() + static_cast<ptrdiff_t>(i) + 1);
  }
  return v;
}

bool same(const TrainedVocabulary& a, const TrainedVocabulary& b) {
  return a.tokens == b.tokens && a.byte_ids == b.byte_ids &&
         std::equal(a.merges.begin(), a.merges.end(), b.merges.begin(), b.merges.end(), [](const Merge& x, const Merge& y) { return x.left == y.left && x.right == y.right && x.merged == y.merged; });
}

// The rule of lowest rank, leftmost, until none applies.
std::vector<uint32_t> encoded_slowly(const TrainedVocabulary& v, std::string_view piece) {
  std::vector<uint32_t> ids;
  for (const char c : piece) ids.push_back(v.byte_ids[static_cast<unsigned char>(c)]);
  for (;;) {
    size_t best = v.merges.size(), at = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i)
      for (size_t r = 0; r < best; ++r)
        if (v.merges[r].left == ids[i] && v.merges[r].right == ids[i + 1]) best = r, at = i;
    if (best == v.merges.size()) return ids;
    ids[at] = v.merges[best].merged;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(at) + 1);
  }
}

Tokenizer tokenizer_of(const TrainedVocabulary& v, std::vector<AddedToken> added = {}) { return Tokenizer(v.tokens, v.byte_ids, v.merges, std::move(added)); }

}  // namespace

TEST(training_is_the_definition) {
  const auto texts = corpus(60, 3);
  const auto fast = trained(texts, 700, 1), slow = trained_slowly(texts, 700, 2);
  EXPECT(fast.merges.size() > 100 && same(fast, slow), "the same merges as counting anew for each: " + std::to_string(fast.merges.size()) + " and " + std::to_string(slow.merges.size()));
  const auto frequent = trained(texts, 700, 1, 40);
  EXPECT(frequent.tokens.size() < fast.tokens.size() && same(frequent, trained_slowly(texts, 700, 40)), "the minimum frequency ends training");
}

TEST(training_any_threads_and_order) {
  auto texts = corpus(200, 4);
  const auto one = trained(texts, 600, 1);
  EXPECT(one.tokens.size() == 600, "the vocabulary is full");
  EXPECT(same(one, trained(texts, 600, 2)) && same(one, trained(texts, 600, 5)), "any number of threads gives the same vocabulary");
  std::reverse(texts.begin(), texts.end());
  EXPECT(same(one, trained(texts, 600, 3)), "the order of the texts does not matter");
}

TEST(training_keeps_special_tokens_apart) {
  const std::vector<std::string> texts(20, "END END END END");
  const auto v = trained(texts, 300, 1, 2, {"END"});
  EXPECT(std::count(v.tokens.begin(), v.tokens.end(), "END") == 1 && v.tokens[0] == "END", "no merge makes a special token");
  const auto ids = tokenizer_of(v, {{"END", 0, true, false}}).encode(views({"END"}), false, 1).ids;
  EXPECT(std::find(ids.begin(), ids.end(), 0u) == ids.end(), "as ordinary text it has other ids");
}

TEST(training_errors) {
  const auto fails = [](ErrorCode code, auto&& body) {
    try {
      body();
    } catch (const Error& e) {
      return e.code == code;
    }
    return false;
  };
  EXPECT(fails(ErrorCode::argument, [] { trained({"x"}, 256, 1); }), "256 bytes and a special token do not fit into 256");
  EXPECT(fails(ErrorCode::data, [] { trained({""}, 300, 2); }), "no text");
  EXPECT(fails(ErrorCode::data, [] { trained({"\xc3("}, 300, 2); }), "invalid UTF-8");
}

TEST(training_long_word) {
  std::string word;
  for (int i = 0; i < 3000; ++i) word += "\xe4\xb8\xad";
  const auto v = trained({word, std::string(100000, 'x')}, 280, 2);
  EXPECT(v.tokens.size() == 280 && v.tokens.back().size() > 3, "words far longer than any token");
}

TEST(encoding_is_the_definition) {
  const auto texts = corpus(60, 5);
  const auto v = trained(texts, 600, 1);
  const Tokenizer tokenizer = tokenizer_of(v);
  std::mt19937 random(6);
  for (int round = 0; round < 400; ++round) {
    std::string piece;
    for (size_t k = 1 + random() % (round % 4 ? 20 : 90); k > 0; --k) piece += "etaoinshr"[random() % 9];
    const auto ids = tokenizer.encode(views({piece, piece}), false, 1).ids;
    const auto once = encoded_slowly(v, piece);
    auto want = once;
    want.insert(want.end(), once.begin(), once.end());
    EXPECT(ids == want, "'" + piece + "', computed and from the cache");
    if (ids != want) return;
  }
}

TEST(encoding_of_zero_bytes) {
  // In the cache's keys zeros fill up what is free.
  const std::string zeros(9, '\0');
  const std::string_view all = zeros;
  const Tokenizer tokenizer = tokenizer_of(trained({"x"}, 257, 1));
  const std::string_view texts[] = {all.substr(0, 1), all.substr(0, 2), all.substr(0, 7), all.substr(0, 3), all};
  const auto batch = tokenizer.encode(texts, false, 1);
  EXPECT((batch.offsets == std::vector<size_t>{0, 1, 3, 10, 13, 22}), "as many ids as zeros");
}

TEST(encoding_any_threads) {
  auto texts = corpus(300, 7);
  std::string all;
  for (size_t i = 0; i < texts.size(); ++i) all += texts[i] + (i % 3 == 0 ? "  " : i % 3 == 1 ? "\n \n" : "!");
  while (all.size() < 1200000) all += all;
  texts.push_back(all);
  texts.push_back("");
  const Tokenizer tokenizer = tokenizer_of(trained(texts, 900, 1));
  const auto one = tokenizer.encode(views(texts), false, 1);
  for (const int threads : {2, 5}) {
    const auto many = tokenizer.encode(views(texts), false, threads);
    EXPECT(many.ids == one.ids && many.offsets == one.offsets, "the same ids on " + std::to_string(threads) + " threads");
  }
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::span<const uint32_t> ids(one.ids.data() + one.offsets[i], one.offsets[i + 1] - one.offsets[i]);
    EXPECT(tokenizer.decode(ids) == texts[i], "decoding gives text " + std::to_string(i) + " back");
  }
  // The long text was shared out; its ids are those of its pieces.
  std::vector<uint32_t> want;
  const auto v = trained(texts, 900, 1);
  const Bpe bpe(v.byte_ids, v.merges);
  for (const char* p = all.data(); p < all.data() + all.size();) {
    const char* next = next_piece(p, all.data() + all.size());
    bpe.encode_piece({p, static_cast<size_t>(next - p)}, want);
    p = next;
  }
  const auto long_ids = tokenizer.encode(views({all}), false, 2).ids;
  EXPECT(long_ids == want, "a long text has the ids of its pieces");
}

TEST(encoding_very_long_piece) {
  const auto v = trained(corpus(60, 8), 500, 1);
  const Tokenizer tokenizer = tokenizer_of(v);
  const std::string word(2000000, 'a');
  const auto ids = tokenizer.encode(views({word}), false, 2).ids;
  EXPECT(tokenizer.decode(ids) == word && ids.size() <= word.size() / 2, "two million letters without a space");
}

TEST(encoding_added_tokens) {
  auto v = trained(corpus(60, 9), 500, 1, 2, {"<|endoftext|>", "<|end", "<x>"});
  v.tokens.push_back("added");
  const Tokenizer tokenizer = tokenizer_of(v, {{"<|endoftext|>", 0, true, false}, {"<|end", 1, true, false}, {"<x>", 2, true, true}, {"added", 500, false, false}});
  const auto ids = [&](std::string_view text, bool special) { return tokenizer.encode({&text, 1}, special, 1).ids; };
  EXPECT((ids("<|endoftext|><|end<x>", true) == std::vector<uint32_t>{0, 1, 2}), "leftmost and longest");
  EXPECT((ids("added<x>", true) == std::vector<uint32_t>{500, 2}), "both phases");
  EXPECT((ids("<x>", false).size() == 3 && ids("added", false) == std::vector<uint32_t>{500}), "special tokens are text unless asked for; other added tokens never are");
  const auto parts = [&](std::string_view a, uint32_t id, std::string_view b) {
    auto all = ids(a, false);
    all.push_back(id);
    const auto rest = ids(b, false);
    all.insert(all.end(), rest.begin(), rest.end());
    return all;
  };
  EXPECT(ids("is it  <|endoftext|>  so", true) == parts("is it  ", 0, "  so"), "the text around a token stands by itself");
  EXPECT(tokenizer.decode(ids("a <|endoftext|> b", true)) == "a <|endoftext|> b", "decoding gives the token's content back");
  bool thrown = false;
  try {
    const uint32_t beyond[] = {501};
    tokenizer.decode(beyond);
  } catch (const Error& e) {
    thrown = e.code == ErrorCode::argument;
  }
  EXPECT(thrown, "decoding an id outside of the vocabulary");
}
