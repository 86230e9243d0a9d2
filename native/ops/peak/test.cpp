// The peak loop does what it counts: it is finished on every thread, takes time, and more rounds are more work. How fast it is, no test says.
#include <cmath>
#include <vector>

#include "runtime/peak.h"
#include "test/test.h"

using namespace nichelm;

TEST(peak) {
  for (const int isa : test::isas())
    for (const int threads : {1, 5}) {
      Cpu device(threads, static_cast<Isa>(isa));
      for (const Type type : {Type::f32, Type::bf16}) {
        const double peak = measured_peak(device, type);
        EXPECT(std::isfinite(peak) && peak > 0, std::string("measured_peak, ") + name_of(device.isa()));
      }
    }
}

TEST(peak_loop) {
  Cpu device(3, Isa::portable);
  double once = 0, twice = 0;
  std::vector<double> seconds(3, -1.0);
  run(static_cast<cpu::portable&>(device), PeakLoop{Type::f32, 1000, &once, seconds.data()});
  run(static_cast<cpu::portable&>(device), PeakLoop{Type::f32, 2000, &twice, seconds.data()});
  // 12 chains of 4 lanes, a multiply and an add each
  EXPECT(once == 1000.0 * 12 * 4 * 2 && twice == 2 * once, "peak: the count of operations");
  for (const double s : seconds) EXPECT(s > 0, "peak: every thread did its rounds");
}
