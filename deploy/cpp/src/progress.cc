// Drawing of the progress line, at most ten times a second.
#include "progress.h"

#include <unistd.h>

#include <cstdio>

namespace glorext {

Progress::Progress(size_t total)
    : total_(total), visible_(::isatty(STDERR_FILENO) == 1), begin_(std::chrono::steady_clock::now()), drawn_(begin_) {}

void Progress::advance() {
  ++done_;
  const auto now = std::chrono::steady_clock::now();
  if (!visible_ || now - drawn_ < std::chrono::milliseconds(100)) return;
  drawn_ = now;
  draw();
}

void Progress::finish() {
  if (!visible_) return;
  draw();
  std::fputc('\n', stderr);
}

void Progress::draw() {
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  std::fprintf(stderr, "\r%zu of %zu pictures, %.1f per second ", done_, total_,
               seconds > 0 ? static_cast<double>(done_) / seconds : 0.0);
  std::fflush(stderr);
}

}  // namespace glorext
