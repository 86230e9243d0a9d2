// Who computes matrix products: finding cuBLASLt, choosing, measuring and keeping what was measured. With a stand-in for the library; products themselves are
// compared in ops/matmul/test.cpp.
#include "cuda/products.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "runtime/error.h"
#include "test/environment.h"
#include "test/test.h"

#ifdef NICHELM_EMULATOR
#include "emulator/device.h"
#include "emulator/grid.h"
#include "ops/matmul/matmul.h"

using namespace nichelm;
using nichelm::test::Environment;

namespace {

namespace fs = std::filesystem;

// A folder that is gone afterwards.
struct Folder {
  fs::path path = fs::temp_directory_path() / ("nichelm-products-" + std::to_string(getpid()));
  Folder() { fs::remove_all(path), fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
};

template <class Body> std::string error_of(const Body& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "none";
}
bool holds(const std::string& text, const std::string& words) { return text.find(words) != std::string::npos; }

LibraryProduct product_of(int64_t m) {
  alignas(256) static float memory[256];
  return {memory, memory, nullptr, memory, m, 4, 8, 1, 8 * m, 32, 4 * m, false, false, false, false};
}

int64_t count(const char* name) {
  void* library = dlopen(NICHELM_FAKE_CUBLASLT, RTLD_NOW | RTLD_NOLOAD);
  const auto* value = library ? static_cast<int64_t*>(dlsym(library, name)) : nullptr;
  EXPECT(value, std::string("the stand-in has no ") + name);
  return value ? *value : 0;
}

std::vector<std::string> lines_of(const fs::path& file) {
  std::ifstream in(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace

TEST(cublaslt_is_looked_for) {
  Folder folder;
  const std::string root = folder.path.string(), wheel = root + "/lib/python3.11/site-packages/nvidia/cu13/lib";
  fs::create_directories(wheel), fs::create_directories(root + "/lib64");
  {
    const Environment variables{{"NICHELM_CUBLASLT", nullptr}, {"VIRTUAL_ENV", root.c_str()}, {"CUDA_HOME", root.c_str()}};
    const std::vector<std::string> places = cublaslt_places();
    const auto place = [&](const std::string& name) { return std::find(places.begin(), places.end(), name) - places.begin(); };
    const auto all = static_cast<int64_t>(places.size());
    EXPECT(place("libcublasLt.so.13") == 0 && place("libcublasLt.so.12") == 1, "the loader is asked first");
    EXPECT(place(root + "/lib64/libcublasLt.so.13") < place(wheel + "/libcublasLt.so.13") && place(wheel + "/libcublasLt.so.12") < all, "then a toolkit, then a wheel");
    // A wheel's file is found, and what is none of it is told apart.
    if (access("/usr/lib/x86_64-linux-gnu/libm.so.6", R_OK) == 0 && !dlopen("libcublasLt.so.13", RTLD_NOW) && !dlopen("libcublasLt.so.12", RTLD_NOW)) {
      const std::string toolkit = root + "/lib64/libcublasLt.so.13";
      fs::create_symlink("/usr/lib/x86_64-linux-gnu/libm.so.6", toolkit);
      EXPECT(holds(error_of([] { CublasLt::open(); }), toolkit + " is not cuBLASLt"), "a library of that name");
      fs::remove(toolkit);
      fs::create_symlink(NICHELM_FAKE_CUBLASLT, wheel + "/libcublasLt.so.13");
      EXPECT(CublasLt::open()->path() == wheel + "/libcublasLt.so.13", "the wheel's");
    }
  }
  const Environment variables{{"NICHELM_CUBLASLT", "/nowhere/libcublasLt.so"}};
  EXPECT(cublaslt_places() == std::vector<std::string>{"/nowhere/libcublasLt.so"}, "nothing but what is named");
  const std::string said = error_of([] { CublasLt::open(); });
  EXPECT(holds(said, "/nowhere/libcublasLt.so") && holds(said, "NICHELM_PRODUCTS=own"), said);
}

TEST(products_are_own_unless_asked) {
  const Environment variables{{"NICHELM_PRODUCTS", nullptr}, {"NICHELM_CUBLASLT", "/nowhere"}};
  Products products("a GPU");
  EXPECT(!products.choose() && products.describe().mode == "own" && products.describe().library.empty(), "nothing is loaded");
  const Environment wrong{{"NICHELM_PRODUCTS", "fastest"}};
  EXPECT(holds(error_of([] { Products("a GPU").choose(); }), "NICHELM_PRODUCTS=fastest is none of"), "what there is not");
  const Environment missing{{"NICHELM_PRODUCTS", "cublaslt"}};
  EXPECT(holds(error_of([] { Products("a GPU").choose(); }), "cuBLASLt could not be loaded"), "nothing falls back");
}

TEST(products_by_the_first_proposal) {
  const Environment variables{{"NICHELM_PRODUCTS", "cublaslt"}, {"NICHELM_CUBLASLT", NICHELM_FAKE_CUBLASLT}};
  Products products("a GPU");
  EXPECT(products.choose(), "there is a choice");
  const auto never = [](const CublasLt::Plan*) -> double { EXPECT(false, "nothing is measured"); return 0; };
  EXPECT(!products.plan(product_of(2), "", true, never), "while calls are recorded nothing is looked up");
  const int64_t before = count("fake_cublaslt_heuristics");
  const CublasLt::Plan* plan = products.plan(product_of(2), "", false, never);
  EXPECT(plan && plan->workspace == 4096 && plan == products.plan(product_of(2), "", true, never), "the first proposal, kept");
  EXPECT(!products.plan(product_of(1), "", false, never) && !products.plan(product_of(1), "", false, never), "what it cannot compute is nichelm's");
  EXPECT(count("fake_cublaslt_heuristics") == before + 2, "asked once for each product");
  const CudaProducts all = products.describe();
  EXPECT(all.mode == "cublaslt" && all.version == 130100 && all.library == NICHELM_FAKE_CUBLASLT && all.choices.size() == 2, "what there is");
  EXPECT(all.choices[0].by == "own" && all.choices[1].by == "cublaslt" && all.choices[1].product == "f32 2 x 4 x 8, a b, to f32", all.choices[1].product);
}

TEST(products_are_measured_once) {
  Folder folder;
  const fs::path file = folder.path / "cache" / "products.txt";
  const Environment variables{{"NICHELM_PRODUCTS", "measured"}, {"NICHELM_CUBLASLT", NICHELM_FAKE_CUBLASLT}, {"NICHELM_PRODUCTS_FILE", file.c_str()}};
  int measured = 0;
  const auto times = [&](double own, double first, double second) {
    return [&measured, own, first, second](const CublasLt::Plan* plan) { return ++measured, !plan ? own : plan->workspace ? first : second; };
  };
  {
    Products products("a GPU");
    products.choose();
    EXPECT(!products.plan(product_of(2), "", true, times(3, 2, 1)) && measured == 0, "not while calls are recorded");
    const CublasLt::Plan* plan = products.plan(product_of(2), "", false, times(3, 2, 1));
    EXPECT(plan && plan->workspace == 0 && measured == 3, "the second proposal is the fastest");
    EXPECT(products.plan(product_of(2), "", true, times(1, 2, 3)) == plan && measured == 3, "and stays");
    EXPECT(!products.plan(product_of(2), "bias", false, times(1.02, 1, 2)) && measured == 6, "a gain of 2% is none");
    EXPECT(!products.plan(product_of(1), "", false, times(1, 2, 3)) && measured == 6, "nothing to measure");
  }
  EXPECT(lines_of(file).size() == 3, "a line a product");
  {
    Products products("a GPU");
    products.choose();
    const CublasLt::Plan* plan = products.plan(product_of(2), "", false, times(1, 2, 3));
    EXPECT(plan && plan->workspace == 0 && !products.plan(product_of(2), "bias", false, times(3, 2, 1)) && measured == 6, "the file says it");
    Products other("another GPU");
    other.choose();
    EXPECT(!other.plan(product_of(2), "", false, times(1, 2, 3)) && measured == 9 && lines_of(file).size() == 4, "of another GPU it is measured anew");
  }
  {
    std::vector<std::string> lines = lines_of(file);
    std::ofstream out(file);
    out << lines[0].substr(0, lines[0].find("\tcublaslt\t")) << "\tcublaslt\t7\t1\t2\n" << lines[1].substr(0, lines[1].rfind("own")) << "?\n" << lines[2];  // the last without its end
    out.close();
    Products products("a GPU");
    products.choose();
    EXPECT(holds(error_of([&] { products.plan(product_of(2), "", false, times(1, 2, 3)); }), "was measured with a proposal"), "a proposal that there is not");
    EXPECT(holds(error_of([&] { products.plan(product_of(2), "bias", false, times(1, 2, 3)); }), "cannot be read"), "no choice");
    products.plan(product_of(1), "", false, times(1, 2, 3));
    EXPECT(lines_of(file).size() == 4, "a line that was cut off is not gone on with");
  }
  const Environment nowhere{{"NICHELM_PRODUCTS_FILE", "/proc/products.txt"}};
  Products products("a GPU");
  products.choose();
  EXPECT(holds(error_of([&] { products.plan(product_of(2), "", false, times(1, 2, 3)); }), "/proc/products.txt: cannot be opened"), "no place for a file");
}

// A device measures with the operands that it has, and changes none of them.
TEST(products_of_a_device_are_measured_aside) {
  Folder folder;
  const fs::path file = folder.path / "products.txt";
  const Environment variables{{"NICHELM_PRODUCTS", "measured"}, {"NICHELM_CUBLASLT", NICHELM_FAKE_CUBLASLT}, {"NICHELM_PRODUCTS_FILE", file.c_str()}};
  emulator::set_mode({});
  const auto device = emulator::open_device();
  alignas(256) float a[8 * 8], b[8 * 8], c[8 * 8];
  for (int i = 0; i < 64; ++i) a[i] = static_cast<float>(i % 5), b[i] = static_cast<float>(i % 3), c[i] = 1;
  const MatmulAccumulate op{{{a, Type::f32, 2, {8, 8}}}, {{b, Type::f32, 2, {8, 8}}}, {{c, Type::f32, 2, {8, 8}}}, false, false};
  device->run("matmul_accumulate", &op);
  bool right = true;
  for (int i = 0; i < 8; ++i)
    for (int j = 0; j < 8; ++j) {
      float sum = 1;
      for (int k = 0; k < 8; ++k) sum += a[i * 8 + k] * b[k * 8 + j];
      right = right && c[i * 8 + j] == sum;
    }
  EXPECT(right, "added once");
  const CudaProducts all = device->products();
  EXPECT(all.mode == "measured" && all.choices.size() == 1 && all.choices[0].own_seconds > 0 && all.choices[0].library_seconds > 0 && all.file == file.string(), "measured");
  EXPECT(all.choices[0].product == "f32 8 x 8 x 8, a b, to f32, accumulated", all.choices[0].product);
  EXPECT(lines_of(file).size() == 1 && count("fake_cublaslt_products") > 4, "by the library too");
}

#endif
