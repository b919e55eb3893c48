// The answers of a run as they come, in the folder OUT.partial: a run that was killed goes on where it ended.
//   run.json       what the answers depend on, schema glorext.partial/1
//   answers.jsonl  a line for each picture, in the order in which they were answered
//   logits.f32     the rows of the answered ones, float32, in the same order
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "files.h"
#include "json.h"
#include "results.h"

namespace glorext {

// An answered picture: where it stands in the run's list, its file as it was read, and its times.
struct Answered {
  size_t index = 0;
  Stamp file;
  double ms = 0;
  Stages stages;
  double seconds = 0;  // of the run, until then
};

// Not thread-safe: the caller holds its lock.
class Journal {
 public:
  // `run`: objects by name, each one that answers depend on. `folder` and `names` are the pictures; `names` must
  // outlive the object. With `resume` the answers of an earlier run are taken over, if there was one. Throws Usage:
  // there was one and `resume` is not asked for, or it was given something else than `run`; Failure: another process
  // goes on with it, or the disk.
  Journal(const std::string& out, const Json::Object& run, const std::string& folder,
          const std::vector<std::string>& names, int64_t classes, bool resume);
  // Removes the folder where nothing was answered.
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  const std::string& path() const { return path_; }

  // What the earlier run answered: the pictures and their rows.
  const std::vector<Answered>& answered() const { return answered_; }
  const std::vector<float>& logits() const { return logits_; }

  // Adds answers with their rows, one after the other. Throws Failure when they cannot be written.
  void add(const std::vector<Answered>& answers, const float* rows);
  void add_failed(size_t index, const std::string& error);

  // Removes the folder: what it holds stands in the results.
  void remove();

 private:
  static std::string claim(const std::string& out, bool resume);
  void take_over(const std::string& folder);
  bool take_line(const std::string& line, const std::string& rows, const std::string& folder, size_t& row);
  std::string file(const char* name) const { return path_ + "/" + name; }

  const std::vector<std::string>& names_;
  const size_t classes_;
  const std::string path_;
  GrowingFile lines_;
  GrowingFile rows_;
  std::vector<Answered> answered_;
  std::vector<float> logits_;
};

// A list of pictures by their number and their names' digest.
Json list_digest(const std::vector<std::string>& names);

}  // namespace glorext
