// cp.async: a copy lands when it is issued, or only when its thread waits for it.
#include <cstring>

#include "emulator/grid.h"

namespace nichelm::emulator {
namespace {

void land(const Copy& c) {
  std::memcpy(c.into, c.from, static_cast<size_t>(c.valid));
  std::memset(c.into + c.valid, 0, static_cast<size_t>(c.bytes - c.valid));
}

}  // namespace

void copy_async(void* into, const void* from, int bytes, int valid, Place place) {
  Thread& t = current();
  const Copy copy{static_cast<char*>(into), static_cast<const char*>(from), bytes, valid};
  if (!in_shared(into, static_cast<size_t>(bytes))) fail("%s:%d: an asynchronous copy goes outside shared memory", place.file, place.line);
  if (reinterpret_cast<uintptr_t>(into) % static_cast<size_t>(bytes) || (valid && reinterpret_cast<uintptr_t>(from) % static_cast<size_t>(bytes)))
    fail("%s:%d: an asynchronous copy of %d bytes is not aligned to them", place.file, place.line, bytes);
  if (valid) {  // a wrong address should fault at this line, not where the copy lands
    [[maybe_unused]] volatile char touched = copy.from[0];
    touched = copy.from[valid - 1];
  }
  record(into, static_cast<size_t>(bytes), t.number, true);
  if (mode().landing == Landing::early) land(copy);
  record_flight(into, static_cast<size_t>(bytes), true);
  if (t.copies.empty()) t.copies.emplace_back();
  t.copies.back().push_back(copy);
}

void commit_copies() {
  auto& groups = current().copies;
  if (groups.empty()) groups.emplace_back();
  groups.emplace_back();
}

void wait_copies(int but) {
  Thread& t = current();
  auto& groups = t.copies;
  while (static_cast<int>(groups.size()) - 1 > but) {
    for (const Copy& copy : groups.front()) {
      if (mode().landing == Landing::late) land(copy);
      record_flight(copy.into, static_cast<size_t>(copy.bytes), false);
      record(copy.into, static_cast<size_t>(copy.bytes), t.number, true);
    }
    groups.erase(groups.begin());
  }
}

}  // namespace nichelm::emulator
