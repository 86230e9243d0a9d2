// Runs a test on every CPU device it must pass on: each instruction set, with 1, 2 and 5 threads.
#pragma once
#include <string>

#include "ops/kernels.h"
#include "runtime/cpu.h"
#include "test/test.h"

namespace nichelm::test {

// body(cpu, name, first): name says which device, first is true for the first thread count of an instruction set.
template <class Body> void on_cpus(const Body& body) {
  for (int isa : isas())
    for (int threads : {1, 2, 5}) {
      Cpu cpu(threads, static_cast<Isa>(isa));
      body(cpu, std::string(name_of(cpu.isa())) + ", " + std::to_string(threads) + " threads", threads == 1);
    }
}

// What any op must not accept: runs check() and expects its message to hold the words.
template <class Op> bool refuses(const Op& op, const std::string& words) {
  try {
    op.check();
  } catch (const Error& e) {
    return std::string(e.what()).find(words) != std::string::npos;
  }
  return false;
}

}  // namespace nichelm::test
