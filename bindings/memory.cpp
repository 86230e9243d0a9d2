// Memory and programs on either kind of device.
#include "device.h"

namespace nichelm::binding {

Memory::Memory(std::shared_ptr<Gpu> gpu, int64_t bytes) : gpu_(std::move(gpu)), bytes_(bytes) {
  require(bytes > 0, "an arena must have at least one byte");
  const std::lock_guard lock(gpu_->lock);
  there_ = static_cast<char*>(gpu_->device->allocate(bytes));
  gpu_->device->zero(there_, bytes);
}

Memory::~Memory() {
  if (!there_) return;
  const std::lock_guard lock(gpu_->lock);
  try {
    gpu_->device->release(there_);
  } catch (const Error&) {  // a GPU that failed before: who used it was told then
  }
}

void Memory::check(int64_t offset, int64_t bytes) const {
  if (offset < 0 || bytes < 0 || offset > bytes_ - bytes)
    throw Error(ErrorCode::argument, std::to_string(bytes) + " bytes from " + std::to_string(offset) + " on are not all inside the arena of " + std::to_string(bytes_) + " bytes");
}

void Memory::write(int64_t offset, const void* from, int64_t bytes) {
  if (arena_) return arena_->write(offset, from, bytes);
  check(offset, bytes);
  const std::lock_guard lock(gpu_->lock);
  gpu_->device->write(there_ + offset, from, bytes);
}

void Memory::read(int64_t offset, void* into, int64_t bytes) {
  if (arena_) return arena_->read(offset, into, bytes);
  check(offset, bytes);
  const std::lock_guard lock(gpu_->lock);
  gpu_->device->read(there_ + offset, into, bytes);
}

void Memory::wait() {
  if (!gpu_) return;
  const std::lock_guard lock(gpu_->lock);
  gpu_->device->synchronize();
}

BoundProgram::BoundProgram(std::shared_ptr<Memory> given, std::string_view text, Isa isa) : memory(std::move(given)) {
  if (memory->arena_) program_.emplace(text, *memory->arena_, isa);
  else there_.emplace(text, *memory->gpu_->device, memory->there_, memory->bytes_);
}

void BoundProgram::run(Device& device) {
  if (program_) return program_->run(device.cpu);
  const std::lock_guard lock(memory->gpu_->lock);
  there_->run();
}

std::vector<Program::Timing> BoundProgram::profile(Device& device) {
  if (program_) return program_->profile(device.cpu);
  const std::lock_guard lock(memory->gpu_->lock);
  return there_->profile();
}

}  // namespace nichelm::binding
