#include "cuda/peak.h"

#include <string>

namespace nichelm {
namespace {

// From NVIDIA's data sheets, dense (without sparsity): TFLOP/s in bf16 with f32 sums, in f32, and GB/s of memory. A name holds the words given;
// of several rows the first that fits counts, so the more particular ones come first.
struct Row { const char* name; double bf16, f32, memory; };
constexpr Row kTable[] = {
    {"B200", 2250, 80, 8000},      {"GH200", 989, 67, 4000},          {"H200", 989, 67, 4800},           {"H100 NVL", 835, 60, 3900},    {"H100 PCIe", 756, 51, 2000},
    {"H100", 989, 67, 3350},       {"A100-SXM4-80GB", 312, 19.5, 2039}, {"A100 80GB", 312, 19.5, 1935}, {"A100", 312, 19.5, 1555},    {"A30", 165, 10.3, 933},
    {"A40", 149.7, 37.4, 696},     {"A10", 125, 31.2, 600},
    {"L40S", 362, 91.6, 864},      {"L40", 181, 90.5, 864},           {"L4", 121, 30.3, 300},            {"RTX 6000 Ada", 364, 91.1, 960}, {"RTX A6000", 154.8, 38.7, 768},
    {"RTX 5090", 209.5, 104.8, 1792}, {"RTX 4090", 165.2, 82.6, 1008}, {"RTX 3090", 71, 35.6, 936},
};

// "L4" is in "L40S": what follows a name must not go on with it.
const Row* row_of(const std::string& name) {
  for (const Row& row : kTable) {
    const std::string wanted = row.name;
    for (size_t at = name.find(wanted); at != std::string::npos; at = name.find(wanted, at + 1)) {
      const char before = at ? name[at - 1] : ' ', after = at + wanted.size() < name.size() ? name[at + wanted.size()] : ' ';
      if ((before == ' ' || before == '-') && (after == ' ' || after == '-')) return &row;
    }
  }
  return nullptr;
}

}  // namespace

double stated_peak(const CudaDescription& device, Type type) {
  const Row* row = row_of(device.name);
  return row ? (type == Type::bf16 ? row->bf16 : row->f32) * 1e12 : 0;
}

double stated_bandwidth(const CudaDescription& device) {
  const Row* row = row_of(device.name);
  return row ? row->memory * 1e9 : 0;
}

}  // namespace nichelm
