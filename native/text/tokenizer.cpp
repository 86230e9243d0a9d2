#include "text/tokenizer.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "runtime/error.h"
#include "text/unicode.h"

namespace nichelm::text {
namespace {

constexpr size_t kSectionBytes = size_t{1} << 18;  // long texts are shared out in sections of about this

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// A place at or after `from` where a piece begins, whatever comes before or after: at a space and a letter. White space before them is a piece of its own.
size_t safe_cut(std::string_view text, size_t from) {
  for (size_t i = from; i + 1 < text.size(); ++i)
    if (text[i] == ' ' && is_letter(text[i + 1])) return i;
  return text.size();
}

}  // namespace

// Part of a text to encode by itself; where `text` is empty, one added token.
struct Tokenizer::Section { std::string_view text; uint32_t id; };

// A cache for each thread of one call, borrowed: calls at the same time do not wait for each other.
struct Tokenizer::Caches {
  Caches(const Tokenizer& owner, int threads) : owner(owner) {
    const std::lock_guard lock(owner.caches_mutex_);
    for (int t = 0; t < threads; ++t) {
      if (owner.free_caches_.empty()) {
        taken.push_back(std::make_unique<PieceCache>());
      } else {
        taken.push_back(std::move(owner.free_caches_.back()));
        owner.free_caches_.pop_back();
      }
    }
    owner.free_caches_.reserve(owner.free_caches_.size() + taken.size());
  }
  ~Caches() {
    const std::lock_guard lock(owner.caches_mutex_);
    for (auto& cache : taken) owner.free_caches_.push_back(std::move(cache));
  }
  const Tokenizer& owner;
  std::vector<std::unique_ptr<PieceCache>> taken;
};

Tokenizer::Tokenizer(std::vector<std::string> tokens, const std::array<uint32_t, 256>& byte_ids, std::span<const Merge> merges, std::vector<AddedToken> added)
    : tokens_(std::move(tokens)), bpe_(byte_ids, merges), added_(std::move(added)) {
  const auto known = [&](uint32_t id) { return id < tokens_.size(); };
  for (const Merge& m : merges) require(known(m.left) && known(m.right) && known(m.merged), "tokenizer: a merge rule speaks of a token that is not in the vocabulary");
  for (const uint32_t id : byte_ids) require(known(id), "tokenizer: a byte's token is not in the vocabulary");
  for (uint32_t i = 0; i < added_.size(); ++i) {
    require(known(added_[i].id) && !added_[i].content.empty(), "tokenizer: an added token must have an id of the vocabulary and some content");
    by_first_byte_[added_[i].normalized][static_cast<unsigned char>(added_[i].content[0])].push_back(i);
  }
  for (auto& phase : by_first_byte_)
    for (auto& list : phase) std::stable_sort(list.begin(), list.end(), [&](uint32_t a, uint32_t b) { return added_[a].content.size() > added_[b].content.size(); });
}

// Cuts out added tokens, leftmost and longest first, and long texts at safe places.
void Tokenizer::cut(std::string_view text, bool special, size_t phase, std::vector<Section>& sections) const {
  const auto rest = [&](std::string_view part) {
    if (phase == 0) return cut(part, special, 1, sections);
    while (part.size() > kSectionBytes) {
      const size_t at = safe_cut(part, kSectionBytes);
      sections.push_back({part.substr(0, at), 0});
      part.remove_prefix(at);
    }
    if (!part.empty()) sections.push_back({part, 0});
  };
  size_t begin = 0;
  if (!added_.empty())
    for (size_t i = 0; i < text.size();) {
      const AddedToken* found = nullptr;
      for (const uint32_t candidate : by_first_byte_[phase][static_cast<unsigned char>(text[i])])
        if (text.substr(i).starts_with(added_[candidate].content)) {
          found = &added_[candidate];
          break;
        }
      if (!found) {
        ++i;
        continue;
      }
      if (!found->special || special) {
        rest(text.substr(begin, i - begin));
        sections.push_back({{}, found->id});
        begin = i + found->content.size();
      }
      i += found->content.size();
    }
  rest(text.substr(begin));
}

EncodedBatch Tokenizer::encode(std::span<const std::string_view> texts, bool special, int threads) const {
  require_utf8(texts);
  std::vector<Section> sections;
  std::vector<size_t> first_section;
  for (const std::string_view text : texts) {
    first_section.push_back(sections.size());
    cut(text, special, 0, sections);
  }
  first_section.push_back(sections.size());

  // Threads take runs of sections in turn; each run's ids lie together in the vector of the thread that took it.
  struct Run { size_t first, last; int thread; size_t begin; };
  std::vector<Run> runs;
  for (size_t i = 0; i < sections.size();) {
    size_t j = i, bytes = 0;
    while (j < sections.size() && bytes < kSectionBytes / 4) bytes += sections[j++].text.size();
    runs.push_back({i, j, 0, 0});
    i = j;
  }
  threads = std::clamp(static_cast<int>(std::min<size_t>(runs.size(), 1024)), 1, std::max(1, threads));
  std::vector<std::vector<uint32_t>> encoded(static_cast<size_t>(threads));
  std::vector<size_t> counts(sections.size());
  std::atomic<size_t> next{0};
  const Caches caches(*this, threads);
  auto work = [&](int thread) {
    auto& out = encoded[static_cast<size_t>(thread)];
    for (size_t r; (r = next.fetch_add(1)) < runs.size();) {
      runs[r].thread = thread;
      runs[r].begin = out.size();
      for (size_t s = runs[r].first; s < runs[r].last; ++s) {
        const size_t before = out.size();
        if (sections[s].text.empty()) out.push_back(sections[s].id);
        else bpe_.encode(sections[s].text, *caches.taken[static_cast<size_t>(thread)], out);
        counts[s] = out.size() - before;
      }
    }
  };
  Pool pool(threads);
  pool.run([](void* context, int thread) { (*static_cast<decltype(work)*>(context))(thread); }, &work);

  EncodedBatch batch;
  size_t total = 0;
  for (const size_t count : counts) total += count;
  batch.ids.reserve(total);
  for (const Run& run : runs) {
    size_t count = 0;
    for (size_t s = run.first; s < run.last; ++s) count += counts[s];
    const auto from = encoded[static_cast<size_t>(run.thread)].begin() + static_cast<ptrdiff_t>(run.begin);
    batch.ids.insert(batch.ids.end(), from, from + static_cast<ptrdiff_t>(count));
  }
  batch.offsets.push_back(0);
  for (size_t t = 0; t < texts.size(); ++t) {
    size_t offset = batch.offsets.back();
    for (size_t s = first_section[t]; s < first_section[t + 1]; ++s) offset += counts[s];
    batch.offsets.push_back(offset);
  }
  return batch;
}

std::string Tokenizer::decode(std::span<const uint32_t> ids) const {
  std::string bytes;
  for (const uint32_t id : ids) {
    if (id >= tokens_.size() || tokens_[id].empty()) throw Error(ErrorCode::argument, "decode: there is no token " + std::to_string(id) + " in a vocabulary of " + std::to_string(tokens_.size()));
    bytes += tokens_[id];
  }
  return bytes;
}

}  // namespace nichelm::text
