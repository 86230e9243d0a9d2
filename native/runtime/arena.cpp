#include "runtime/arena.h"

#include <sys/mman.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

#include "runtime/error.h"

namespace nichelm {
namespace {

std::string mebibytes(int64_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB"; }

int64_t read_number(const char* file) {
  std::FILE* f = std::fopen(file, "r");
  if (!f) return -1;
  long long value = -1;
  if (std::fscanf(f, "%lld", &value) != 1) value = -1;
  std::fclose(f);
  return value;
}

}  // namespace

int64_t available_memory() {
  int64_t available = -1;
  if (std::FILE* f = std::fopen("/proc/meminfo", "r")) {
    char line[128];
    long long kilobytes = 0;
    while (std::fgets(line, sizeof line, f))
      if (std::sscanf(line, "MemAvailable: %lld kB", &kilobytes) == 1) available = kilobytes * 1024;
    std::fclose(f);
  }
  const int64_t limit = read_number("/sys/fs/cgroup/memory.max"), used = read_number("/sys/fs/cgroup/memory.current");
  if (limit > 0 && used >= 0) available = available < 0 ? limit - used : std::min(available, limit - used);
  return available;
}

void require_memory(int64_t bytes) {
  const int64_t available = available_memory();
  if (available >= 0 && bytes > available) throw Error(ErrorCode::memory, "out of memory: " + mebibytes(bytes) + " are needed, " + mebibytes(std::max<int64_t>(0, available)) + " are available");
}

Arena::Arena(int64_t bytes) : bytes_(bytes) {
  if (bytes <= 0) throw Error(ErrorCode::argument, "an arena needs a positive number of bytes; got " + std::to_string(bytes));
#ifdef __GLIBC__
  malloc_trim(0);  // what reading text and clustering freed is still held for the next of them
#endif
  require_memory(bytes);  // the system would promise more than it has and end the process later
  void* data = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) throw Error(ErrorCode::memory, "out of memory: " + mebibytes(bytes) + " could not be had");
  data_ = static_cast<char*>(data);
#ifdef MADV_HUGEPAGE
  madvise(data_, static_cast<size_t>(bytes), MADV_HUGEPAGE);  // fewer TLB misses in the products; only a wish
#endif
}

Arena::~Arena() { munmap(data_, static_cast<size_t>(bytes_)); }

void Arena::check(int64_t offset, int64_t bytes) const {
  if (offset < 0 || bytes < 0 || offset > bytes_ - bytes)
    throw Error(ErrorCode::argument, std::to_string(bytes) + " bytes from " + std::to_string(offset) + " on are not all inside the arena of " + std::to_string(bytes_) + " bytes");
}

void Arena::write(int64_t offset, const void* from, int64_t bytes) {
  check(offset, bytes);
  std::memcpy(data_ + offset, from, static_cast<size_t>(bytes));
}

void Arena::read(int64_t offset, void* into, int64_t bytes) const {
  check(offset, bytes);
  std::memcpy(into, data_ + offset, static_cast<size_t>(bytes));
}

}  // namespace nichelm
