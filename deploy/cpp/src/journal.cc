// Writing a line and a row for each answer, and taking over those of a run that did not end.
#include "journal.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>

#include "failure.h"
#include "fields.h"
#include "sha256.h"

namespace glorext {
namespace fs = std::filesystem;
namespace {

constexpr const char* kSchema = "glorext.partial/1";
constexpr const char* kRun = "run.json";
constexpr const char* kRunUnfinished = "run.json.part";
constexpr const char* kLines = "answers.jsonl";
constexpr const char* kRows = "logits.f32";
constexpr const char* kStages[] = {"read", "decode", "preprocess", "infer"};
constexpr size_t kLargestRun = size_t{1} << 20;
constexpr size_t kLargest = size_t{1} << 40;

double Stages::*member(const char* stage) {
  return stage[0] == 'r'   ? &Stages::read
         : stage[0] == 'd' ? &Stages::decode
         : stage[0] == 'p' ? &Stages::preprocess
                           : &Stages::infer;
}

Json::Array as_json(const std::vector<int64_t>& numbers) { return {numbers.begin(), numbers.end()}; }

std::string line_of(const Answered& one, const std::string& name, const float* row, size_t classes) {
  Json::Object stages;
  for (const char* stage : kStages) stages[stage] = one.stages.*member(stage);
  return Json(Json::Object{{"index", static_cast<int64_t>(one.index)},
                           {"path", name},
                           {"bytes", one.file.bytes},
                           {"modified", one.file.modified},
                           {"top5", as_json(top5(row, static_cast<int64_t>(classes)))},
                           {"ms", one.ms},
                           {"stages_ms", stages},
                           {"seconds", one.seconds}})
      .line();
}

// Where two values differ first, as a path of keys, and the two; nothing where they are equal.
std::optional<std::string> difference(const Json& before, const Json& now, const std::string& key) {
  if (before.type() != Json::Type::object || now.type() != Json::Type::object) {
    if (before.line() == now.line()) return std::nullopt;
    const auto text = [](const Json& value) {
      const std::string line = value.line();
      return line.substr(0, line.size() - 1);
    };
    return key + " was " + text(before) + " and is " + text(now);
  }
  std::set<std::string> keys;
  for (const Json* one : {&before, &now})
    for (const auto& member : one->object(key)) keys.insert(member.first);
  const auto value = [&](const Json& of, const std::string& name) {
    const auto found = of.object(key).find(name);
    return found == of.object(key).end() ? Json() : found->second;
  };
  for (const std::string& name : keys)
    if (auto found = difference(value(before, name), value(now, name), key + "." + name)) return found;
  return std::nullopt;
}

void write_run(const std::string& folder, Json::Object run) {
  run["schema"] = kSchema;
  const std::string text = Json(std::move(run)).dump();
  const std::string unfinished = folder + "/" + kRunUnfinished;
  write_file(unfinished, text.data(), text.size());
  std::error_code error;
  fs::rename(unfinished, folder + "/" + kRun, error);
  if (error) throw Failure("cannot write " + folder + "/" + kRun + ": " + error.message());
}

void require_same_run(const std::string& path, const Json::Object& now) {
  const Json json = parse_json(read_file(path, kLargestRun), path);
  Fields before(json, path);
  before.one_of("schema", {kSchema});
  for (const auto& [name, value] : now)
    if (const auto found = difference(before.take(name), value, name))
      throw Usage("--resume: the run in " + path + " was of another " + name + ": " + *found +
                  "; give it what it was given, or remove the folder to begin again");
  before.done();
}

}  // namespace

Json list_digest(const std::vector<std::string>& names) {
  std::string lines;
  for (const std::string& name : names) lines += name + "\n";
  return Json::Object{{"count", static_cast<int64_t>(names.size())},
                      {"sha256", sha256_hex(lines.data(), lines.size())}};
}

std::string Journal::claim(const std::string& out, bool resume) {
  std::string path = out;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  path += ".partial";
  std::error_code error;
  const fs::path parent = fs::path(path).parent_path();
  if (!parent.empty()) fs::create_directories(parent, error);
  if (!error && fs::create_directory(path, error)) return path;
  if (error) throw Failure("cannot make the folder " + path + ": " + error.message());
  for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
    const std::string name = entry.path().filename().native();
    if (name != kRun && name != kRunUnfinished && name != kLines && name != kRows)
      throw Usage(path + " is in the way: it holds " + printable(name) + ", which is of no run; choose another --out");
  }
  if (!resume && fs::exists(path + "/" + kRun, error) && fs::file_size(path + "/" + kLines, error) > 0 && !error)
    throw Usage(path +
                " holds the answers of a run that did not end: go on with --resume, or remove it to begin again");
  return path;
}

