// glorext_infer: pictures or a stored tensor through a MindSpore Lite model, logits and timings into a folder.
#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <optional>

#include "card.h"
#include "cores.h"
#include "failure.h"
#include "flags.h"
#include "glorext/classifier.h"
#include "inputs.h"
#include "interrupt.h"
#include "journal.h"
#include "npy.h"
#include "pipeline.h"
#include "quiet.h"

namespace {

using namespace glorext;

constexpr const char* kAbout = R"(glorext_infer: classify pictures with a MindSpore Lite model, without Python

  glorext_infer --model M --images DIR --out OUT
  glorext_infer --model M --tensor FILE.npy --out OUT
  glorext_infer --model M --inspect

)";
constexpr const char* kEnd = R"(
OUT gets results.json and logits.npy (float32, one row per picture, sorted by path).
Exit status: 0 done, 1 failed or pictures broken, 2 usage, 130 stopped by Ctrl-C (a second one ends it at once). A run
that ends early leaves what was computed in OUT, the rest listed as failed. Until a run has ended, OUT.partial holds its
answers as they come, for --resume.
)";

struct Options {
  std::string model;
  std::string images;
  std::string tensor;
  std::string out;
  bool inspect = false;
  bool allow_broken = false;
  bool resume = false;
  DeviceOptions device;
  int batch = 0;     // 0: the model's own
  int workers = 0;   // 0: as many as there is room for
  int decoders = 0;  // 0: one for each core
  int warmup = -1;   // -1: one batch per worker
};

std::string format_by_suffix(const std::string& path) {
  const std::string suffix = path.substr(std::min(path.size(), path.rfind('.')));
  if (suffix == ".ms") return "ms";
  if (suffix == ".mindir") return "lite-mindir";
  throw Usage("--model " + path + ": expected a .ms or .mindir file");
}

// False: only the help was asked for.
bool parse(int argc, char** argv, Options& options) {
  Flags flags(kAbout, kEnd);
  flags.text("model", "M", options.model, "a .ms or .mindir file of MindSpore Lite, its contract M.json beside it")
      .required();
  flags.text("images", "DIR", options.images, "all JPEG and PNG files below DIR");
  flags.text("tensor", "FILE", options.tensor, "inputs [N, 3, H, W] in a .npy file, as the contract wants them");
  flags.text("out", "OUT", options.out, "new folder for the results, or one of earlier results, which is replaced");
  flags.on("inspect", options.inspect, "print inputs and outputs of the built model as JSON");
  device_flags(flags, options.device);
  flags.number(
      "batch", "N", options.batch, 1, 4096,
      "for models with a dynamic batch (default: cpu 2, Ascend the largest that the model was prepared for, and the "
      "smallest that fits for the rest; a number holds for the rest too); otherwise the model's own");
  flags.number("workers", "N", options.workers, 1, 1024,
               "models that run at once (default: cpu the cores divided by --threads, Ascend 1)");
  flags.number("decoders", "N", options.decoders, 1, 1024,
               "pictures that are decoded at once (default: the cores that this process may use)");
  flags.number("warmup", "N", options.warmup, 0, 1 << 20,
               "pictures left out of the latencies (default: one batch per worker; at most half)");
  flags.on("allow_broken", options.allow_broken, "pictures that cannot be read are listed, but do not fail the run");
  flags.on("resume", options.resume, "go on with a run that was ended, from OUT.partial; without one, begin");
  if (!flags.parse(argc, argv)) return false;
  check_device_flags(options.device);
  if (options.inspect) return true;
  if (options.out.empty()) throw Usage("--out is required; see --help");
  require_results_target(options.out);
  if (options.images.empty() == options.tensor.empty()) throw Usage("give either --images or --tensor; see --help");
  if (options.resume && !options.tensor.empty()) throw Usage("--resume is for --images: a tensor's run is begun anew");
  return true;
}

