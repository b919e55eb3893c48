// The cores of a process that is pinned or has a quota.
#include <doctest/doctest.h>

#include <sched.h>

#include <filesystem>
#include <fstream>

#include "cores.h"
#include "support.h"

using namespace glorext;
namespace fs = std::filesystem;

namespace {

void write(const std::string& path, const std::string& text) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path) << text;
}

}  // namespace

TEST_CASE("the tightest quota of a group and those around it counts") {
  const TemporaryFolder mount;
  CHECK(quota_cores("0::/a/b\n", mount.path()) == 0);
  write(mount.file("a/b/cpu.max"), "max 100000\n");
  CHECK(quota_cores("0::/a/b\n", mount.path()) == 0);
  write(mount.file("cpu.max"), "800000 100000\n");
  CHECK(quota_cores("0::/a/b\n", mount.path()) == 8);
  CHECK(quota_cores("0::/\n", mount.path()) == 8);
  write(mount.file("a/cpu.max"), "250000 100000\n");
  CHECK(quota_cores("0::/a/b\n", mount.path()) == 3);
  CHECK(quota_cores("0::/\n", mount.path()) == 8);
  write(mount.file("a/b/cpu.max"), "5000 100000\n");
  CHECK(quota_cores("0::/a/b\n", mount.path()) == 1);
}

TEST_CASE("the first version of control groups has two files, and -1 for no quota") {
  const TemporaryFolder mount;
  const std::string membership = "12:memory:/x\n4:cpu,cpuacct:/job\n3:cpuset:/\nno line\n";
  write(mount.file("cpu/job/cpu.cfs_quota_us"), "-1\n");
  write(mount.file("cpu/job/cpu.cfs_period_us"), "100000\n");
  CHECK(quota_cores(membership, mount.path()) == 0);
  write(mount.file("cpu/job/cpu.cfs_quota_us"), "400000\n");
  CHECK(quota_cores(membership, mount.path()) == 4);
  CHECK(quota_cores("12:memory:/job\n", mount.path()) == 0);
}

TEST_CASE("a process that is pinned to one core uses one") {
  cpu_set_t before;
  REQUIRE(::sched_getaffinity(0, sizeof before, &before) == 0);
  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  REQUIRE(::sched_setaffinity(0, sizeof one, &one) == 0);
  CHECK(usable_cores() == 1);
  ::sched_setaffinity(0, sizeof before, &before);
  CHECK(usable_cores() >= 1);
}
