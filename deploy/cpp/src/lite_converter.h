// MindSpore Lite's converter library behind one function.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace glorext {

struct ConverterOptions {
  bool onnx = true;     // else MINDIR
  bool save_ms = true;  // else .mindir
  std::string model;
  std::string out;  // without suffix; the library appends .ms or .mindir
  std::string config;
  std::map<std::vector<char>, std::vector<int64_t>> input_shapes;
  std::string input_format;  // "NCHW", "NHWC" or empty for the library's default
  std::string optimize = "general";
  std::string device;  // "Ascend" or empty
  bool fp16_weights = false;
};

// The file that a conversion writes.
std::string result_path(const ConverterOptions& options);

// Throws Failure with the library's reason, or when it reports success without a file.
void convert(const ConverterOptions& options);

}  // namespace glorext
