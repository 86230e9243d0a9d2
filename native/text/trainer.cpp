#include "text/trainer.h"

#include <algorithm>
#include <atomic>
#include <queue>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "runtime/error.h"
#include "runtime/pool.h"
#include "text/unicode.h"

namespace nichelm::text {
namespace {

// Every pair of neighbours: how often it occurs in the text, and in which words it may stand.
class Pairs {
 public:
  struct Pair {
    Pair(uint32_t left, uint32_t right) : left(left), right(right) {}
    uint32_t left, right;
    uint32_t seen_at = UINT32_MAX;  // the merge that last made it more frequent
    int64_t count = 0;
    std::vector<uint32_t> words;
  };
  uint32_t at(uint32_t left, uint32_t right) {
    if (2 * pairs_.size() >= slots_.size()) grow();
    for (size_t at = hash_of(left, right);; ++at) {
      uint32_t& slot = slots_[at & (slots_.size() - 1)];
      if (slot == 0) {
        pairs_.emplace_back(left, right);
        return (slot = static_cast<uint32_t>(pairs_.size())) - 1;
      }
      if (const Pair& pair = pairs_[slot - 1]; pair.left == left && pair.right == right) return slot - 1;
    }
  }
  Pair& operator[](uint32_t index) { return pairs_[index]; }
  uint32_t size() const { return static_cast<uint32_t>(pairs_.size()); }

