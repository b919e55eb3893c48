// Cores by affinity and by the quotas of control groups.
#include "cores.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <thread>

namespace glorext {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Cores of "QUOTA PERIOD", in microseconds; 0 for "max", a negative quota or no such text.
int cores_of(const std::string& text) {
  std::istringstream words(text);
  double quota = 0;
  double period = 0;
  if (!(words >> quota >> period) || quota <= 0 || period <= 0) return 0;
  return static_cast<int>(std::ceil(std::min(quota / period, 1e6)));
}

}  // namespace

int quota_cores(const std::string& membership, const std::string& mount) {
  int least = 0;
  std::istringstream lines(membership);
  for (std::string line; std::getline(lines, line);) {  // NUMBER:CONTROLLERS:/PATH
    const size_t first = line.find(':');
    const size_t second = line.find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (!controllers.empty() && ("," + controllers + ",").find(",cpu,") == std::string::npos) continue;
    // A group's quota holds for all groups in it.
    for (std::string path = line.substr(second + 1);; path.resize(path.rfind('/'))) {
      while (!path.empty() && path.back() == '/') path.pop_back();
      const std::string old = mount + "/cpu" + path + "/cpu.cfs_";
      const int cores = controllers.empty() ? cores_of(text_of(mount + path + "/cpu.max"))
                                            : cores_of(text_of(old + "quota_us") + " " + text_of(old + "period_us"));
      if (cores > 0) least = least > 0 ? std::min(least, cores) : cores;
      if (path.find('/') == std::string::npos) break;
    }
  }
  return least;
}

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const bool known = ::sched_getaffinity(0, sizeof set, &set) == 0;  // fails above 1024 cores
  const int cores = known ? CPU_COUNT(&set) : static_cast<int>(std::thread::hardware_concurrency());
  const int quota = quota_cores(text_of("/proc/self/cgroup"), "/sys/fs/cgroup");
  return std::max(1, quota > 0 ? std::min(cores, quota) : cores);
}

}  // namespace glorext
