// Drawing of the progress: on a terminal at most ten times a second, in a file or a pipe every ten seconds.
#include "progress.h"

#include <unistd.h>

#include <string>

namespace glorext {
namespace {

constexpr std::chrono::milliseconds kTerminal{100};
constexpr std::chrono::milliseconds kLines{10000};

// The time that is left, in words that do not change with every picture.
std::string left(double seconds) {
  if (seconds < 90) return std::to_string(static_cast<long>(seconds + 1)) + " s left";
  if (seconds < 5400) return std::to_string(static_cast<long>(seconds / 60 + 0.5)) + " min left";
  char text[32];
  std::snprintf(text, sizeof text, "%.1f h left", seconds / 3600);
  return text;
}

}  // namespace

Progress::Progress(size_t total) : Progress(total, stderr, ::isatty(STDERR_FILENO) == 1, kLines) {}

Progress::Progress(size_t total, std::FILE* stream, bool terminal, std::chrono::milliseconds interval)
    : total_(total),
      stream_(stream),
      terminal_(terminal),
      interval_(terminal ? kTerminal : interval),
      begin_(std::chrono::steady_clock::now()),
      drawn_(begin_) {}

void Progress::advance() {
  ++done_;
  const auto now = std::chrono::steady_clock::now();
  if (now - drawn_ < interval_) return;
  drawn_ = now;
  draw();
}

void Progress::finish() {
  if (!terminal_) return;
  draw();
  std::fputc('\n', stream_);
}

void Progress::draw() {
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  const double rate = seconds > 0 ? static_cast<double>(done_ - before_) / seconds : 0.0;
  const std::string rest = rate > 0 && done_ < total_ ? ", " + left(static_cast<double>(total_ - done_) / rate) : "";
  std::fprintf(stream_, "%s%zu of %zu pictures, %.1f per second%s%s", terminal_ ? "\r" : "", done_, total_, rate,
               rest.c_str(), terminal_ ? "   " : "\n");
  std::fflush(stream_);
}

}  // namespace glorext
