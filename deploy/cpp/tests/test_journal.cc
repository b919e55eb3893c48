// What a run that was ended left behind, and what the next one takes over of it.
#include "journal.h"

#include <doctest/doctest.h>

#include <fstream>

#include "support.h"

using namespace glorext;

namespace {

const std::vector<std::string> kNames{"a/0.png", "a/1.png", "b/2.png", "b/3.png"};

Json::Object run_of(const std::string& model, double mean = 0.5) {
  return {{"model", Json::Object{{"sha256", model}}}, {"preprocessing", Json::Object{{"mean", mean}}}};
}

// Four picture files, and an output folder that is not there yet.
struct Work {
  Work() {
    for (const std::string& name : kNames) {
      std::filesystem::create_directories(std::filesystem::path(folder.file(name)).parent_path());
      std::ofstream(folder.file(name)) << name;
    }
  }
  Journal open(bool resume, const Json::Object& run = run_of("m")) const {
    return {folder.file("out"), run, folder.path(), kNames, 2, resume};
  }
  std::string lines() const { return folder.file("out.partial/answers.jsonl"); }
  std::string rows() const { return folder.file("out.partial/logits.f32"); }
  Answered answered(size_t index) const {
    return {index, stamp_of(folder.file(kNames[index])), 10.0 + static_cast<double>(index), {1, 2, 3, 4}, 0.5};
  }
  // A run that ended after pictures 2, 0 and 3, of which the row of picture i is {i, 9}.
  void leave() const {
    Journal journal = open(false);
    const float first[] = {2, 9, 0, 9};
    journal.add({answered(2), answered(0)}, first);
    journal.add_failed(1, "the file is empty");
    const float second[] = {3, 9};
    journal.add({answered(3)}, second);
  }
  TemporaryFolder folder;
};

std::vector<size_t> indices(const Journal& journal) {
  std::vector<size_t> found;
  for (const Answered& one : journal.answered()) found.push_back(one.index);
  return found;
}

void append(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::app) << text; }

void cut(const std::string& path, int64_t bytes) {
  std::filesystem::resize_file(path,
                               static_cast<uintmax_t>(static_cast<int64_t>(std::filesystem::file_size(path)) + bytes));
}

}  // namespace

TEST_CASE("a run goes on with the answers of the one that was ended") {
  const Work work;
  work.leave();
  const Journal journal = work.open(true);
  CHECK(indices(journal) == std::vector<size_t>{2, 0, 3});
  CHECK(journal.logits() == std::vector<float>{2, 9, 0, 9, 3, 9});
  CHECK(journal.answered()[2].ms == 13);
  CHECK(journal.answered()[2].stages.preprocess == 3);
  CHECK(journal.answered()[2].seconds == 0.5);
}

TEST_CASE("of two writes only one may have been kept, or a part of one") {
  const Work work;
  work.leave();
  std::vector<size_t> whole{2, 0};
  SUBCASE("a line that was cut off") { cut(work.lines(), -5); }
  SUBCASE("a line without its row") { cut(work.rows(), -8); }
  SUBCASE("a line with half of its row") { cut(work.rows(), -3); }
  SUBCASE("a row of zeros, as a power failure leaves it") {
    cut(work.rows(), -8);
    cut(work.rows(), 8);
  }
  SUBCASE("a line of zeros") {
    cut(work.lines(), -20);
    append(work.lines(), std::string(19, '\0') + "\n");
  }
  SUBCASE("a row without its line") {
    append(work.rows(), "12345678");
    whole = {2, 0, 3};
  }
  {
    Journal journal = work.open(true);
    CHECK(indices(journal) == whole);
    const float row[] = {7, 1};
    journal.add({work.answered(1)}, row);
  }
  whole.push_back(1);
  const Journal again = work.open(true);
  CHECK(indices(again) == whole);
  CHECK(std::vector<float>(again.logits().end() - 2, again.logits().end()) == std::vector<float>{7, 1});
}

TEST_CASE("a picture that was replaced in between is answered again, and its new answer counts") {
  const Work work;
  work.leave();
  append(work.folder.file(kNames[0]), "more");
  {
    Journal journal = work.open(true);
    CHECK(indices(journal) == std::vector<size_t>{2, 3});
    const float row[] = {0, 5};
    journal.add({work.answered(0)}, row);
  }
  const Journal again = work.open(true);
  CHECK(indices(again) == std::vector<size_t>{2, 3, 0});
  CHECK(again.logits() == std::vector<float>{2, 9, 3, 9, 0, 5});
}

TEST_CASE("a run of something else is refused by its name, and stays") {
  const Work work;
  work.leave();
  CHECK(mentions(message_of([&] { work.open(true, run_of("n")); }), "was of another model: model.sha256 was \"m\""));
  CHECK(mentions(message_of([&] { work.open(true, run_of("m", 0.25)); }),
                 "was of another preprocessing: preprocessing.mean was 0.5 and is 0.25"));
  CHECK(mentions(message_of([&] { work.open(false); }), "go on with --resume, or remove it"));
  CHECK(indices(work.open(true)).size() == 3);
}

TEST_CASE("where nothing was answered nothing stays, and a new run need not say --resume") {
  const Work work;
  { const Journal journal = work.open(true); }
  CHECK(!std::filesystem::exists(work.folder.file("out.partial")));
  std::filesystem::create_directory(work.folder.file("out.partial"));
  CHECK(indices(work.open(false)).empty());
  work.leave();
  work.open(true).remove();
  CHECK(!std::filesystem::exists(work.folder.file("out.partial")));
}

TEST_CASE("two runs do not share a folder, and a folder of others is left alone") {
  const Work work;
  work.leave();
  {
    const Journal journal = work.open(true);
    CHECK(mentions(message_of([&] { work.open(true); }), "another process is writing to"));
  }
  append(work.folder.file("out.partial/letter.txt"), "mine");
  CHECK(mentions(message_of([&] { work.open(true); }), "it holds letter.txt, which is of no run"));
}

TEST_CASE("the list of pictures counts by its names") {
  CHECK(list_digest(kNames).line() != list_digest({"a/0.png", "a/1.png", "b/2.png", "b/4.png"}).line());
  CHECK(list_digest(kNames).at("count", "list").integer("count") == 4);
}
