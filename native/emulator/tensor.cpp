// Tensor copies (cp.async.bulk.tensor) of boxes 128 bytes wide, swizzled: 16-byte chunk c of row r lies at chunk c ^ (r % 8), where rows are counted from
// an address that is a multiple of 1024. What lies outside the tensor reads as 0 and counts towards the barrier's bytes; stores leave it as it is.
#include <cstring>

#include "emulator/hopper.h"

namespace nichelm::emulator {
namespace {

constexpr int kRow = 128, kChunk = 16;

// Bytes on their way; chunks that are null in memory are zeros.
struct Flight {
  std::vector<std::pair<char*, const char*>> chunks;
  std::vector<int> valid;  // bytes of each
  uint64_t* barrier;
  int bytes;
  Place place;
};
std::vector<Flight> flights;

char* swizzled(const char* base, size_t at) {
  const size_t address = static_cast<size_t>(base - shared_memory()) + at;
  return shared_memory() + (address ^ (address >> 7 & 7) << 4);
}

int rows_of(const Box& t) { return static_cast<int>(t.box[1] * t.box[2] * t.box[3]); }

void check_box(const void* shared, const Box& t, Place place) {
  if (t.box[0] * 2 != kRow) fail("%s:%d: a box of %u elements a row: the swizzle is of 64", place.file, place.line, t.box[0]);
  if (!in_shared(shared, static_cast<size_t>(rows_of(t)) * kRow)) fail("%s:%d: a box goes outside shared memory", place.file, place.line);
  if ((static_cast<const char*>(shared) - shared_memory()) % 1024) fail("%s:%d: a box is not aligned to 1024 bytes of shared memory", place.file, place.line);
}

// PTX, "Tensors": the address of a box must be aligned to 16 bytes; a row that begins elsewhere is an illegal instruction on sm_90.
void check_beginning(const int (&at)[4], Place place) {
  if (at[0] * 2 % kChunk) fail("%s:%d: a box begins at element %d of a row, which is no multiple of 16 bytes", place.file, place.line, at[0]);
}

// act(shared, memory, valid) for each chunk of the box; memory null where it lies outside.
template <class Act> void each_chunk(const Box& t, const int (&at)[4], const char* shared, const Act& act) {
  for (int r = 0; r < rows_of(t); ++r) {
    const int64_t y = at[1] + r % static_cast<int>(t.box[1]), z = at[2] + r / static_cast<int>(t.box[1]) % static_cast<int>(t.box[2]), w = at[3] + r / static_cast<int>(t.box[1] * t.box[2]);
    const auto inside = [&](int64_t i, int axis) { return i >= 0 && static_cast<uint64_t>(i) < t.sizes[axis]; };
    const bool row = inside(y, 1) && inside(z, 2) && inside(w, 3);
    for (int c = 0; c < kRow / kChunk; ++c) {
      const int64_t x = at[0] + c * 8, left = static_cast<int64_t>(t.sizes[0]) - x;
      char* memory = row && inside(x, 0) ? t.data + x * 2 + y * static_cast<int64_t>(t.strides[1]) + z * static_cast<int64_t>(t.strides[2]) + w * static_cast<int64_t>(t.strides[3]) : nullptr;
      act(swizzled(shared, static_cast<size_t>(r * kRow + c * kChunk)), memory, memory ? static_cast<int>(left < 8 ? left : 8) * 2 : 0);
    }
  }
}

void land(const Flight& f) {
  for (size_t i = 0; i < f.chunks.size(); ++i) {
    auto [into, from] = f.chunks[i];
    std::memset(into, 0, kChunk);
    if (from) std::memcpy(into, from, static_cast<size_t>(f.valid[i]));
    record_landing(into, kChunk);
  }
  mbarrier_landed(f.barrier, f.bytes, f.place);
}

// What is described at the end of `flights`, where it is kept also if the kernel ends here.
void fly() {
  const Flight& flight = flights.back();
  for (const auto& [into, from] : flight.chunks) {
    require_not_held(into, kChunk, flight.place);
    record(into, kChunk, current().number, true);
    record_flight(into, kChunk, true);
  }
  if (mode().landing == Landing::early) land(flight), flights.pop_back();
  progress();
}

void carry_out(const Store& store) {
  for (size_t i = 0; i < store.from.size(); ++i) std::memcpy(store.into[i], store.from[i], kChunk);
}

}  // namespace

void start_tensors() { flights.clear(); }

bool land_one(unsigned which) {
  if (flights.empty()) return false;
  const size_t i = which == ~0u ? flights.size() - 1 : which % flights.size();
  const Flight flight = std::move(flights[i]);
  flights.erase(flights.begin() + static_cast<std::ptrdiff_t>(i));
  land(flight);
  return true;
}

void load_box(void* into, const Box& t, const int (&at)[4], uint64_t* barrier, Place place) {
  check_box(into, t, place);
  check_beginning(at, place);
  require_mbarrier(barrier, place);
  flights.push_back({{}, {}, barrier, rows_of(t) * kRow, place});
  Flight& flight = flights.back();
  each_chunk(t, at, static_cast<const char*>(into), [&](char* shared, const char* memory, int valid) { flight.chunks.emplace_back(shared, memory), flight.valid.push_back(valid); });
  fly();
}

void load_bulk(void* into, const void* from, int bytes, uint64_t* barrier, Place place) {
  if (!in_shared(into, static_cast<size_t>(bytes))) fail("%s:%d: a bulk copy goes outside shared memory", place.file, place.line);
  if (bytes % kChunk || reinterpret_cast<uintptr_t>(into) % kChunk || reinterpret_cast<uintptr_t>(from) % kChunk) fail("%s:%d: a bulk copy is not of whole 16 bytes, aligned", place.file, place.line);
  require_mbarrier(barrier, place);
  flights.push_back({{}, {}, barrier, bytes, place});
  Flight& flight = flights.back();
  for (int i = 0; i < bytes; i += kChunk) flight.chunks.emplace_back(static_cast<char*>(into) + i, static_cast<const char*>(from) + i), flight.valid.push_back(kChunk);
  fly();
}

void store_box(const Box& t, const int (&at)[4], const void* from, Place place) {
  check_box(from, t, place);
  check_beginning(at, place);
  for (const int i : at)
    if (i < 0) fail("%s:%d: a store of a box that begins before the tensor", place.file, place.line);
  auto& groups = current().stores;
  if (groups.empty()) groups.emplace_back();
  Store& store = groups.back().emplace_back();
  each_chunk(t, at, static_cast<const char*>(from), [&](char* shared, char* memory, int valid) {
    record_asynchronous_read(shared, kChunk, current().number);
    if (valid && valid < kChunk) fail("%s:%d: a store of rows that are no multiple of 16 bytes", place.file, place.line);
    if (memory) store.from.push_back(shared), store.into.push_back(memory), hold(shared, 1);
  });
  if (mode().landing == Landing::early) carry_out(store);
}

void commit_stores() {
  auto& groups = current().stores;
  if (groups.empty()) groups.emplace_back();
  groups.emplace_back();
}

void wait_stores(int but) {
  auto& groups = current().stores;
  while (static_cast<int>(groups.size()) - 1 > but) {
    for (const Store& store : groups.front()) {
      if (mode().landing == Landing::late) carry_out(store);
      for (const char* chunk : store.from) hold(chunk, -1);
    }
    groups.erase(groups.begin());
  }
}

void end_tensor_thread() {
  for (const auto& group : current().stores)
    if (!group.empty()) fail("the thread ends with stores that it did not wait for");
}
void end_tensor_block() {
  if (!flights.empty()) fail("%s:%d: the block ended before a copy landed", flights.front().place.file, flights.front().place.line);
}

}  // namespace nichelm::emulator
