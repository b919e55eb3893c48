// glorext_classify: what is on these pictures, one line for each as it comes; a user of libglorext's classifier.
#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <future>
#include <iostream>
#include <thread>

#include "cores.h"
#include "failure.h"
#include "files.h"
#include "flags.h"
#include "glorext/classifier.h"
#include "lite_device.h"
#include "queue.h"
#include "quiet.h"

namespace {

using namespace glorext;

constexpr const char* kAbout = R"(glorext_classify: say what is on pictures, without Python

  glorext_classify --model M PICTURE...
  find . -name "*.jpg" | glorext_classify --model M --format jsonl -

)";
constexpr const char* kEnd = R"(
A PICTURE is a JPEG or PNG file, a folder (all pictures in it, in any depth), or -: a list on standard input, one path a
line. Lines come in the order of the pictures, each as soon as it is known. Exit status: 0 done, 1 failed or pictures
broken, 2 usage.
)";

struct Asking {
  std::string model;
  std::string format = "table";
  int top = 1;
  int workers = 0;
  bool allow_broken = false;
  DeviceOptions device;
  std::vector<std::string> pictures;
};

bool parse(int argc, char** argv, Asking& asking) {
  Flags flags(kAbout, kEnd);
  flags.text("model", "M", asking.model, "a .ms or .mindir file of MindSpore Lite, its contract M.json beside it")
      .required();
  flags.choice("format", "F", asking.format, {"table", "jsonl", "csv"}, "table for reading, the others for programs");
  flags.number("top", "N", asking.top, 1, 5, "classes shown for each picture; jsonl has five");
  flags.number("workers", "N", asking.workers, 1, 1024, "pictures that the model answers at once");
  device_flags(flags, asking.device);
  flags.on("allow_broken", asking.allow_broken, "pictures that cannot be read are named, but do not fail the run");
  flags.words(asking.pictures);
  if (!flags.parse(argc, argv)) return false;
  check_device_flags(asking.device);
  if (asking.pictures.empty()) throw Usage("give pictures, a folder, or - for a list; see --help");
  if (std::count(asking.pictures.begin(), asking.pictures.end(), "-") > 1)
    throw Usage("- is given twice: there is one standard input");
  return true;
}

// Calls `each` with every file that the words mean, in their order; stops where it returns false.
void for_each_picture(const std::vector<std::string>& words, const std::function<bool(const std::string&)>& each) {
  for (const std::string& word : words) {
    std::error_code ignored;
    if (word == "-") {
      for (std::string line; std::getline(std::cin, line);) {
        if (!line.empty() && line.back() == '\r') line.pop_back();
        if (!line.empty() && !each(line)) return;
      }
    } else if (std::filesystem::is_directory(word, ignored)) {
      for (const std::string& name : list_pictures(word))
        if (is_picture_name(name) && !each((std::filesystem::path(word) / name).native())) return;
    } else if (!each(word)) {
      return;
    }
  }
}

struct Told {
  Result result;
  std::string error;  // empty: there is a result
};

Told tell(const Classifier& classifier, const std::string& path) {
  try {
    return {classifier.classify_file(path), ""};
  } catch (const Error& error) {
    return {{}, error.what()};
  }
}

std::string number_text(double value, const char* form) {
  char text[32];
  std::snprintf(text, sizeof text, form, value);
  return text;
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char letter : text) out += letter == '"' ? "\"\"" : std::string(1, letter);
  return out + '"';
}

std::string json_line(const std::string& path, const Told& told) {
  if (!told.error.empty()) return Json(Json::Object{{"path", path}, {"error", told.error}}).line();
  Json::Array best;
  for (const Answer& one : told.result.top)
    best.push_back(Json::Object{{"label", one.label}, {"probability", one.probability}});
  const Answer& first = told.result.top[0];
  return Json(Json::Object{{"path", path}, {"label", first.label}, {"probability", first.probability}, {"top5", best}})
      .line();
}

std::string csv_line(const std::string& path, const Told& told, size_t top) {
  std::string out = csv_cell(printable(path));
  for (size_t i = 0; i < top; ++i) {
    const bool known = i < told.result.top.size();
    out += "," + (known ? csv_cell(told.result.top[i].label) : "");
    out += "," + (known ? number_text(told.result.top[i].probability, "%.6f") : "");
  }
  return out + "," + csv_cell(told.error) + "\n";
}

std::string csv_head(size_t top) {
  std::string out = "path";
  for (size_t i = 1; i <= top; ++i) {
    const std::string rank = i == 1 ? "" : std::to_string(i);
    out += ",label" + rank + ",probability" + rank;
  }
  return out + ",error\n";
}

std::string table_line(const std::string& path, const Told& told, size_t top) {
  std::string out = printable(path);
  if (!told.error.empty()) return out + "  broken: " + printable(told.error) + "\n";
  for (size_t i = 0; i < std::min(top, told.result.top.size()); ++i)
    out += (i == 0 ? "  " : "   ") + printable(told.result.top[i].label) + " " +
           number_text(100 * told.result.top[i].probability, "%.1f%%");
  return out + "\n";
}

std::string line_of(const Asking& asking, const std::string& path, const Told& told) {
  const auto top = static_cast<size_t>(asking.top);
  return asking.format == "jsonl" ? json_line(path, told)
         : asking.format == "csv" ? csv_line(path, told, top)
                                  : table_line(path, told, top);
}

struct Asked {
  std::string path;
  std::future<Told> answer;
};

int run(int argc, char** argv) {
  Asking asking;
  if (!parse(argc, argv, asking)) return 0;
  const DeviceOptions& device = asking.device;
  const Classifier classifier(asking.model,
                              {device.device, device.device_id, asking.workers, device.threads, device.precision});
  // A thread decodes and asks: on a card some of them decode while others wait for it.
  const int count = classifier.workers() + (device.device == "cpu" ? 0 : usable_cores());
  BoundedQueue<std::packaged_task<Told()>> todo(static_cast<size_t>(count));
  BoundedQueue<Asked> asked(2 * static_cast<size_t>(count));
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i)
    threads.emplace_back([&] {
      while (std::optional<std::packaged_task<Told()>> task = todo.pop()) (*task)();
    });
  size_t all = 0;
  size_t broken = 0;
  std::thread printer([&] {
    if (asking.format == "csv") std::fputs(csv_head(static_cast<size_t>(asking.top)).c_str(), stdout);
    while (std::optional<Asked> one = asked.pop()) {
      const Told told = one->answer.get();
      std::fputs(line_of(asking, one->path, told).c_str(), stdout);
      std::fflush(stdout);
      ++all;
      broken += told.error.empty() ? 0 : 1;
    }
  });
  for_each_picture(asking.pictures, [&](const std::string& path) {
    std::packaged_task<Told()> task([&classifier, path] { return tell(classifier, path); });
    return asked.push({path, task.get_future()}) && todo.push(std::move(task));
  });
  todo.close();
  asked.close();
  for (std::thread& thread : threads) thread.join();
  printer.join();
  if (all == 0) throw Failure("no pictures were given");
  if (broken > 0 && !asking.allow_broken)
    throw Failure(std::to_string(broken) + " of the " + std::to_string(all) +
                  " pictures are broken, as listed; with --allow_broken they do not fail the run");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  glorext::quiet_runtime(argv);
#ifdef M_MMAP_THRESHOLD
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);  // as in infer_main.cc
#endif
  return glorext::run_program("glorext_classify", run, argc, argv);
}
