// Text for measuring with where none is at hand.
#pragma once
#include <string>
#include <vector>

namespace nichelm::benchmark {

// Documents of 4,000 bytes, `at_least` bytes in all, the same every time: words of English-like length, frequencies by Zipf's law with a long tail of rare
// ones, some punctuation and digits.
std::vector<std::string> made_up_text(size_t at_least);

}  // namespace nichelm::benchmark
