// The cores that this process was given: what the machine has, what affinity leaves, and what a cgroup's quota of processor time is worth; their last cache.
#pragma once
#include <cstdint>
#include <string>

namespace nichelm {

struct Cores {
  int machine;    // online
  int affinity;   // that the process may run on
  double quota;   // cores' worth of time, the least of all cgroups the process is in; 0: unlimited
  int available;  // threads that it makes sense to run: the affinity, capped by the quota rounded up; at least 1
};
Cores cores();

// How many threads this process may use.
int available_threads();

// The largest cache that a core reaches, in bytes, as the kernel states it in the folder of a core's caches (/sys/devices/system/cpu/cpu0/cache); 32 MiB if it
// states none. glibc's sysconf adds up those of a whole socket on some machines.
int64_t last_cache_bytes(const std::string& folder);

// The least quota of cgroups v1 and v2, from the file that says which groups a process is in (/proc/self/cgroup) and the folder where groups are mounted
// (/sys/fs/cgroup). Every group above counts too. 0 if there is none, or no such file.
double cgroup_quota(const std::string& membership, const std::string& mount);

}  // namespace nichelm
