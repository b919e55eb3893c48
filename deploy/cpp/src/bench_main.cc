// glorext_bench: throughput and latency of a MindSpore Lite model under loads, as JSON.
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <random>

#include "card.h"
#include "cores.h"
#include "failure.h"
#include "flags.h"
#include "glorext/classifier.h"
#include "interrupt.h"
#include "layers.h"
#include "lite_model.h"
#include "load.h"
#include "quiet.h"

namespace {

using namespace glorext;

constexpr const char* kAbout = R"(glorext_bench: how fast a MindSpore Lite model answers

  glorext_bench --model M --loads full,single,20 --images DIR
  glorext_bench --model M --loads full

)";
constexpr const char* kEnd = R"(
Prints JSON. A load is `single` (the next request comes when the last one is answered), `full` (there is always a next
one) or requests a second, which come at random moments whether or not the ones before are answered. A latency counts
from the moment a request comes. Exit status: 0 done, 1 failed, 2 usage, 130 stopped by Ctrl-C.
)";

struct Options {
  std::string model;
  std::string images;
  std::string loads = "full";
  DeviceOptions device;
  double warmup = 1;
  double seconds = 5;
  int batch = 0;
  int workers = 0;
  int decoders = 0;
  bool layers = false;
};

bool parse(int argc, char** argv, Options& options) {
  Flags flags(kAbout, kEnd);
  flags.text("model", "M", options.model, "a .ms or .mindir file of MindSpore Lite, its contract M.json beside it")
      .required();
  flags.text("images", "DIR", options.images,
             "JPEG and PNG files, from the file to the top five; without it the model alone, on random values");
  flags.text("loads", "LIST", options.loads, "single, full or requests a second, with commas (default: full)");
  flags.real("warmup", "S", options.warmup, "seconds of each load before it is measured (default: 1)");
  flags.real("seconds", "S", options.seconds, "seconds of each measurement (default: 5)");
  device_flags(flags, options.device);
  flags.number("batch", "N", options.batch, 1, 4096, "rows of a call, at most (default: as glorext_infer)");
  flags.number("workers", "N", options.workers, 1, 1024, "models that run at once (default: as glorext_infer)");
  flags.number("decoders", "N", options.decoders, 1, 1024, "pictures that are decoded at once (default: the cores)");
  flags.on("layers", options.layers, "also the time of each kernel, of a model by itself, where the runtime tells");
  if (!flags.parse(argc, argv)) return false;
  check_device_flags(options.device);
  if (!(options.seconds > 0)) throw Usage("--seconds: expected more than 0");
  return true;
}

// Inputs of the model's type and size, of values such as pictures have.
std::vector<std::vector<uint8_t>> random_rows(const Contract& contract, size_t bytes) {
  constexpr int kRows = 8;
  std::mt19937 generator(0);
  std::vector<std::vector<uint8_t>> rows(kRows, std::vector<uint8_t>(bytes));
  for (std::vector<uint8_t>& row : rows) {
    if (contract.uint8_input) {
      for (uint8_t& value : row) value = static_cast<uint8_t>(generator() >> 24);
      continue;
    }
    auto* values = reinterpret_cast<float*>(row.data());
    for (size_t i = 0; i < bytes / sizeof(float); ++i) {
      const auto pixel = static_cast<float>(generator() >> 24);
      values[i] = contract.pixels ? pixel : pixel / 64 - 2;
    }
  }
  return rows;
}

// A line of /proc/self/status in megabytes; null where the system does not tell.
Json memory(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind(name + ":", 0) == 0) return std::stod(line.substr(name.size() + 1)) * 1024 / 1e6;
  return {};
}

int run(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) return 0;
  const DeviceOptions& device = options.device;
  const std::vector<Load> loads = parse_loads(options.loads);
  const std::vector<std::string> names =
      options.images.empty() ? std::vector<std::string>{} : list_pictures(options.images);
  const auto begin = std::chrono::steady_clock::now();
  const Contract contract = read_contract(options.model);
  const MappedFile file(options.model);
  check_model_bytes(contract, file.data(), file.size());
  const Card card = device.device == "cpu" ? Card{} : find_card(device.device, device.device_id);
  require_model_for(contract, device.device, card);
  LiteModel model(contract, file, device, options.batch, workers_for(device, options.workers));
  const double start = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const Json built = memory("VmRSS");

  const std::vector<std::vector<uint8_t>> rows =
      names.empty() ? random_rows(contract, model.row_bytes()) : std::vector<std::vector<uint8_t>>{};
  const Source source = names.empty() ? Source([&](size_t i, Sample& sample) { sample.tensor = rows[i]; })
                                      : [&, read = picture_source(options.images, names, contract, model.layout())](
                                            size_t i, Sample& sample) {
                                          try {
                                            read(i, sample);
                                          } catch (const Failure& failure) {
                                            throw Failure(options.images + "/" + names[i] + ": " + failure.what());
                                          }
                                        };
  const auto classes = static_cast<size_t>(model.classes());
  const Target target{model.workers(), static_cast<size_t>(model.batch()), model.row_bytes(),
                      [&](const uint8_t* input, size_t count) {
                        std::vector<float> logits(count * classes);
                        model.predict(input, static_cast<int64_t>(count), logits.data());
                        if (!std::all_of(logits.begin(), logits.end(), [](float v) { return std::isfinite(v); }))
                          throw Failure("the model's logits are not finite");
                        for (size_t i = 0; i < count; ++i) top5(logits.data() + i * classes, model.classes());
                      }};
  const LoadSettings settings{options.decoders > 0 ? options.decoders : usable_cores(), options.warmup,
                              options.seconds};
  note_interrupt();
  Json::Array measured;
  for (const Load& load : loads)
    measured.push_back(
        load_json(load, measure(load, target, source, names.empty() ? rows.size() : names.size(), settings)));
  const Json most = memory("VmHWM");  // of the loads, before another model is built for the layers
  const Json layers = options.layers ? measure_layers(contract, file, device, model.batch(), options.seconds) : Json();
  const Json report = Json::Object{{"workers", model.workers()},
                                   {"threads", device.threads},
                                   {"batch", model.batch()},
                                   {"start_s", start},
                                   {"memory_mb", Json::Object{{"started", built}, {"most", most}}},
                                   {"loads", measured},
                                   {"layers", layers},
                                   {"versions", Json::Object{{"mindspore_lite", runtime_version()}}}};
  std::fputs(report.dump().c_str(), stdout);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  glorext::quiet_runtime(argv);
#ifdef M_MMAP_THRESHOLD
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);  // as in glorext_infer
#endif
  return glorext::run_program("glorext_bench", run, argc, argv);
}
