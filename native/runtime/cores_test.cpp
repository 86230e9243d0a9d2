// The cores of this process, and quotas as cgroups of both versions state them.
#include "runtime/cores.h"

#include <stdlib.h>
#ifdef __linux__
#include <sched.h>
#endif

#include <filesystem>
#include <fstream>

#include "runtime/cpu.h"
#include "test/test.h"

using namespace nichelm;

namespace {

// A folder of files that goes with the object.
struct Files {
  std::filesystem::path root;
  Files() {
    std::string pattern = (std::filesystem::temp_directory_path() / "nichelm-cores-XXXXXX").string();
    root = mkdtemp(pattern.data());
  }
  ~Files() { std::filesystem::remove_all(root); }
  void write(const std::string& name, const std::string& text) const {
    const std::filesystem::path file = root / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  double quota() const { return cgroup_quota((root / "self").string(), (root / "mount").string()); }
};

}  // namespace

TEST(cores_last_cache) {
  const Files files;
  const auto bytes = [&] { return last_cache_bytes((files.root / "cache").string()); };
  EXPECT(bytes() == 32 << 20, "no caches are stated");
  files.write("cache/index0/size", "32K\n");
  files.write("cache/index1/size", "32K\n");
  EXPECT(bytes() == 32 << 10, "the only ones");
  files.write("cache/index2/size", "105M\n");
  EXPECT(bytes() == 105 << 20, "the last");
}

TEST(cores_quota_of_cgroup_v2) {
  const Files files;
  EXPECT(files.quota() == 0, "no groups, no quota");
  files.write("self", "0::/jobs/mine\n");
  files.write("mount/jobs/mine/cpu.max", "max 100000\n");
  EXPECT(files.quota() == 0, "max is no limit");
  files.write("mount/jobs/mine/cpu.max", "250000 100000\n");
  EXPECT(files.quota() == 2.5, "the group's own quota");
  files.write("mount/jobs/cpu.max", "150000 100000\n");
  EXPECT(files.quota() == 1.5, "a smaller one above it");
  files.write("mount/cpu.max", "50000 100000\n");
  EXPECT(files.quota() == 0.5, "the mount's own, as a container sees it");
}

TEST(cores_quota_of_cgroup_v1) {
  for (const std::string folder : {"cpu,cpuacct", "cpu"}) {
    const Files files;
    files.write("self", "12:memory:/x\n4:cpu,cpuacct:/docker/abc\n0::/other\n");
    files.write("mount/" + folder + "/docker/abc/cpu.cfs_quota_us", "-1\n");
    files.write("mount/" + folder + "/docker/abc/cpu.cfs_period_us", "100000\n");
    EXPECT(files.quota() == 0, folder + ": -1 is no limit");
    files.write("mount/" + folder + "/docker/abc/cpu.cfs_quota_us", "300000\n");
    EXPECT(files.quota() == 3, folder + ": the group's quota");
    files.write("mount/" + folder + "/cpu.cfs_quota_us", "200000\n");
    files.write("mount/" + folder + "/cpu.cfs_period_us", "100000\n");
    EXPECT(files.quota() == 2, folder + ": the mount's");
  }
}

#ifdef __linux__
TEST(cores_keep_to_the_affinity) {
  const Cores all = cores();
  EXPECT(all.machine >= all.affinity && all.affinity >= all.available && all.available >= 1, "no more than there are");
  cpu_set_t before, one;
  CPU_ZERO(&before);
  CPU_ZERO(&one);
  if (sched_getaffinity(0, sizeof before, &before) != 0) return;  // more cores than the set holds
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &before)) { CPU_SET(core, &one); break; }
  EXPECT(sched_setaffinity(0, sizeof one, &one) == 0, "the affinity can be set");
  const Cores here = cores();
  const Cpu device(0);
  EXPECT(here.affinity == 1 && here.available == 1 && here.machine == all.machine, "one core is left");
  EXPECT(device.threads() == 1, "so a device has one thread");
  EXPECT(sched_setaffinity(0, sizeof before, &before) == 0, "the affinity can be set back");
}
#endif
