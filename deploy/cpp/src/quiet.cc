// The log level of MindSpore Lite's libraries.
#include "quiet.h"

#include <unistd.h>

#include <cstdlib>

namespace glorext {

void quiet_runtime(char** argv) {
  if (std::getenv("GLOG_v") != nullptr) return;
  ::setenv("GLOG_v", "3", 1);
  ::execv("/proc/self/exe", argv);
  // Without /proc the program just goes on, with more lines of log.
}

}  // namespace glorext
