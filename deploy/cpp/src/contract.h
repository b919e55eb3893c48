// The contract beside a model file (M.json): what the model is, its input, output and labels.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "json.h"

namespace glorext {

// The families of Ascend chips, as --device and contracts call them.
inline const std::vector<std::string> kFamilies = {"ascend310", "ascend310p", "ascend310b", "ascend910"};

enum class ResizeRule { squash, short_side };

// How a picture becomes a tensor. Mean and standard deviation are in units of 0 to 1, in the order R, G, B.
struct InputSpec {
  int size = 0;
  int resize = 0;
  ResizeRule rule = ResizeRule::squash;
  double mean[3] = {0, 0, 0};
  double std[3] = {1, 1, 1};
};

struct Contract {
  std::string model_path;
  std::string file;
  std::string format;  // "mindir", "onnx", "air", "ms" or "lite-mindir"
  uint64_t size = 0;
  std::string sha256;
  std::string weights_dtype;  // what kernels and matrices are stored in: "float32" or "float16"
  Json model;                 // what the model is; goes into the results as it stands
  bool pixels = false;        // the model normalizes by itself and takes the cropped picture, 0 to 255
  bool uint8_input = false;   // ... as bytes instead of floats
  int64_t batch = 1;          // -1: any
  int64_t classes = 0;
  std::string output_name;  // "logits" or "probabilities"
  InputSpec spec;
  std::vector<std::string> labels;
  std::string family;            // where alone the model runs, "cpu" or one of kFamilies; empty: not said
  std::string chip;              // the exact chip, such as "Ascend310P3"; empty: not said
  std::vector<int64_t> batches;  // the sizes, rising, that an open batch was prepared for; empty: any
};

InputSpec read_input_spec(const std::string& path);

// The contract in a file, whatever it stands beside. Throws Failure naming the key that is missing, unknown, wrong, or
// contradicts another. The reader in Python, deploy/contract/artifact.py, takes and refuses the same files.
Contract read_contract_file(const std::string& path);

// The contract beside a model, `model_path`.json, which must be of that file. Throws Usage for a format that this
// program does not run.
Contract read_contract(const std::string& model_path);

// Throws Failure unless the bytes are the ones the contract was written for.
void check_model_bytes(const Contract& contract, const void* data, size_t size);

}  // namespace glorext
