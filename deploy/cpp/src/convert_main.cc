// glorext_convert: MindSpore Lite's converter as a program, for installations that hold only its library.
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "failure.h"
#include "flags.h"
#include "lite_converter.h"
#include "quiet.h"

namespace {

using namespace glorext;

constexpr const char* kHelp = R"(glorext_convert: convert a model with MindSpore Lite's converter library

  glorext_convert --fmk onnx|mindir --model IN --out PREFIX --save ms|mindir

The result is PREFIX.ms or PREFIX.mindir. The converter's own verdict is only a first filter: run the result on known
inputs before you use it.

  --config FILE         the converter's configuration file
  --input_shape SHAPE   "name:-1,3,224,224", several separated by ";"
  --input_format F      NCHW or NHWC (default: the converter's, which is NHWC for .ms)
  --optimize O          none, general (default) or ascend_oriented
  --device Ascend       convert for Ascend; needs CANN
  --fp16                store the weights in half precision

Exit status: 0 done, 1 failed, 2 usage.
)";

std::vector<char> chars(const std::string& text) { return {text.begin(), text.end()}; }

std::map<std::vector<char>, std::vector<int64_t>> parse_shapes(const std::string& text) {
  std::map<std::vector<char>, std::vector<int64_t>> shapes;
  std::stringstream inputs(text);
  for (std::string input; std::getline(inputs, input, ';');) {
    const size_t colon = input.rfind(':');
    if (colon == std::string::npos || colon == 0) throw Usage("--input_shape: expected name:n,c,h,w; found " + input);
    std::stringstream numbers(input.substr(colon + 1));
    std::vector<int64_t>& shape = shapes[chars(input.substr(0, colon))];
    for (std::string number; std::getline(numbers, number, ',');) {
      char* end = nullptr;
      shape.push_back(std::strtoll(number.c_str(), &end, 10));
      if (number.empty() || *end != '\0' || shape.back() < -1 || shape.back() == 0)
        throw Usage("--input_shape: expected positive numbers or -1; found \"" + number + "\"");
    }
    if (shape.empty()) throw Usage("--input_shape: expected name:n,c,h,w; found " + input);
  }
  return shapes;
}

// The library ends with SIGSEGV on some files that are no models, so it runs in a child process: a crash there becomes
// a message here.
int convert_in_child(const ConverterOptions& options) {
  const pid_t child = ::fork();
  if (child < 0) throw Failure(std::string("cannot start a process: ") + std::strerror(errno));
  if (child == 0) {
    convert(options);
    return 0;
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) throw Failure(std::string("cannot wait for the converter: ") + std::strerror(errno));
  if (WIFSIGNALED(status)) {
    ::unlink(result_path(options).c_str());
    throw Failure("MindSpore Lite's converter cannot convert " + options.model + ": it crashed (" +
                  ::strsignal(WTERMSIG(status)) + "); is that file a whole model of the kind --fmk says?");
  }
  return WEXITSTATUS(status);
}

void require_readable(const std::string& path) {
  if (::access(path.c_str(), R_OK) != 0) throw Failure("cannot read " + path);
}

void require_new(const std::string& path) {
  if (::access(path.c_str(), F_OK) == 0) throw Failure(path + " exists; choose another name or remove it first");
}

int run(int argc, char** argv) {
  const Flags flags(argc, argv,
                    {"fmk", "model", "out", "save", "config", "input_shape", "input_format", "optimize", "device"},
                    {"fp16", "help"});
  if (flags.has("help")) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  if (!flags.rest().empty()) throw Usage("unexpected argument \"" + flags.rest()[0] + "\"; see --help");
  flags.required("fmk");
  flags.required("save");
  ConverterOptions options;
  options.onnx = flags.choice("fmk", {"onnx", "mindir"}, "") == "onnx";
  options.save_ms = flags.choice("save", {"ms", "mindir"}, "") == "ms";
  options.model = flags.required("model");
  options.out = flags.required("out");
  options.config = flags.text("config", "");
  options.input_shapes = parse_shapes(flags.text("input_shape", ""));
  if (flags.has("input_format")) options.input_format = flags.choice("input_format", {"NCHW", "NHWC"}, "");
  options.optimize = flags.choice("optimize", {"none", "general", "ascend_oriented"}, "general");
  if (flags.has("device")) options.device = flags.choice("device", {"Ascend"}, "");
  options.fp16_weights = flags.has("fp16");
  require_readable(options.model);
  if (!options.config.empty()) require_readable(options.config);
  require_new(result_path(options));
  return convert_in_child(options);
}

}  // namespace

int main(int argc, char** argv) {
  glorext::quiet_runtime(argv);
  return glorext::run_program("glorext_convert", run, argc, argv);
}
