// How often the test program has asked for memory by new, on any thread.
#pragma once
#include <cstdint>

namespace nichelm::test {

int64_t allocations();

}  // namespace nichelm::test
