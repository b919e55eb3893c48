// How many cores this process may use.
#pragma once

#include <string>

namespace glorext {

// At least 1: the cores that the scheduler may put this process on, and no more than its control groups have time for.
int usable_cores();

// The cores that the quotas of control groups (versions 1 and 2) allow, rounded up; 0 where nothing limits them.
// `membership`: the text of /proc/self/cgroup; `mount`: /sys/fs/cgroup. Groups that cannot be seen limit nothing.
int quota_cores(const std::string& membership, const std::string& mount);

}  // namespace glorext
