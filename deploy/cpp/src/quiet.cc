// The log level of MindSpore Lite's libraries.
#include "quiet.h"

#include <unistd.h>

#include <cstdlib>

namespace glorext {

void quiet_runtime(char** argv) {
  if (std::getenv("GLOG_v") != nullptr) return;
  ::setenv("GLOG_v", "3", 1);
  ::execv("/proc/self/exe", argv);
  // Only the amount of log is at stake: where there is no /proc the program goes on, louder.
}

}  // namespace glorext
