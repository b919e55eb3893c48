// Keeps MindSpore Lite's warnings off the terminal.
#pragma once

namespace glorext {

// Sets GLOG_v=3 (errors only) unless the user chose a level, and starts the program again: the libraries read the
// variable while they are being loaded, which is before main.
void quiet_runtime(char** argv);

}  // namespace glorext
