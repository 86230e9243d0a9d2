// Byte-level byte-pair encoding (Sennrich et al. 2016; bytes: Radford et al. 2019): a piece starts as its bytes; while any two neighbours have a
// merge rule, the rule of lowest rank is applied, leftmost first.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "text/merge_table.h"

namespace nichelm::text {

// What short pieces were encoded as before: fixed memory (4 MB), one slot for a hash, the newest stays. One thread uses it at a time.
class PieceCache {
 public:
  static constexpr size_t kMaxBytes = 31, kMaxIds = 7;
  struct alignas(64) Slot {
    std::array<uint64_t, 4> key;  // the piece's bytes, zeros, and its size in the last byte; all zero: free
    uint32_t ids[kMaxIds], count;
  };
  PieceCache() : slots_(std::make_unique<Slot[]>(kSlots)) {}
  Slot& slot(const std::array<uint64_t, 4>& key) {
    uint64_t hash = (key[0] * 0x9e3779b97f4a7c15u) ^ (key[1] * 0xc2b2ae3d27d4eb4fu) ^ (key[2] * 0x165667b19e3779f9u) ^ (key[3] * 0xd6e8feb86659fd93u);
    hash ^= hash >> 32;
    return slots_[(hash * 0x9e3779b97f4a7c15u) >> (64 - kBits)];
  }

 private:
  static constexpr int kBits = 16;
  static constexpr size_t kSlots = size_t{1} << kBits;
  std::unique_ptr<Slot[]> slots_;
};

class Bpe {
 public:
  // The ids of the 256 single bytes, and the rules in order of rank.
  Bpe(const std::array<uint32_t, 256>& byte_ids, std::span<const Merge> merges) : byte_ids_(byte_ids), rules_(merges) {}

  // Appends the ids of `text`, valid UTF-8, to `out`.
  void encode(std::string_view text, PieceCache& cache, std::vector<uint32_t>& out) const;

  // Appends the ids of one piece, whatever its length: O(n log n).
  void encode_piece(std::string_view piece, std::vector<uint32_t>& out) const;

 private:
  void encode_short(std::string_view piece, std::vector<uint32_t>& out) const;
  void encode_long(std::string_view piece, std::vector<uint32_t>& out) const;
  std::array<uint32_t, 256> byte_ids_;
  MergeTable rules_;
};

}  // namespace nichelm::text
