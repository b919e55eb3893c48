// Arrays written are read back; files that are not what they say are refused.
#include <doctest/doctest.h>

#include "files.h"
#include "npy.h"
#include "support.h"

using namespace glorext;

TEST_CASE("float32 and uint8 arrays are read as they were written") {
  const TemporaryFolder folder;
  const float values[] = {1.5F, -2, 3, 4, 5, 6};
  write_npy(folder.file("a.npy"), "<f4", {2, 3}, values);
  const NpyArray array = read_npy(folder.file("a.npy"));
  CHECK(array.dtype == "<f4");
  CHECK(array.shape == std::vector<int64_t>{2, 3});
  CHECK(array.bytes == std::string(reinterpret_cast<const char*>(values), sizeof values));
  write_npy(folder.file("b.npy"), "|u1", {3}, "abc");
  CHECK(read_npy(folder.file("b.npy")).bytes == "abc");
  write_npy(folder.file("c.npy"), "<f4", {0, 10}, nullptr);
  CHECK(read_npy(folder.file("c.npy")).rows() == 0);
}

TEST_CASE("the data begins at a multiple of 64 bytes") {
  const TemporaryFolder folder;
  for (int64_t n : {1, 10, 100, 1000, 10000}) {
    const std::string data(static_cast<size_t>(n), 'x');
    write_npy(folder.file("a.npy"), "|u1", {n}, data.data());
    CHECK((read_file(folder.file("a.npy"), 1 << 20).size() - data.size()) % 64 == 0);
  }
}

TEST_CASE("files that are no such array are refused") {
  const TemporaryFolder folder;
  const float values[] = {1, 2, 3, 4};
  write_npy(folder.file("good.npy"), "<f4", {4}, values);
  const std::string good = read_file(folder.file("good.npy"), 1 << 20);
  const auto error_of = [&](std::string bytes) {
    write_file(folder.file("bad.npy"), bytes.data(), bytes.size());
    return message_of([&] { read_npy(folder.file("bad.npy")); });
  };
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string bytes = good;
    return bytes.replace(bytes.find(from), from.size(), to);
  };
  CHECK(mentions(error_of(""), "not a .npy file"));
  CHECK(mentions(error_of(good.substr(0, 40)), "cut off"));
  CHECK(mentions(error_of(good.substr(0, good.size() - 1)), "expected 16 bytes of data, found 15"));
  CHECK(mentions(error_of(with("<f4", "<f8")), "expected float32 or uint8"));
  CHECK(mentions(error_of(with("False", "True ")), "Fortran order"));
  CHECK(mentions(error_of(with("(4,)", "(9999999999,9999999999,)")), "impossible shape"));
  CHECK(mentions(error_of(with("'shape'", "'shade'")), "lacks shape"));
  CHECK(mentions(error_of(with("(4,)", "4,  ")), "unreadable shape"));
}