Journal::Journal(const std::string& out, const Json::Object& run, const std::string& folder,
                 const std::vector<std::string>& names, int64_t classes, bool resume)
    : names_(names),
      classes_(static_cast<size_t>(classes)),
      path_(claim(out, resume)),
      lines_(file(kLines)),
      rows_(file(kRows)) {
  if (!lines_.lock()) throw Failure("another process is writing to " + path_);
  std::error_code error;
  if (resume && fs::exists(file(kRun), error)) {
    require_same_run(file(kRun), run);
    take_over(folder);
  } else {
    lines_.cut(0);
    rows_.cut(0);
    write_run(path_, run);
  }
}

Journal::~Journal() {
  if (answered_.empty() && lines_.size() == 0) remove();
}

// Only what is whole counts: a line and its row are two writes, and the system may have kept one of them, or half of
// one. A row of zeros, as a power failure leaves it, has another top five than its line.
void Journal::take_over(const std::string& folder) {
  const std::string lines = read_file(file(kLines), kLargest);
  const std::string rows = read_file(file(kRows), kLargest);
  size_t begin = 0;
  size_t row = 0;
  for (size_t end = lines.find('\n'); end != std::string::npos; end = lines.find('\n', begin)) {
    try {
      if (!take_line(lines.substr(begin, end - begin), rows, folder, row)) break;
    } catch (const Failure&) {
      break;
    }
    begin = end + 1;
  }
  lines_.cut(begin);
  rows_.cut(row * classes_ * sizeof(float));
}

// False: the line has no row, or another one.
bool Journal::take_line(const std::string& line, const std::string& rows, const std::string& folder, size_t& row) {
  const Json json = parse_json(line, file(kLines));
  Fields fields(json, file(kLines));
  const auto members = json.object(file(kLines));
  if (members.count("error") > 0) return true;  // it is tried again
  Answered one;
  one.index = static_cast<size_t>(fields.count("index", 0, static_cast<int64_t>(names_.size()) - 1));
  one.file = {fields.integer("bytes"), fields.integer("modified")};
  one.ms = fields.number("ms");
  one.seconds = fields.number("seconds");
  Fields stages = fields.inner("stages_ms");
  for (const char* stage : kStages) one.stages.*member(stage) = stages.number(stage);
  const std::vector<int64_t> best = fields.integers("top5");
  std::vector<float> values(classes_);
  const size_t bytes = classes_ * sizeof(float);
  if (rows.size() < (row + 1) * bytes) return false;
  std::memcpy(values.data(), rows.data() + row * bytes, bytes);
  if (top5(values.data(), static_cast<int64_t>(classes_)) != best) return false;
  ++row;
  // A picture that was replaced since is answered again.
  if (!(stamp_of(folder + "/" + names_[one.index]) == one.file)) return true;
  answered_.push_back(one);
  logits_.insert(logits_.end(), values.begin(), values.end());
  return true;
}

void Journal::add(const std::vector<Answered>& answers, const float* rows) {
  std::string lines;
  for (size_t i = 0; i < answers.size(); ++i)
    lines += line_of(answers[i], names_[answers[i].index], rows + i * classes_, classes_);
  rows_.append(rows, answers.size() * classes_ * sizeof(float));
  lines_.append(lines.data(), lines.size());
}

void Journal::add_failed(size_t index, const std::string& error) {
  const std::string line =
      Json(Json::Object{{"index", static_cast<int64_t>(index)}, {"path", names_[index]}, {"error", error}}).line();
  lines_.append(line.data(), line.size());
}

void Journal::remove() {
  std::error_code ignored;
  for (const char* name : {kRun, kRunUnfinished, kLines, kRows}) fs::remove(file(name), ignored);
  fs::remove(path_, ignored);
}

}  // namespace glorext
