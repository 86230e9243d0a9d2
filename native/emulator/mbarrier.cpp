// mbarrier as the PTX manual describes it ("Asynchronous Barrier", "mbarrier phase"), and what Hopper starts and ends with.
#include <cstring>

#include "emulator/hopper.h"

namespace nichelm::emulator {
namespace {

// 0xff.. is what nobody has initialised.
struct Word { int32_t bytes; uint32_t pending : 15, arrivals : 15, phase : 1, bad : 1; };

bool fenced;        // what was initialised is known to the copy engine
unsigned initialiser;
std::vector<std::pair<uint64_t*, Place>> all;
struct Group { int registers; unsigned warps; };
std::vector<Group> groups;

Word* word(uint64_t* barrier, Place place) {
  if (!in_shared(barrier, 8) || reinterpret_cast<uintptr_t>(barrier) % 8) fail("%s:%d: an mbarrier must lie in shared memory, aligned to 8 bytes", place.file, place.line);
  auto* w = reinterpret_cast<Word*>(barrier);
  if (w->bad) fail("%s:%d: the mbarrier was not initialised", place.file, place.line);
  record(barrier, 8, current().number, false);
  return w;
}

void end_phase(Word* w) {
  progress();
  if (w->pending || w->bytes) return;
  w->phase ^= 1, w->pending = w->arrivals;
  record_barrier();  // those that wait for it meet those that came
}

}  // namespace

void start_mbarriers() { fenced = true, all.clear(), groups.assign(32, {0, 0}); }

void mbarrier_init(uint64_t* barrier, int arrivals, Place place) {
  if (!in_shared(barrier, 8) || reinterpret_cast<uintptr_t>(barrier) % 8) fail("%s:%d: an mbarrier must lie in shared memory, aligned to 8 bytes", place.file, place.line);
  record(barrier, 8, current().number, true);
  const Word w{0, static_cast<uint32_t>(arrivals), static_cast<uint32_t>(arrivals), 0, 0};
  std::memcpy(barrier, &w, 8);
  fenced = false, initialiser = current().number;
  all.emplace_back(barrier, place);
}
void mbarrier_fence_init() {
  if (current().number == initialiser) fenced = true;
}
void require_mbarrier(uint64_t* barrier, Place place) {
  word(barrier, place);
  if (!fenced) fail("%s:%d: the copy engine does not know of the mbarrier yet (mbarrier_fence_init)", place.file, place.line);
}

void mbarrier_arrive(uint64_t* barrier, int expect, Place place) {
  Word* w = word(barrier, place);
  if (!w->pending) fail("%s:%d: more arrivals at an mbarrier than its %u", place.file, place.line, w->arrivals);
  w->bytes += expect;
  --w->pending;
  end_phase(w);
}
void mbarrier_landed(uint64_t* barrier, int bytes, Place place) {
  auto* w = reinterpret_cast<Word*>(barrier);
  if (w->bad) fail("%s:%d: the mbarrier was overwritten", place.file, place.line);
  w->bytes -= bytes;
  end_phase(w);
}
bool mbarrier_passed(uint64_t* barrier, unsigned parity, Place place) { return word(barrier, place)->phase != (parity & 1); }

std::string hopper_waits() {
  std::string said;
  for (const auto& [barrier, place] : all) {
    const auto* w = reinterpret_cast<const Word*>(barrier);
    if (w->bytes || w->pending != w->arrivals)
      said += "; the mbarrier at byte " + std::to_string(reinterpret_cast<const char*>(barrier) - shared_memory()) + " waits for " + std::to_string(w->bytes) + " bytes and " + std::to_string(w->pending) +
              " of " + std::to_string(w->arrivals) + " arrivals";
  }
  return said;
}

// setmaxnreg: each warp of a warpgroup must execute it; together the groups may hold what there is.
void change_registers(int count, bool more, Place place) {
  constexpr int kAll = 65536;
  const int threads = static_cast<int>(block_size()), entry = kAll / threads / 8 * 8;
  if (count % 8 || count < 24 || count > 256) fail("%s:%d: %d registers a thread are no multiple of 8 from 24 to 256", place.file, place.line, count);
  if (more ? count < entry : count > entry) fail("%s:%d: %d registers a thread, where there are %d at the start", place.file, place.line, count, entry);
  Group& group = groups[current().warp / 4];
  if (current().lane == 0) ++group.warps;
  group.registers = count;
  int used = 0;
  for (const Group& g : groups) used += 128 * g.registers;
  if (used > kAll) fail("%s:%d: the warpgroups take %d registers together, of %d", place.file, place.line, used, kAll);
}

void start_hopper(unsigned warps) { start_mbarriers(), start_tensors(), start_warpgroups(warps); }
void end_hopper_thread() { end_tensor_thread(), end_warpgroup_thread(); }
void end_hopper_block() {
  end_tensor_block(), end_warpgroup_block();
  for (const Group& g : groups)
    if (g.warps % 4) fail("%u warps of a warpgroup changed their registers, the others did not", g.warps);
}

}  // namespace nichelm::emulator
