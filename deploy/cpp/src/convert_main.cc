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

constexpr const char* kAbout = R"(glorext_convert: convert a model with MindSpore Lite's converter library

  glorext_convert --fmk onnx --model IN --out PREFIX --save ms

)";
constexpr const char* kEnd = R"(
That the converter reports success is only a first filter: run the result on known inputs before you use it.
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
  ConverterOptions options;
  std::string fmk, save, shapes;
  Flags flags(kAbout, kEnd);
  flags.choice("fmk", "F", fmk, {"onnx", "mindir"}, "what IN is").required();
  flags.text("model", "IN", options.model, "the model to convert").required();
  flags.text("out", "PREFIX", options.out, "the result is PREFIX.ms or PREFIX.mindir").required();
  flags.choice("save", "S", save, {"ms", "mindir"}, "what to write").required();
  flags.text("config", "FILE", options.config, "the converter's configuration file");
  flags.text("input_shape", "SHAPE", shapes, "name:-1,3,224,224, several separated by \";\"");
  flags.choice("input_format", "F", options.input_format, {"NCHW", "NHWC"},
               "left out, the converter's own, which is NHWC for .ms");
  flags.choice("optimize", "O", options.optimize, {"none", "general", "ascend_oriented"});
  flags.choice("device", "D", options.device, {"Ascend"}, "convert for this device; needs CANN");
  flags.on("fp16", options.fp16_weights, "store the weights in half precision");
  if (!flags.parse(argc, argv)) return 0;
  options.onnx = fmk == "onnx";
  options.save_ms = save == "ms";
  options.input_shapes = parse_shapes(shapes);
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