// The rows of a tensor file, in the layout the model wants.
Source tensor_source(const NpyArray& array, const Contract& contract, const LiteModel& model) {
  const Inputs inputs(contract, model.layout());
  return [inputs, &array](size_t index, Sample& sample) {
    sample.tensor = inputs.from_tensor(array.bytes.data() + index * inputs.bytes());
  };
}

NpyArray read_tensor(const std::string& path, const Contract& contract) {
  NpyArray array = read_npy(path);
  const int64_t side = contract.spec.size;
  const std::string dtype = contract.uint8_input ? "|u1" : "<f4";
  const bool fits = array.shape.size() == 4 && array.shape[0] > 0 && array.shape[1] == 3 && array.shape[2] == side &&
                    array.shape[3] == side;
  if (!fits || array.dtype != dtype)
    throw Failure(path + ": expected " + dtype + " [N, 3, " + std::to_string(side) + ", " + std::to_string(side) + "]");
  return array;
}

std::vector<std::string> row_names(int64_t rows) {
  std::vector<std::string> names;
  char name[24];
  for (int64_t i = 0; i < rows; ++i) {
    std::snprintf(name, sizeof name, "%08lld", static_cast<long long>(i));
    names.emplace_back(name);
  }
  return names;
}

int inspect(const std::string& model_path, const DeviceOptions& options) {
  const MappedFile file(model_path);
  const ModelFile model{file, model_path, format_by_suffix(model_path)};
  std::fputs(describe_model(*build_model(model, options)).dump().c_str(), stdout);
  return 0;
}

int report(const RunResult& result, const std::string& device, const std::string& out, bool allow_broken) {
  // A picture's name may hold anything, a terminal's control sequences too.
  for (const Failed& one : result.failed)
    std::fprintf(stderr, "broken: %s: %s\n", printable(one.path).c_str(), printable(one.error).c_str());
  std::fprintf(stderr, "%zu scored, %zu broken, %.1f s, %.1f per second on %s\n", result.scored.size(),
               result.failed.size(), result.seconds,
               result.seconds > 0 ? static_cast<double>(result.scored.size()) / result.seconds : 0.0, device.c_str());
  const std::string all = std::to_string(result.scored.size() + result.failed.size());
  if (result.scored.empty()) throw Failure("none of the " + all + " inputs could be scored; " + out + " lists why");
  if (!result.failed.empty() && !allow_broken)
    throw Failure(std::to_string(result.failed.size()) + " of the " + all + " inputs are broken; " + out +
                  " lists them; with --allow_broken they do not fail the run");
  return 0;
}

// What is kept of a run that ended early, and how it goes on.
std::string kept(const RunResult& result, const std::string& out, const Journal* journal) {
  const std::string all = std::to_string(result.scored.size() + result.failed.size());
  if (result.scored.empty()) return "; none of the " + all + " inputs was scored, " + out + " is not written";
  return "; " + std::to_string(result.scored.size()) + " of the " + all + " inputs are scored in " + out +
         ", the others listed as failed" + (journal != nullptr ? "; --resume goes on" : "");
}

// Throws what ended the run early, with what was kept of it.
void require_end(const RunResult& result, const std::string& kept) {
  if (result.not_run == 0 && !result.broken) return;
  if (!result.broken) throw Interrupted("stopped by Ctrl-C" + kept);
  try {
    std::rethrow_exception(result.broken);
  } catch (const Usage&) {
    throw;
  } catch (const std::exception& error) {
    throw Failure(error.what() + kept);
  }
}

// Writes the results, whole or of a run that ended early.
void finish(const std::string& out, const RunSettings& settings, const RunResult& result, Journal* journal) {
  const bool whole = result.not_run == 0 && !result.broken;
  std::string words = kept(result, out, journal);
  try {
    if (whole || !result.scored.empty()) write_results(out, settings, result);
  } catch (const Failure& failure) {
    if (journal == nullptr) throw;
    words = "; what was answered is in " + journal->path() + ": make room there, --resume goes on";
    if (!result.broken) throw Failure(failure.what() + words);
  }
  require_end(result, words);
  if (journal != nullptr) journal->remove();
}

