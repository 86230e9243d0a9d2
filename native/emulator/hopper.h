// Hopper's own instructions: barriers in shared memory, tensor copies, matrix instructions of a warpgroup, registers that change hands.
#pragma once
#include "emulator/grid.h"

namespace nichelm::emulator {

// mbarrier.cpp. A barrier is a word of shared memory: a phase ends when all arrivals have come and all bytes that were announced have landed.
void mbarrier_init(uint64_t* barrier, int arrivals, Place place);
void mbarrier_fence_init();
void mbarrier_arrive(uint64_t* barrier, int expect, Place place);
bool mbarrier_passed(uint64_t* barrier, unsigned parity, Place place);  // whether the phase of that parity has ended
void mbarrier_landed(uint64_t* barrier, int bytes, Place place);
void require_mbarrier(uint64_t* barrier, Place place);                  // for a copy that will land there
void change_registers(int count, bool more, Place place);

// tensor.cpp. A box of a tensor of bf16 in device memory, as tensor maps describe it: sizes, bytes from one to the next along each axis, innermost first.
struct Box {
  char* data;
  uint64_t sizes[4], strides[4];
  uint32_t box[4];
};
void load_box(void* into, const Box& tensor, const int (&at)[4], uint64_t* barrier, Place place);
void store_box(const Box& tensor, const int (&at)[4], const void* from, Place place);
void commit_stores();
void wait_stores(int but);
void load_bulk(void* into, const void* from, int bytes, uint64_t* barrier, Place place);

// warpgroup.cpp. d (64 x n) = a b, or += it; b and, where there are no registers of it, a by descriptors of shared memory.
struct Product {
  int n;
  uint64_t a, b;
  const uint32_t* a_registers;
  bool transposed_a, transposed_b, accumulate;
};
void product_fence();
void start_product(float* d, const Product& product, Place place);
void commit_products();
void wait_products(int but, Place place);

// What each of them forgets when a block starts, and tells when a thread or a block ends.
void start_mbarriers();
void start_tensors();
void end_tensor_thread();
void end_tensor_block();
void start_warpgroups(unsigned warps);
void end_warpgroup_thread();
void end_warpgroup_block();

}  // namespace nichelm::emulator
