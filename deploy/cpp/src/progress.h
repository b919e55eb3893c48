// A progress line on stderr, drawn only when that is a terminal.
#pragma once

#include <chrono>
#include <cstddef>

namespace glorext {

// Not thread-safe: the caller holds its lock.
class Progress {
 public:
  explicit Progress(size_t total);
  void advance();
  void finish();

 private:
  void draw();

  const size_t total_;
  const bool visible_;
  size_t done_ = 0;
  const std::chrono::steady_clock::time_point begin_;
  std::chrono::steady_clock::time_point drawn_;
};

}  // namespace glorext
