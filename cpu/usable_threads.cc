// How many threads a process is given: by its affinity, and by the CPU quota of its control groups, as containers have
// one (docker --cpus). More threads than a quota would all be put to sleep once it is used up, in the middle of a loop.
#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "team.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace hebb::cpu {
namespace {

constexpr int kNoQuota = 1 << 20;

/// Processors of a quota, whole ones, at least one: a part of one would be waited for by all the others.
int processors(double quota, double period) {
  return quota > 0 && period > 0 ? std::max(1, static_cast<int>(quota / period)) : kNoQuota;
}

double numberIn(const std::string& file) {
  double number = -1;
  std::ifstream(file) >> number;
  return number;
}

/// Of one group. Version 2: "MAX PERIOD" or "max PERIOD" in one file; version 1: a file each, -1 for none.
int quotaOf(const std::string& group) {
  std::ifstream file(group + "/cpu.max");
  double quota, period;
  if (file >> quota >> period) return processors(quota, period);
  return processors(numberIn(group + "/cpu.cfs_quota_us"), numberIn(group + "/cpu.cfs_period_us"));
}

/// The least of a group and those above it. What is not there has none: a container may see its own group as the root.
int quotaUpwards(const std::string& root, std::string path) {
  int least = quotaOf(root);
  for (; path.size() > 1; path.erase(path.rfind('/'))) least = std::min(least, quotaOf(root + path));
  return least;
}

/// Lines of /proc/self/cgroup: "0::PATH" of version 2, "NUMBER:CONTROLLERS:PATH" of version 1.
int cpuQuota() {
  int least = kNoQuota;
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    if (path.empty() || path[0] != '/') continue;
    std::istringstream names(controllers);
    bool isCpu = controllers.empty();
    for (std::string name; std::getline(names, name, ',');) isCpu |= name == "cpu";
    if (isCpu)
      least = std::min(least, quotaUpwards("/sys/fs/cgroup" + (controllers.empty() ? "" : "/" + controllers), path));
  }
  return least;
}

}  // namespace

int usableThreads() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::min(CPU_COUNT(&set), cpuQuota());
#endif
  const unsigned n = std::thread::hardware_concurrency();
  return n ? static_cast<int>(n) : 1;
}

}  // namespace hebb::cpu
