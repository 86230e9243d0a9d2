#include "benchmark/made_up_text.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>

namespace nichelm::benchmark {

std::vector<std::string> made_up_text(size_t at_least) {
  std::mt19937 random(1);
  constexpr size_t kDocumentBytes = 4000, kWords = 100000;
  std::vector<std::string> words(kWords);
  for (size_t w = 0; w < kWords; ++w) {
    const size_t length = 1 + random() % 4 + static_cast<size_t>(std::log2(2.0 + static_cast<double>(w)) / 3);
    for (size_t i = 0; i < length; ++i) words[w] += "etaoinshrdlucmfwypvbgkjqxz"[std::min(random() % 26, random() % 26)];
  }
  std::vector<std::string> all;
  for (size_t bytes = 0; bytes < at_least; bytes += all.back().size()) {
    std::string text;
    while (text.size() < kDocumentBytes) {
      const double uniform = std::ldexp(static_cast<double>(random()), -32);
      text += words[static_cast<size_t>(std::pow(static_cast<double>(kWords), uniform)) - 1];  // density of rank r like 1 / r
      const uint32_t what = random() % 64;
      text += what < 6 ? ", " : what < 10 ? ".\n" : what < 12 ? "'s " : " ";
      if (what == 12) text += std::to_string(random() % 2000) += ' ';
    }
    all.push_back(std::move(text));
  }
  return all;
}

}  // namespace nichelm::benchmark
