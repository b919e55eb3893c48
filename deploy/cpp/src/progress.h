// How far a run is, on stderr: one line drawn anew on a terminal, elsewhere a line now and then.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdio>

namespace glorext {

// Not thread-safe: the caller holds its lock.
class Progress {
 public:
  explicit Progress(size_t total);
  // For a stream that is a terminal or not, with a line every `interval`.
  Progress(size_t total, std::FILE* stream, bool terminal, std::chrono::milliseconds interval);
  // Some are done already; their time does not count.
  void begin(size_t done) { before_ = done_ = done; }
  void advance();
  void finish();

 private:
  void draw();

  const size_t total_;
  std::FILE* const stream_;
  const bool terminal_;
  const std::chrono::milliseconds interval_;
  size_t before_ = 0;
  size_t done_ = 0;
  const std::chrono::steady_clock::time_point begin_;
  std::chrono::steady_clock::time_point drawn_;
};

}  // namespace glorext
