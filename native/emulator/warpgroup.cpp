// wgmma as the PTX manual describes its fragments, descriptors and order ("Asynchronous warpgroup-level matrix instructions"). A warp makes its own 16 rows
// of d, and waits for itself alone: the other warps of its warpgroup may lag behind, as on the hardware. Operands may be read until the wait; until then
// the registers of d hold NaN. Of the swizzles there is the one of 128 bytes.
#include <cmath>
#include <cstring>
#include <deque>
#include <memory>
#include <utility>

#include "emulator/hopper.h"

namespace nichelm::emulator {
namespace {

constexpr int kLanes = 32, kWarpRows = 16, kDepth = 16;

// What some registers will hold, while they belong to products that were started.
struct Sums {
  float* d[kLanes];
  int n, pending;
  std::vector<float> rows;  // (16, n)
};
struct Started {
  Product product;
  std::shared_ptr<Sums> sums;
  std::vector<const char*> chunks;  // held
  float a[kWarpRows][kDepth];       // of registers
  bool done;
};
struct Warp {
  std::deque<std::vector<Started>> groups;  // the last is open
  bool fenced;
  size_t started;
};
struct Issued { uint64_t a, b; int n; Place place; };
std::vector<Warp> warps;
std::vector<std::vector<Issued>> issued;  // by warpgroup: its warps must all do the same

float widened(uint32_t half) {
  const uint32_t bits = half << 16;
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

int row_of(int lane, int i) { return lane / 4 + (i >> 1 & 1) * 8; }
int column_of(int lane, int i) { return i / 4 * 8 + lane % 4 * 2 + (i & 1); }

void give(const Sums& s) {
  for (int lane = 0; lane < kLanes; ++lane)
    for (int i = 0; i < s.n / 2; ++i) s.d[lane][i] = s.rows[static_cast<size_t>(row_of(lane, i) * s.n + column_of(lane, i))];
}

// Elements first .. first + count - 1 (of m or n) by 16 of k of the operand that a descriptor names; visit(chunk) for each of its 16 bytes.
template <class Visit> void read_operand(uint64_t descriptor, bool transposed, int first, int count, float (*values)[kDepth], Place place, const Visit& visit) {
  const uint32_t start = static_cast<uint32_t>(descriptor & 0x3fff) << 4, leading = static_cast<uint32_t>(descriptor >> 16 & 0x3fff) << 4, stride = static_cast<uint32_t>(descriptor >> 32 & 0x3fff) << 4;
  if (descriptor >> 62 != 1) fail("%s:%d: a descriptor without the swizzle of 128 bytes", place.file, place.line);
  if (start % 1024 >= (transposed ? 16u : 128u)) fail("%s:%d: a descriptor's tile does not begin at a multiple of 1024 bytes", place.file, place.line);
  // By chunks of 8: neighbours along k, or where transposed along m or n.
  for (int outer = 0; outer < (transposed ? kDepth : count); ++outer)
    for (int inner = 0; inner < (transposed ? count : kDepth); inner += 8) {
      const uint32_t mn = static_cast<uint32_t>(first + (transposed ? inner : outer)), k = static_cast<uint32_t>(transposed ? outer : inner);
      uint32_t at = transposed ? start + mn / 64 * leading + mn % 64 * 2 + k / 8 * stride + k % 8 * 128 : start + mn / 8 * stride + mn % 8 * 128 + k * 2;
      at ^= (at >> 7 & 7) << 4;
      const char* chunk = shared_pointer(at);
      if (!in_shared(chunk, 16)) fail("%s:%d: a descriptor goes outside shared memory", place.file, place.line);
      visit(chunk);
      uint16_t halves[8];
      std::memcpy(halves, chunk, 16);
      for (int j = 0; j < 8; ++j) (transposed ? values[inner + j][outer] : values[outer][inner + j]) = widened(halves[j]);
    }
}

void execute(Started& s, unsigned warp, Place place) {
  static float b[256][kDepth], across[kDepth][256];
  const auto ignore = [](const char*) {};
  if (!s.product.a_registers) read_operand(s.product.a, s.product.transposed_a, static_cast<int>(warp % 4) * kWarpRows, kWarpRows, s.a, place, ignore);
  read_operand(s.product.b, s.product.transposed_b, 0, s.product.n, b, place, ignore);
  const int n = s.product.n;
  for (int i = 0; i < n; ++i)
    for (int k = 0; k < kDepth; ++k) across[k][i] = b[i][k];
  for (int r = 0; r < kWarpRows; ++r) {
    float* row = s.sums->rows.data() + r * n;
    if (!s.product.accumulate) std::memset(row, 0, sizeof(float) * static_cast<size_t>(n));
    for (int k = 0; k < kDepth; ++k)
      for (int i = 0; i < n; ++i) row[i] += s.a[r][k] * across[k][i];
  }
  s.done = true;
}

struct StartSlot { float* d; Product product; Place place; };

void start_all(void** slots, unsigned) {
  const unsigned number = current().warp;
  Warp& warp = warps[number];
  const auto& first = *static_cast<StartSlot*>(slots[0]);
  const Product& p = first.product;
  const Place place = first.place;
  for (int lane = 1; lane < kLanes; ++lane) {
    const Product& other = static_cast<StartSlot*>(slots[lane])->product;
    if (other.a != p.a || other.b != p.b || other.accumulate != p.accumulate) fail("%s:%d: the operands of a matrix instruction differ between the threads of a warp", place.file, place.line);
  }
  auto& all = issued[number / 4];
  if (warp.started == all.size()) all.push_back({p.a, p.b, p.n, place});
  const Issued& same = all[warp.started++];
  if (same.a != p.a || same.b != p.b || same.n != p.n || !(same.place == place))
    fail("%s:%d: the warps of a warpgroup start different matrix instructions: another is at %s:%d", place.file, place.line, same.place.file, same.place.line);
  if (!warp.fenced) fail("%s:%d: no product_fence between what touched the registers last and the matrix instruction", place.file, place.line);

  // Kept there also if the kernel ends here.
  if (warp.groups.empty()) warp.groups.emplace_back();
  Started& s = warp.groups.back().emplace_back(Started{p, nullptr, {}, {}, false});
  for (auto& group : warp.groups)
    for (auto& other : group)
      if (other.sums && other.sums->d[0] == first.d) s.sums = other.sums;
  if (s.sums && s.sums->n != p.n) fail("%s:%d: sums of %d columns are those of %d in a product that runs", place.file, place.line, p.n, s.sums->n);
  if (!s.sums) {
    s.sums = std::make_shared<Sums>();
    s.sums->n = p.n, s.sums->pending = 0, s.sums->rows.resize(static_cast<size_t>(kWarpRows * p.n));
    for (int lane = 0; lane < kLanes; ++lane) {
      float* d = s.sums->d[lane] = static_cast<StartSlot*>(slots[lane])->d;
      for (int i = 0; i < p.n / 2; ++i) s.sums->rows[static_cast<size_t>(row_of(lane, i) * p.n + column_of(lane, i))] = std::exchange(d[i], NAN);
    }
  }
  ++s.sums->pending;
  static float ignored[256][kDepth];
  const auto keep = [&](const char* chunk) {
    record_asynchronous_read(chunk, 16, number * kLanes);
    hold(chunk, 1);
    s.chunks.push_back(chunk);
  };
  if (p.a_registers) {
    for (int lane = 0; lane < kLanes; ++lane)
      for (int i = 0; i < 4; ++i)
        for (int half = 0; half < 2; ++half)
          s.a[lane / 4 + (i & 1) * 8][lane % 4 * 2 + (i >> 1) * 8 + half] = widened(static_cast<StartSlot*>(slots[lane])->product.a_registers[i] >> (16 * half) & 0xffff);
  } else {
    read_operand(p.a, p.transposed_a, static_cast<int>(number % 4) * kWarpRows, kWarpRows, ignored, place, keep);
  }
  read_operand(p.b, p.transposed_b, 0, p.n, ignored, place, keep);
  if (mode().landing == Landing::early) execute(s, number, place);
}

}  // namespace

void start_warpgroups(unsigned count) {
  warps.assign(count, {});
  issued.assign((count + 3) / 4, {});
}

void product_fence() {
  collective("product_fence", ~0u, nullptr, [](void**, unsigned) { warps[current().warp].fenced = true; }, Place{"wgmma.fence", 0});
}

void start_product(float* d, const Product& product, Place place) {
  StartSlot slot{d, product, place};
  collective("a matrix instruction", ~0u, &slot, start_all, place);
}

void commit_products() {
  collective("commit_products", ~0u, nullptr, [](void**, unsigned) {
    auto& groups = warps[current().warp].groups;
    if (groups.empty()) groups.emplace_back();
    groups.emplace_back();
  }, Place{"wgmma.commit_group", 0});
}

void wait_products(int but, Place place) {
  struct Slot { int but; Place place; } slot{but, place};
  collective("wait_products", ~0u, &slot, [](void** slots, unsigned) {
    const auto& slot = *static_cast<Slot*>(slots[0]);
    Warp& warp = warps[current().warp];
    while (static_cast<int>(warp.groups.size()) - 1 > slot.but) {
      for (Started& s : warp.groups.front()) {
        if (!s.done) execute(s, current().warp, slot.place);
        for (const char* chunk : s.chunks) hold(chunk, -1);
        if (--s.sums->pending == 0) give(*s.sums);
      }
      warp.groups.pop_front();
    }
    warp.fenced = false;
  }, place);
}

void end_warpgroup_thread() {
  for (const auto& group : warps[current().warp].groups)
    if (!group.empty()) fail("the thread ends with matrix instructions that it did not wait for");
}
void end_warpgroup_block() {
  for (size_t w = 0; w < warps.size(); ++w)
    if (warps[w].started != issued[w / 4].size()) fail("warp %zu started %zu matrix instructions, others of its warpgroup %zu", w, warps[w].started, issued[w / 4].size());
}

}  // namespace nichelm::emulator
