// Listing of pictures and folders that are whole or not there.
#include <doctest/doctest.h>

#include <sys/stat.h>

#include <fstream>

#include "files.h"
#include "support.h"

using namespace glorext;
namespace fs = std::filesystem;

namespace {

void touch(const std::string& path) { std::ofstream(path) << "x"; }

}  // namespace

TEST_CASE("pictures are listed in byte order, recursively, without hidden names") {
  const TemporaryFolder folder;
  fs::create_directories(folder.file("b/deep"));
  fs::create_directories(folder.file(".cache"));
  for (const char* name : {"__MACOSX/b", "b/@eaDir", "#recycle", "System Volume Information"}) {
    fs::create_directories(folder.file(name));
    touch(folder.file(std::string(name) + "/1.png"));
  }
  for (const char* name : {"b/2.png", "b/10.png", "b/deep/z", "B.jpg", "a.txt"}) touch(folder.file(name));
  for (const char* name : {".hidden", ".cache/x.png", "Thumbs.db", "b/Desktop.ini", "Icon\r", "b/ehthumbs.db"})
    touch(folder.file(name));
  CHECK(list_pictures(folder.path()) == std::vector<std::string>{"B.jpg", "a.txt", "b/10.png", "b/2.png", "b/deep/z"});
  CHECK(list_pictures(folder.path() + "/") == list_pictures(folder.path()));
}

TEST_CASE("a picture is known by its ending; a pipe is listed, so that it is reported") {
  for (const char* name : {"a.jpg", "b/a.JPEG", "x.y.Png"}) CHECK(is_picture_name(name));
  for (const char* name : {"a.jpg.txt", "jpg", "a.gif", "a.jpg/b", "", ".png"}) CHECK(!is_picture_name(name));
  const TemporaryFolder folder;
  REQUIRE(::mkfifo(folder.file("pipe.jpg").c_str(), 0600) == 0);
  CHECK(list_pictures(folder.path()) == std::vector<std::string>{"pipe.jpg"});
}

TEST_CASE("links are followed, but not in circles, and a link to nowhere is listed") {
  const TemporaryFolder folder;
  const TemporaryFolder elsewhere;
  touch(elsewhere.file("x.png"));
  fs::create_directory(folder.file("a"));
  touch(folder.file("a/y.png"));
  fs::create_directory_symlink(elsewhere.path(), folder.file("linked"));
  for (const char* name : {"a/up", "a/again"}) fs::create_directory_symlink(folder.path(), folder.file(name));
  fs::create_symlink("missing", folder.file("gone.jpg"));
  CHECK(list_pictures(folder.path()) == std::vector<std::string>{"a/y.png", "gone.jpg", "linked/x.png"});
}

TEST_CASE("a folder without pictures is a failure") {
  const TemporaryFolder folder;
  touch(folder.file("one"));
  fs::create_directory(folder.file("empty"));
  CHECK(mentions(message_of([&] { list_pictures(folder.file("empty")); }), "holds no files"));
  CHECK(mentions(message_of([&] { list_pictures(folder.file("missing")); }), "is no folder"));
  CHECK(mentions(message_of([&] { list_pictures(folder.file("one")); }), "is no folder"));
}

TEST_CASE("reading refuses what is no regular file without waiting for it") {
  const TemporaryFolder folder;
  REQUIRE(::mkfifo(folder.file("pipe").c_str(), 0600) == 0);
  CHECK(mentions(message_of([&] { read_file(folder.file("pipe"), 10); }), "not a regular file"));
  CHECK(mentions(message_of([&] { read_file(folder.path(), 10); }), "not a regular file"));
  CHECK(mentions(message_of([&] { read_file(folder.file("none"), 10); }), "No such file"));
  write_file(folder.file("big"), "12345678901", 11);
  CHECK(mentions(message_of([&] { read_file(folder.file("big"), 10); }), "more than the limit of 10"));
}

TEST_CASE("a result folder appears only when committed") {
  const TemporaryFolder folder;
  {
    ResultFolder out(folder.file("out"), "mark");
    write_file(out.file("mark"), "1", 1);
    CHECK(!fs::exists(folder.file("out")));
  }
  CHECK(fs::is_empty(folder.path()));
  ResultFolder out(folder.file("out/"), "mark");
  write_file(out.file("mark"), "2", 1);
  out.commit();
  CHECK(read_file(folder.file("out/mark"), 10) == "2");
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("an earlier result is replaced, anything else is not") {
  const TemporaryFolder folder;
  fs::create_directory(folder.file("result"));
  touch(folder.file("result/mark"));
  touch(folder.file("result/old"));
  ResultFolder(folder.file("result"), "mark").commit();
  CHECK(!fs::exists(folder.file("result/old")));
  fs::create_directory(folder.file("home"));
  touch(folder.file("home/letter"));
  CHECK(mentions(message_of([&] { ResultFolder(folder.file("home"), "mark"); }), "not an earlier result"));
  CHECK(fs::exists(folder.file("home/letter")));
}
