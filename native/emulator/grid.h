// Runs a CUDA kernel, compiled as ordinary C++, on the CPU: blocks one after another, a fiber for every thread of a block.
// What a kernel does wrong is told as a Failure: divergent barriers and warp collectives, dead locks, races on shared memory, addresses outside it,
// copies and matrix instructions that nobody waited for, shared memory that is read asynchronously without a proxy fence. Not seen: order of memory
// between threads, blocks that run at once, speed.
// One kernel runs at a time in a process.
#pragma once
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace nichelm::emulator {

struct Index { unsigned x, y, z; };
struct Extent {
  unsigned x, y, z;
  constexpr Extent(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// Which of the orders that the hardware may choose is taken.
enum class Order : uint8_t { forward, reverse, random };  // of blocks and of threads
enum class Landing : uint8_t { early, late };             // asynchronous copies land when they are issued, or when they are waited for
struct Mode {
  Order order = Order::forward;
  Landing landing = Landing::late;
  bool races = true;
  uint64_t seed = 1;
};
void set_mode(const Mode& mode);
const Mode& mode();

struct Failure : std::runtime_error { using std::runtime_error::runtime_error; };
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

// The line of kernel code that calls a primitive: a default argument is evaluated at the call.
struct Place {
  const char* file;
  int line;
  static constexpr Place here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
  bool operator==(const Place&) const = default;
};

// Calls body(context) in every thread of every block.
constexpr size_t kMostShared = 232448;  // bytes a block may use on sm_90
void run(const char* kernel, Extent grid, Extent block, size_t shared, void (*body)(const void* context), const void* context);

// For the primitives. ------------------------------------------------------------------------------------------------------------------------

struct Copy { char* into; const char* from; int bytes, valid; };  // valid bytes are copied, the others are zeroed
struct Store { std::vector<const char*> from; std::vector<char*> into; };  // 16 bytes each
enum class State : uint8_t { ready, in_collective, at_barrier, spinning, done };
struct Thread {
  Index index;
  unsigned number, lane, warp;
  State state;
  int barrier;
  Place place;
  std::vector<std::vector<Copy>> copies;  // groups of cp.async; the last is open
  std::vector<std::vector<Store>> stores;  // groups of tensor stores, likewise
};
Thread& current();

// All lanes of mask meet here; the last to come calls act(slots) for all of them. slots[lane] is what that lane gave.
using Act = void (*)(void** slots, unsigned mask);
void collective(const char* what, unsigned mask, void* slot, Act act, Place place);

// Waits until count threads (0: all of the block) have come to barrier number; or, without wait, only counts as come.
void barrier(int number, unsigned count, bool wait, Place place);

// For loops that test what other threads change: lets them run. progress says that something was changed.
void spin(Place place);
void progress();

unsigned block_size();  // threads

// Shared memory.
char* shared_memory();
bool in_shared(const void* address, size_t bytes);
uint32_t shared_address(const void* address, Place place);  // as 32 bits, as PTX has it
char* shared_pointer(uint32_t address);

// The record of who touched which byte of shared memory (races.cpp).
void start_record(const char* shared, size_t bytes, unsigned warps);
void record_for(const Thread* thread);  // whose accesses follow; null: none of a kernel's
void record_barrier();               // all threads of the block have met
void record_warp(unsigned warp);     // all threads of the warp have met
void record(const void* address, size_t bytes, unsigned thread, bool write);
void record_flight(const void* address, size_t bytes, bool flying);  // an asynchronous copy writes there
void record_landing(const void* address, size_t bytes);              // it has: what is there is no thread's any more
// Tensor cores and the copy engine read shared memory behind the threads' backs: what a thread wrote must have been fenced by it, and met.
void record_fence(unsigned thread);
void record_asynchronous_read(const void* address, size_t bytes, unsigned thread);
// 16 bytes that may be read until they are released, by += 1 and -= 1; whatever writes there meanwhile fails. Kept where races are not looked for, too.
void hold(const void* chunk, int by);
void require_not_held(const void* address, size_t bytes, Place place);

// Hopper's own (mbarrier.cpp, tensor.cpp, warpgroup.cpp; emulator/hopper.h).
void start_hopper(unsigned warps);
void end_hopper_thread();
void end_hopper_block();
bool land_one(unsigned which);  // one of the tensor copies in flight; false if there is none
std::string hopper_waits();     // what may explain a dead lock

// cp.async (copies.cpp).
void copy_async(void* into, const void* from, int bytes, int valid, Place place);
void commit_copies();
void wait_copies(int but);

}  // namespace nichelm::emulator
