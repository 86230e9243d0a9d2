#include "test/devices.h"

#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <sstream>

#include "cuda/load.h"
#include "test/environment.h"
#ifdef NICHELM_EMULATOR
#include "emulator/device.h"
#include "emulator/grid.h"
#endif

namespace nichelm::test {

const std::vector<int>& thread_counts() {
  static const std::vector<int> counts = [] {
    const char* chosen = std::getenv("NICHELM_TEST_THREADS");
    std::istringstream text(chosen ? chosen : "1 2 5");
    return std::vector<int>(std::istream_iterator<int>(text), {});
  }();
  return counts;
}

Staged::~Staged() {
  for (const auto& [here, part] : parts_) device_.release(part.there);
}

void* Staged::place(const Tensor& operand, bool written) {
  const auto [found, is_new] = parts_.try_emplace(operand.data, Part{nullptr, operand.bytes(), written});
  Part& part = found->second;
  part.written |= written;
  if (!is_new) return part.there;
  std::vector<char> image(static_cast<size_t>(part.bytes + kGuard), '\xff');
  std::memcpy(image.data(), operand.data, static_cast<size_t>(part.bytes));
  part.there = device_.allocate(part.bytes + kGuard);
  device_.write(part.there, image.data(), part.bytes + kGuard);
  return part.there;
}

void Staged::fetch(const char* op) {
  for (const auto& [here, part] : parts_) {
    std::vector<char> image(static_cast<size_t>(part.bytes + kGuard));
    device_.read(part.there, image.data(), part.bytes + kGuard);
    bool sound = true;
    for (size_t i = static_cast<size_t>(part.bytes); i < image.size(); ++i) sound = sound && image[i] == '\xff';
    EXPECT(sound, std::string(op) + " wrote behind an operand");
    if (part.written) std::memcpy(here, image.data(), static_cast<size_t>(part.bytes));
    else EXPECT(std::memcmp(here, image.data(), static_cast<size_t>(part.bytes)) == 0, std::string(op) + " changed an operand that it only reads");
  }
}

const std::vector<CudaChoice>& cuda_devices() {
  static const std::vector<CudaChoice> all = [] {
    std::vector<CudaChoice> choices;
#ifdef NICHELM_EMULATOR
    static const std::unique_ptr<CudaDevice> emulated[] = {emulator::open_device(8), emulator::open_device(9)};
    using emulator::Landing, emulator::Order;
    // Races are looked for once: whether two accesses have a barrier between them does not depend on the order.
    const struct { emulator::Mode mode; const char* name; bool hopper; } modes[] = {
        {{Order::forward, Landing::late, true}, "as sm_80, threads forward, copies late", false},
        {{Order::reverse, Landing::early, false}, "as sm_80, threads in reverse, copies early", false},
        {{Order::random, Landing::late, false}, "as sm_80, threads at random, copies late", false},
        {{Order::forward, Landing::late, true}, "as sm_90, threads forward, copies late", true},
        {{Order::random, Landing::early, false}, "as sm_90, threads at random, copies early", true},
    };
    if (chosen_device("cuda-emulated"))
      for (const auto& m : modes) choices.push_back({emulated[m.hopper].get(), std::string("cuda-emulated ") + m.name, [mode = m.mode] { emulator::set_mode(mode); }, m.hopper});
#endif
    if (chosen_device("cuda")) {
      static const std::unique_ptr<CudaDevice> gpu = open_cuda();
      choices.push_back({gpu.get(), "cuda, " + gpu->describe().name, [] {}});
      choices.push_back({gpu.get(), "cuda once more", [] {}, false, true});
      // Small cases as on a GPU that they fill: the tiles of large products, and blocks that take one after the other.
      const Environment few{{"NICHELM_MULTIPROCESSORS", "4"}};
      static const std::unique_ptr<CudaDevice> small = open_cuda();
      choices.push_back({small.get(), "cuda, as of 4 multiprocessors", [] {}, true, true});
    }
    return choices;
  }();
  return all;
}

const std::vector<CudaChoice>& library_devices() {
  static const std::vector<CudaChoice> all = [] {
    std::vector<CudaChoice> choices;
#ifdef NICHELM_EMULATOR
    if (chosen_device("cuda-emulated")) {
      const Environment variables{{"NICHELM_PRODUCTS", "cublaslt"}, {"NICHELM_CUBLASLT", NICHELM_FAKE_CUBLASLT}};
      static const std::unique_ptr<CudaDevice> emulated = emulator::open_device();
      emulated->products();  // now, while the variables are set
      choices.push_back({emulated.get(), "cuda-emulated with a stand-in for cuBLASLt", [] { emulator::set_mode({}); }});
    }
#endif
    if (chosen_device("cuda")) {
      const Environment variables{{"NICHELM_PRODUCTS", "cublaslt"}};
      static const std::unique_ptr<CudaDevice> gpu = open_cuda();
      try {
        choices.push_back({gpu.get(), "cuda with cuBLASLt " + std::to_string(gpu->products().version), [] {}});
      } catch (const Error& e) {
        std::printf("cuBLASLt is not tested: %s\n", e.what());
      }
    }
    return choices;
  }();
  return all;
}

}  // namespace nichelm::test
