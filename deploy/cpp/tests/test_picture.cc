// Which files are accepted as pictures; decoded values are compared with MindSpore's in Python.
#include <doctest/doctest.h>

#include "picture.h"
#include "support.h"

using namespace glorext;

namespace {

std::string error_of(const std::string& bytes) {
  return message_of([&] { decode_picture(bytes); });
}

}  // namespace

TEST_CASE("content decides, and what is neither JPEG nor PNG says so") {
  CHECK(error_of("") == "the file is empty");
  CHECK(error_of("plain text") == "neither JPEG nor PNG");
  CHECK(error_of("\xFF\xD8") == "neither JPEG nor PNG");
  CHECK(mentions(error_of("\xFF\xD8\xFF\xE0"), "damaged JPEG"));
  CHECK(mentions(error_of("\x89PNG\r\n\x1A\n"), "damaged PNG: the file is cut off"));
}

TEST_CASE("the size is checked before memory is taken") {
  CHECK(mentions(message_of([] { check_dimensions(16385, 16384); }), "too large: 16385 x 16384 pixels"));
  CHECK(mentions(message_of([] { check_dimensions(0xFFFFFFFFFFFFFFFF, 2); }), "too large"));
  CHECK(mentions(message_of([] { check_dimensions(0, 5); }), "an empty picture"));
  CHECK(mentions(message_of([] { check_dimensions(1000001, 1); }), "too large"));
  check_dimensions(16384, 16384);
  check_dimensions(1, 1000000);
}