 private:
  static size_t hash_of(uint32_t left, uint32_t right) { return ((uint64_t{left} << 32 | right) * 0x9e3779b97f4a7c15u) >> 20; }
  void grow() {
    slots_.assign(slots_.empty() ? size_t{1} << 16 : 2 * slots_.size(), 0);
    for (uint32_t i = 0; i < pairs_.size(); ++i) {
      size_t at = hash_of(pairs_[i].left, pairs_[i].right);
      while (slots_[at & (slots_.size() - 1)] != 0) ++at;
      slots_[at & (slots_.size() - 1)] = i + 1;
    }
  }
  std::vector<Pair> pairs_;
  std::vector<uint32_t> slots_;
};

// The words as tokens; merging shortens them in place.
struct Words {
  struct Word { size_t begin; uint32_t size; int64_t count; };
  std::vector<uint32_t> ids;
  std::vector<Word> words;
};

// Merges left, right in one word, and tells change(left, right, difference) what that does to the counts of its neighbours.
template <class Change> void merge_in(Words& all, uint32_t index, const Merge& merge, Change change) {
  auto& word = all.words[index];
  uint32_t* const ids = all.ids.data() + word.begin;
  uint32_t size = 0;
  for (uint32_t i = 0; i < word.size;) {
    if (i + 1 == word.size || ids[i] != merge.left || ids[i + 1] != merge.right) {
      ids[size++] = ids[i++];
      continue;
    }
    if (size > 0) {
      change(ids[size - 1], merge.left, -word.count);
      change(ids[size - 1], merge.merged, word.count);
    }
    if (i + 2 < word.size) {
      change(merge.right, ids[i + 2], -word.count);
      change(merge.merged, ids[i + 2], word.count);
    }
    ids[size++] = merge.merged;
    i += 2;
  }
  word.size = size;
}

// The vocabulary before any merge: special tokens, then the bytes in the order of the characters that stand for them in tokenizer.json
// (GPT-2's: printable characters of Latin-1 stand for themselves, the others follow).
TrainedVocabulary beginning(const std::vector<std::string>& special) {
  TrainedVocabulary v{special, {}, {}};
  const auto printable = [](int byte) { return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae; };
  for (const bool wanted : {true, false})
    for (int byte = 0; byte < 256; ++byte)
      if (printable(byte) == wanted) {
        v.byte_ids[static_cast<size_t>(byte)] = static_cast<uint32_t>(v.tokens.size());
        v.tokens.emplace_back(1, static_cast<char>(byte));
      }
  return v;
}

}  // namespace

void Trainer::add(std::span<const std::string_view> texts) {
  require_utf8(texts);
  const std::lock_guard lock(busy_);
  std::atomic<size_t> next{0};
  auto work = [&](int thread) {
    for (size_t t; (t = next.fetch_add(1)) < texts.size();) tables_[static_cast<size_t>(thread)].add_text(texts[t]);
  };
  Pool pool(static_cast<int>(tables_.size()));
  pool.run([](void* context, int thread) { (*static_cast<decltype(work)*>(context))(thread); }, &work);
}

TrainedVocabulary Trainer::train(const TrainingOptions& options) {
  TrainedVocabulary v = beginning(options.special);
  if (options.vocabulary_size < v.tokens.size())
    throw Error(ErrorCode::argument, "the vocabulary must hold at least " + std::to_string(v.tokens.size()) + " tokens (256 bytes and the special tokens); " + std::to_string(options.vocabulary_size) + " were asked for");
  const std::lock_guard lock(busy_);
  for (size_t t = 1; t < tables_.size(); ++t) {
    tables_[0].add(tables_[t]);
    tables_[t] = {};
  }
  const WordTable& table = tables_[0];
  if (table.words().empty()) throw Error(ErrorCode::data, "there is no text to train a tokenizer on");

  Words words;
  Pairs pairs;
  words.words.reserve(table.words().size());
  for (const auto& word : table.words()) {
    const auto index = static_cast<uint32_t>(words.words.size());
    words.words.push_back({words.ids.size(), static_cast<uint32_t>(word.bytes), static_cast<int64_t>(word.count)});
    for (const char byte : table.bytes_of(word)) words.ids.push_back(v.byte_ids[static_cast<unsigned char>(byte)]);
    const uint32_t* ids = words.ids.data() + words.words.back().begin;
    for (size_t i = 0; i + 1 < word.bytes; ++i) {
      auto& pair = pairs[pairs.at(ids[i], ids[i + 1])];
      pair.count += static_cast<int64_t>(word.count);
      if (pair.words.empty() || pair.words.back() != index) pair.words.push_back(index);
    }
  }

  struct Candidate {
    int64_t count;
    uint32_t left, right, pair;
    bool operator<(const Candidate& other) const {
      if (count != other.count) return count < other.count;
      return left != other.left ? left > other.left : right > other.right;
    }
  };
  std::priority_queue<Candidate> queue;
  const auto enqueue = [&](uint32_t index) {
    if (const auto& pair = pairs[index]; pair.count > 0) queue.push({pair.count, pair.left, pair.right, index});
  };
  for (uint32_t i = 0; i < pairs.size(); ++i) enqueue(i);

  const std::unordered_set<std::string> reserved(options.special.begin(), options.special.end());
  std::unordered_map<std::string, uint32_t> ids;
  for (uint32_t id = static_cast<uint32_t>(options.special.size()); id < v.tokens.size(); ++id) ids.emplace(v.tokens[id], id);
  std::unordered_set<uint32_t> merged_before;
  std::vector<uint32_t> risen;
  uint32_t step = 0;
  while (v.tokens.size() < options.vocabulary_size && !queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    if (top.count != pairs[top.pair].count) {  // its count has changed since
      enqueue(top.pair);
      continue;
    }
    if (static_cast<uint64_t>(top.count) < options.minimum_frequency) break;
    const std::string bytes = v.tokens[top.left] + v.tokens[top.right];
    if (reserved.contains(bytes)) continue;
    const uint32_t id = ids.emplace(bytes, static_cast<uint32_t>(v.tokens.size())).first->second;
    if (id == v.tokens.size()) v.tokens.push_back(bytes);
    const Merge merge{top.left, top.right, id};
    // A token that two rules make can bring a pair back that was merged before: its rule is there already.
    if (merged_before.insert(top.pair).second) v.merges.push_back(merge);
    const std::vector<uint32_t> where = std::exchange(pairs[top.pair].words, {});
    risen.clear();
    for (const uint32_t word : where)
      merge_in(words, word, merge, [&](uint32_t left, uint32_t right, int64_t difference) {
        const uint32_t index = pairs.at(left, right);
        auto& pair = pairs[index];
        pair.count += difference;
        if (difference < 0) return;
        if (pair.words.empty() || pair.words.back() != word) pair.words.push_back(word);
        if (pair.seen_at != step) {
          pair.seen_at = step;
          risen.push_back(index);
        }
      });
    pairs[top.pair].count = 0;
    for (const uint32_t index : risen) enqueue(index);
    ++step;
  }
  return v;
}

}  // namespace nichelm::text
