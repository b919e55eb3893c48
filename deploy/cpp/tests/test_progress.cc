// Progress where nobody looks at a terminal.
#include "progress.h"

#include <doctest/doctest.h>

#include <cstdio>
#include <string>

using namespace glorext;

namespace {

std::string drawn(bool terminal, std::chrono::milliseconds interval, size_t before, size_t advances) {
  std::FILE* file = std::tmpfile();
  Progress progress(8, file, terminal, interval);
  progress.begin(before);
  for (size_t i = 0; i < advances; ++i) progress.advance();
  progress.finish();
  std::string text(static_cast<size_t>(std::ftell(file)), '\0');
  std::rewind(file);
  CHECK(std::fread(text.data(), 1, text.size(), file) == text.size());
  std::fclose(file);
  return text;
}

}  // namespace

TEST_CASE("without a terminal a line says how far a run is and what is left") {
  const std::string text = drawn(false, std::chrono::milliseconds(0), 5, 3);
  CHECK(text.find("6 of 8 pictures, ") == 0);
  CHECK(text.find(" per second, 1 s left\n7 of 8 pictures, ") != std::string::npos);
  CHECK(text.substr(text.size() - 12) == " per second\n");
  CHECK(text.find('\r') == std::string::npos);
}

TEST_CASE("lines come at their interval, so a short run prints none") {
  CHECK(drawn(false, std::chrono::hours(1), 0, 8).empty());
}

TEST_CASE("on a terminal one line is drawn anew") {
  const std::string text = drawn(true, std::chrono::milliseconds(0), 0, 8);
  CHECK(text.find("\r8 of 8 pictures, ") != std::string::npos);
  CHECK(text.find('\n') == text.size() - 1);
}
