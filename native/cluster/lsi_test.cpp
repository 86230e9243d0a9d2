// LSI against the exact decomposition in double, and what it says about small texts.
#include "cluster/lsi.h"

#include <cmath>
#include <map>
#include <string>

#include "cluster/eigen.h"
#include "runtime/error.h"
#include "test/test.h"

using namespace nichelm;
using namespace nichelm::cluster;

namespace {

// Texts as windows of byte tokens.
struct Texts {
  std::vector<uint8_t> bytes;
  std::vector<uint32_t> offsets, tokens, lengths;
  explicit Texts(const std::vector<std::string>& texts) {
    for (int b = 0; b < 256; ++b) bytes.push_back(static_cast<uint8_t>(b)), offsets.push_back(static_cast<uint32_t>(b));
    offsets.push_back(256);
    for (const auto& text : texts) {
      for (const char c : text) tokens.push_back(static_cast<uint8_t>(c));
      lengths.push_back(static_cast<uint32_t>(text.size()));
    }
  }
  Windows windows() const { return {tokens.data(), lengths.data(), static_cast<int64_t>(lengths.size())}; }
  TokenText text() const { return {bytes.data(), offsets.data(), 256}; }
};

std::vector<float> embed(Cpu& device, const Lsi& lsi, const Texts& texts, int64_t dimensions) {
  std::vector<float> y(texts.lengths.size() * static_cast<size_t>(dimensions), NAN);
  embed_lsi(device, {lsi.terms, lsi.idf, lsi.projection, dimensions}, texts.windows(), texts.text(), y.data());
  return y;
}

double cosine(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// Texts of words w0 .. w(words - 1) about a few topics: each topic prefers its own words.
std::vector<std::string> topical(int windows, int words, int topics, unsigned seed) {
  const std::vector<float> noise = test::normal(windows * 30, seed);
  std::vector<std::string> texts;
  for (int w = 0; w < windows; ++w) {
    std::string text;
    for (int i = 0; i < 30; ++i) {
      const float x = noise[w * 30 + i];
      const int word = static_cast<int>(std::abs(x) * 1000) % (words / topics) * topics + (std::abs(x) < 1.2f ? w % topics : static_cast<int>(std::abs(x) * 100) % topics);
      text += "w" + std::to_string(word) + " ";
    }
    texts.push_back(text);
  }
  return texts;
}

// The weighted terms of the windows, dense, by the formulas of lsi.h alone.
std::vector<std::vector<double>> weighted(const std::vector<std::string>& texts) {
  std::map<std::string, std::map<size_t, int>> counts;
  for (size_t w = 0; w < texts.size(); ++w)
    for (size_t at = 0, end; (end = texts[w].find(' ', at)) != std::string::npos; at = end + 1) ++counts[texts[w].substr(at, end - at)][w];
  std::erase_if(counts, [](const auto& entry) { return entry.second.size() < 2; });
  std::vector<std::vector<double>> rows(texts.size(), std::vector<double>(counts.size()));
  size_t t = 0;
  for (const auto& [word, in] : counts) {
    for (const auto& [w, count] : in) rows[w][t] = (1 + std::log(count)) * (1 + std::log((1.0 + texts.size()) / (1.0 + in.size())));
    ++t;
  }
  for (auto& row : rows) {
    double squares = 0;
    for (const double v : row) squares += v * v;
    for (double& v : row) v /= std::sqrt(squares);
  }
  return rows;
}

}  // namespace

TEST(lsi_of_full_rank_keeps_every_angle) {
  const auto texts = topical(40, 60, 4, 1);
  const auto rows = weighted(texts);
  const Texts windows(texts);
  for (const int isa : test::isas()) {
    std::vector<float> first;
    for (const int threads : {1, 2, 5}) {
      Cpu device(threads, static_cast<Isa>(isa));
      const Lsi lsi = fit_lsi(device, windows.windows(), windows.text(), {.dimensions = 60, .terms = 1000, .seed = 7});
      EXPECT(lsi.terms.size() == rows[0].size(), "the terms are the words of two windows or more");
      const std::vector<float> y = embed(device, lsi, windows, 60);
      if (threads == 1) first = y;
      EXPECT(y == first, std::string(name_of(device.isa())) + ": other bits with " + std::to_string(threads) + " threads");
      double worst = 0;
      for (size_t a = 0; a < rows.size(); ++a)
        for (size_t b = 0; b < rows.size(); ++b) {
          double want = 0;
          for (size_t t = 0; t < rows[a].size(); ++t) want += rows[a][t] * rows[b][t];
          worst = std::max(worst, std::abs(cosine(&y[a * 60], &y[b * 60], 60) - want));
        }
      EXPECT(worst < 1e-5, "a cosine is off by " + std::to_string(worst));
    }
  }
}

TEST(lsi_finds_the_leading_singular_values) {
  const auto texts = topical(300, 200, 5, 2);
  const auto rows = weighted(texts);
  const int64_t terms = static_cast<int64_t>(rows[0].size());
  std::vector<double> g(static_cast<size_t>(terms * terms));
  for (const auto& row : rows)
    for (int64_t i = 0; i < terms; ++i)
      for (int64_t j = 0; j < terms; ++j) g[i * terms + j] += row[i] * row[j];
  const Eigen exact = eigen_symmetric(g, terms);
  const Texts windows(texts);
  Cpu device(2);
  const Lsi lsi = fit_lsi(device, windows.windows(), windows.text(), {.dimensions = 12, .terms = 1000, .seed = 7});
  for (int i = 0; i < 12; ++i) {
    const double want = std::sqrt(exact.values[i]), error = std::abs(lsi.singular[i] - want) / want;
    EXPECT(error < (i < 5 ? 1e-5 : 2e-2), "singular value " + std::to_string(i) + ": " + std::to_string(lsi.singular[i]) + ", not " + std::to_string(want));
  }
  const std::vector<float> y = embed(device, lsi, windows, 12);
  double same = 0, other = 0;
  for (int w = 5; w < 300; ++w) {
    EXPECT(std::abs(cosine(&y[w * 12], &y[w * 12], 12) - 1) < 1e-5, "embeddings have length 1");
    same += cosine(&y[w * 12], &y[(w - 5) * 12], 12) / 295, other += cosine(&y[w * 12], &y[(w - 4) * 12], 12) / 295;
  }
  EXPECT(same > 0.5 && other < same - 0.3, "windows of one topic are near each other: " + std::to_string(same) + ", of two not: " + std::to_string(other));
}

TEST(lsi_of_hardly_any_text) {
  Cpu device(2);
  const Texts tiny({"apple banana apple", "", "banana cherry", "!!"});
  const Lsi lsi = fit_lsi(device, tiny.windows(), tiny.text(), {.dimensions = 8, .terms = 10});
  EXPECT(lsi.terms.size() == 1, "banana is the only word of two windows");
  const std::vector<float> y = embed(device, lsi, tiny, 8);
  for (int i = 0; i < 8; ++i) EXPECT(y[8 + i] == 0 && y[24 + i] == 0, "windows without terms are zero");
  EXPECT(std::abs(cosine(&y[0], &y[16], 8) - 1) < 1e-6, "both have banana");
  const Lsi single = fit_lsi(device, tiny.windows(), tiny.text(), {.dimensions = 8, .terms = 10, .stop_words = "banana"});
  EXPECT(single.terms.size() == 2, "words of one window are taken where there are no others");
  for (const std::vector<std::string>& nothing : {std::vector<std::string>{"", "1 2 3 ?"}, {}}) try {
      const Texts texts(nothing);
      fit_lsi(device, texts.windows(), texts.text(), {.dimensions = 8, .terms = 10});
      EXPECT(false, "text without words must be told");
    } catch (const Error& e) {
      EXPECT(e.code == ErrorCode::data && std::string(e.what()).find("no words") != std::string::npos, e.what());
    }
}

TEST(lsi_takes_the_most_frequent_terms) {
  const Texts texts({"aa bb cc dd", "aa bb cc", "aa bb", "aa"});
  Cpu device(1);
  const Lsi lsi = fit_lsi(device, texts.windows(), texts.text(), {.dimensions = 2, .terms = 2, .stop_words = "the aa of"});
  std::vector<uint32_t> want;
  append_words("bb cc", want);
  std::sort(want.begin(), want.end());
  EXPECT(lsi.terms == want, "bb and cc: aa is a stop word, dd is in one window");
}
