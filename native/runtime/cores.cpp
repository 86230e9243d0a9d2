#include "runtime/cores.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <thread>

#ifdef __linux__
#include <sched.h>
#endif

namespace nichelm {
namespace {

double first_number(const std::string& file) {
  std::ifstream in(file);
  double value = 0;
  return in >> value ? value : 0;  // "max" and -1 mean no limit
}

// v2 has "QUOTA PERIOD" in one file, v1 a file for each.
double quota_v2(const std::string& folder) {
  std::ifstream in(folder + "/cpu.max");
  double quota = 0, period = 0;
  return in >> quota >> period && quota > 0 && period > 0 ? quota / period : 0;
}
double quota_v1(const std::string& folder) {
  const double quota = first_number(folder + "/cpu.cfs_quota_us"), period = first_number(folder + "/cpu.cfs_period_us");
  return quota > 0 && period > 0 ? quota / period : 0;
}

// Calls read on the group's folder and on all above it, up to the mount. Inside a container the path may be one of the host's: then the mount is what counts.
template <class Read> void least_of_groups(const std::string& mount, std::string group, const Read& read, double& least) {
  for (;;) {
    const double quota = read(mount + group);
    if (quota > 0) least = least > 0 ? std::min(least, quota) : quota;
    const size_t slash = group.rfind('/');
    if (slash == std::string::npos) return;
    group.resize(slash);
  }
}

}  // namespace

double cgroup_quota(const std::string& membership, const std::string& mount) {
  double least = 0;
  std::ifstream in(membership);
  for (std::string line; std::getline(in, line);) {  // hierarchy:controllers:group
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string group = line.substr(second + 1);
    if (group == "/") group.clear();
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (controllers.empty()) least_of_groups(mount, group, quota_v2, least);
    std::istringstream names(controllers);
    for (std::string name; std::getline(names, name, ',');)
      if (name == "cpu")
        for (const std::string& folder : {"/" + controllers, std::string("/cpu")}) least_of_groups(mount + folder, group, quota_v1, least);
  }
  return least;
}

int64_t last_cache_bytes(const std::string& folder) {
  int64_t largest = 0;
  for (int i = 0;; ++i) {  // "32768K"
    std::ifstream in(folder + "/index" + std::to_string(i) + "/size");
    int64_t size = 0;
    char unit = 0;
    if (!(in >> size)) break;
    in >> unit;
    largest = std::max(largest, size * (unit == 'K' ? 1 << 10 : unit == 'M' ? 1 << 20 : 1));
  }
  return largest > 0 ? largest : int64_t{32} << 20;
}

Cores cores() {
  Cores c{};
  c.machine = c.affinity = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
#ifdef __linux__
  // More cores than fit into cpu_set_t are asked for with a larger set.
  for (int limit = 1024; limit <= 1 << 20; limit *= 4) {
    cpu_set_t* set = CPU_ALLOC(static_cast<size_t>(limit));
    if (!set) break;
    const size_t size = CPU_ALLOC_SIZE(static_cast<size_t>(limit));
    const bool got = sched_getaffinity(0, size, set) == 0;
    if (got) c.affinity = std::max(1, CPU_COUNT_S(size, set));
    CPU_FREE(set);
    if (got) break;
  }
  if (std::ifstream online("/sys/devices/system/cpu/online"); online) {  // "0-3,8": hardware_concurrency may tell the affinity instead
    int count = 0, from, to;
    char separator;
    while (online >> from) {
      to = from;
      if (online.peek() == '-') online >> separator >> to;
      count += to - from + 1;
      if (online.peek() != ',' || !(online >> separator)) break;
    }
    c.machine = std::max(count, c.affinity);
  }
  c.quota = cgroup_quota("/proc/self/cgroup", "/sys/fs/cgroup");
#endif
  c.available = c.affinity;
  if (c.quota > 0) c.available = std::min(c.available, std::max(1, static_cast<int>(std::ceil(c.quota - 1e-6))));
  return c;
}

int available_threads() { return cores().available; }

}  // namespace nichelm
