// One allocation that holds everything a set of programs works on: parameters, gradients, optimizer state, inputs, activations.
#pragma once
#include <cstdint>

namespace nichelm {

class Arena {
 public:
  // Zeroed, page-aligned. Throws a memory error that says how much was asked for and how much there is.
  explicit Arena(int64_t bytes);
  ~Arena();
  Arena(const Arena&) = delete;

  char* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

  // Copies between the arena and host memory. Throws if the range is not inside.
  void write(int64_t offset, const void* from, int64_t bytes);
  void read(int64_t offset, void* into, int64_t bytes) const;

 private:
  void check(int64_t offset, int64_t bytes) const;
  char* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Memory that this process could still get: what the system says is available, capped by the cgroup's limit. -1 if unknown.
int64_t available_memory();

// Throws a memory error that says how much is asked for and how much there is, where that is less.
void require_memory(int64_t bytes);

}  // namespace nichelm