// What answers depend on, by the words in which it is told that one of them is another.
Json::Object describe_run(const Contract& contract, const Options& options, const Card& card,
                          const std::vector<std::string>& names) {
  const Json::Object& model = contract.model.object("model");
  const std::string values =
      std::string(contract.pixels ? "pixels" : "normalized") + (contract.uint8_input ? ", uint8" : "");
  return {{"model", Json::Object{{"sha256", contract.sha256},
                                 {"weights_sha256", model.at("weights_sha256")},
                                 {"labels_sha256", model.at("labels_sha256")},
                                 {"output", contract.output_name}}},
          {"preprocessing", Json::Object{{"input_spec", model.at("input_spec")}, {"values", values}}},
          {"list of pictures", list_digest(names)},
          {"device", Json::Object{{"name", options.device.device}, {"chip", card.chip}, {"stand_in", card.stand_in}}},
          {"precision", options.device.precision},
          {"batch", options.batch},
          {"MindSpore Lite", runtime_version()}};
}

// Throws Failure when the disk has no room for the answers as they come and for the results.
void require_room(const Options& options, const std::vector<std::string>& names, const Contract& contract,
                  size_t answered) {
  constexpr uint64_t kLine = 400;  // of a picture, without its path
  const uint64_t row = static_cast<uint64_t>(contract.classes) * sizeof(float) + kLine;
  uint64_t bytes = (names.size() + names.size() - answered) * row;
  for (const std::string& name : names) bytes += 2 * name.size();
  require_space(options.out, bytes, "the results");
}

int run(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) return 0;
  const DeviceOptions& device = options.device;
  const auto asked = [&] { return device.device == "cpu" ? Card{} : find_card(device.device, device.device_id); };
  if (options.inspect) {
    asked();
    return inspect(options.model, device);
  }
  const Contract contract = read_contract(options.model);
  const MappedFile file(options.model);
  check_model_bytes(contract, file.data(), file.size());
  const bool stored = !options.tensor.empty();
  const NpyArray tensor = stored ? read_tensor(options.tensor, contract) : NpyArray{};
  const std::vector<std::string> names = stored ? row_names(tensor.rows()) : list_pictures(options.images);
  const Card card = asked();
  require_model_for(contract, device.device, card);
  std::optional<Journal> kept_answers;
  if (!stored) {
    kept_answers.emplace(options.out, describe_run(contract, options, card, names), options.images, names,
                         contract.classes, options.resume);
    require_room(options, names, contract, kept_answers->answered().size());
  }
  Journal* const journal = kept_answers ? &*kept_answers : nullptr;

  const int workers =
      std::min(workers_for(device, options.workers), static_cast<int>(std::min<size_t>(names.size(), 1024)));
  LiteModel model(contract, file, device, options.batch, workers);

  const int warmup = options.warmup >= 0 ? options.warmup : workers * static_cast<int>(model.batch());
  const RunSettings settings{contract.file,
                             contract.sha256,
                             contract.weights_dtype,
                             contract.model,
                             contract.output_name,
                             device.device + (card.stand_in.empty() ? "" : " (" + card.stand_in + ")"),
                             card.json(),
                             model.batch(),
                             workers,
                             device.threads,
                             warmup,
                             {{"mindspore_lite", runtime_version()}}};
  const Source source =
      stored ? tensor_source(tensor, contract, model) : picture_source(options.images, names, contract, model.layout());
  note_interrupt();
  const RunResult result =
      run_pipeline(names, source, model, options.decoders > 0 ? options.decoders : usable_cores(), journal);
  finish(options.out, settings, result, journal);
  return report(result, settings.device, options.out + "/results.json", options.allow_broken);
}

}  // namespace

int main(int argc, char** argv) {
  glorext::quiet_runtime(argv);
#ifdef M_MMAP_THRESHOLD
  // Every worker arranges the weights anew and frees the copy it had. By itself glibc would keep that memory for later.
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
  return glorext::run_program("glorext_infer", run, argc, argv);
}
