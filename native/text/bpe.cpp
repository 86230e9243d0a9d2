#include "text/bpe.h"

#include <algorithm>
#include <cstring>
#include <queue>

#include "text/pretokenize.h"

namespace nichelm::text {
namespace {

constexpr size_t kShort = 48;  // up to here a plain search for the lowest rank is faster than a heap

std::array<uint64_t, 4> key_of(const char* piece, size_t bytes, const char* end) {
  // 32 bytes of ones, then zeros: read from 32 - bytes on, it masks what lies behind the piece.
  static constexpr auto kMask = [] {
    std::array<unsigned char, 64> mask{};
    for (int i = 0; i < 32; ++i) mask[static_cast<size_t>(i)] = 0xff;
    return mask;
  }();
  std::array<uint64_t, 4> key{};
  if (end - piece >= 32) {
    std::array<uint64_t, 4> mask;
    std::memcpy(key.data(), piece, 32);
    std::memcpy(mask.data(), kMask.data() + 32 - bytes, 32);
    for (size_t i = 0; i < 4; ++i) key[i] &= mask[i];
  } else {
    std::memcpy(key.data(), piece, bytes);
  }
  reinterpret_cast<unsigned char*>(key.data())[31] = static_cast<unsigned char>(bytes);
  return key;
}

}  // namespace

void Bpe::encode(std::string_view text, PieceCache& cache, std::vector<uint32_t>& out) const {
  const char* const end = text.data() + text.size();
  for (const char* piece = text.data(); piece < end;) {
    const char* const next = next_piece(piece, end);
    const auto bytes = static_cast<size_t>(next - piece);
    if (bytes > PieceCache::kMaxBytes) {
      encode_piece({piece, bytes}, out);
    } else {
      const auto key = key_of(piece, bytes, end);
      PieceCache::Slot& slot = cache.slot(key);
      if (slot.key != key) {
        const size_t before = out.size();
        encode_short({piece, bytes}, out);
        if (const size_t count = out.size() - before; count <= PieceCache::kMaxIds) {
          slot.key = key;
          slot.count = static_cast<uint32_t>(count);
          std::copy_n(out.data() + before, count, slot.ids);
        }
      } else if (slot.count == 1) {
        out.push_back(slot.ids[0]);
      } else {
        out.insert(out.end(), slot.ids, slot.ids + slot.count);
      }
    }
    piece = next;
  }
}

void Bpe::encode_piece(std::string_view piece, std::vector<uint32_t>& out) const {
  piece.size() <= kShort ? encode_short(piece, out) : encode_long(piece, out);
}

void Bpe::encode_short(std::string_view piece, std::vector<uint32_t>& out) const {
  uint32_t ids[kShort];
  MergeTable::Rule rules[kShort];  // of ids[i] and ids[i + 1]
  size_t count = piece.size();
  for (size_t i = 0; i < count; ++i) ids[i] = byte_ids_[static_cast<unsigned char>(piece[i])];
  for (size_t i = 0; i + 1 < count; ++i) rules[i] = rules_.find(ids[i], ids[i + 1]);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i)
      if (rules[i].rank < rules[best].rank) best = i;
    if (rules[best].rank == MergeTable::kNone) break;
    ids[best] = rules[best].merged;
    --count;
    for (size_t i = best + 1; i < count; ++i) ids[i] = ids[i + 1];
    for (size_t i = best + 1; i + 1 < count; ++i) rules[i] = rules[i + 1];
    if (best > 0) rules[best - 1] = rules_.find(ids[best - 1], ids[best]);
    if (best + 1 < count) rules[best] = rules_.find(ids[best], ids[best + 1]);
  }
  out.insert(out.end(), ids, ids + count);
}

void Bpe::encode_long(std::string_view piece, std::vector<uint32_t>& out) const {
  constexpr size_t kEnd = SIZE_MAX;
  constexpr uint32_t kGone = UINT32_MAX;
  struct Symbol { uint32_t id; size_t previous, next; };
  struct Candidate {
    uint32_t rank, left, right, merged;
    size_t at;
    bool operator<(const Candidate& other) const { return rank != other.rank ? rank > other.rank : at > other.at; }
  };
  std::vector<Symbol> symbols(piece.size());
  for (size_t i = 0; i < piece.size(); ++i)
    symbols[i] = {byte_ids_[static_cast<unsigned char>(piece[i])], i == 0 ? kEnd : i - 1, i + 1 == piece.size() ? kEnd : i + 1};
  std::priority_queue<Candidate> candidates;
  const auto consider = [&](size_t at) {
    if (at == kEnd || symbols[at].next == kEnd) return;
    const uint32_t left = symbols[at].id, right = symbols[symbols[at].next].id;
    if (const auto rule = rules_.find(left, right); rule.rank != MergeTable::kNone) candidates.push({rule.rank, left, right, rule.merged, at});
  };
  for (size_t i = 0; i < piece.size(); ++i) consider(i);
  while (!candidates.empty()) {
    const Candidate c = candidates.top();
    candidates.pop();
    Symbol& left = symbols[c.at];
    if (left.id != c.left || left.next == kEnd || symbols[left.next].id != c.right) continue;  // merged with another since
    Symbol& right = symbols[left.next];
    left.id = c.merged;
    left.next = right.next;
    right.id = kGone;
    if (left.next != kEnd) symbols[left.next].previous = c.at;
    consider(left.previous);
    consider(c.at);
  }
  for (size_t i = 0; i != kEnd; i = symbols[i].next) out.push_back(symbols[i].id);
}

}  // namespace nichelm::text
