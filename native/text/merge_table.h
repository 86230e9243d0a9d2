// The merge rules of byte-pair encoding, ready for lookup.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace nichelm::text {

struct Merge { uint32_t left, right, merged; };  // ids of tokens; a rule's rank is its place in the list

class MergeTable {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Rule { uint32_t rank, merged; };  // rank kNone: these two do not merge

  explicit MergeTable(std::span<const Merge> merges) {
    while (slots_.size() < 2 * merges.size() + 2) slots_.resize(slots_.empty() ? 64 : 2 * slots_.size());
    for (uint32_t rank = 0; rank < merges.size(); ++rank) {
      const uint64_t key = key_of(merges[rank].left, merges[rank].right);
      Slot& slot = slots_[place(key)];
      slot = {key, {rank, merges[rank].merged}};  // of two equal rules the later holds, as in the Hugging Face library
    }
  }
  Rule find(uint32_t left, uint32_t right) const { return slots_[place(key_of(left, right))].rule; }

 private:
  static constexpr uint64_t kEmpty = UINT64_MAX;
  struct Slot { uint64_t key = kEmpty; Rule rule{kNone, 0}; };
  static uint64_t key_of(uint32_t left, uint32_t right) { return uint64_t{left} << 32 | right; }
  size_t place(uint64_t key) const {
    uint64_t hash = key * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 32;
    for (size_t at = hash;; ++at)
      if (const size_t i = at & (slots_.size() - 1); slots_[i].key == key || slots_[i].key == kEmpty) return i;
  }
  std::vector<Slot> slots_;
};

}  // namespace nichelm::text
