// Reading and checking the contract.
#include "contract.h"

#include <cmath>

#include "failure.h"
#include "files.h"
#include "sha256.h"

namespace glorext {
namespace {

constexpr size_t kContractLimit = size_t{64} << 20;
constexpr int64_t kLargestSide = 16384;

void require_text(const Json& json, const std::string& key, const std::string& wanted, const std::string& where) {
  const std::string& found = json.at(key, where).string(where + ": " + key);
  if (found != wanted) throw Failure(where + ": " + key + ": expected \"" + wanted + "\", found \"" + found + "\"");
}

int side(const Json& json, const std::string& key, const std::string& where) {
  const int64_t value = json.at(key, where).integer(where + ": " + key);
  if (value < 1 || value > kLargestSide)
    throw Failure(where + ": " + key + ": expected 1 to " + std::to_string(kLargestSide) + ", found " +
                  std::to_string(value));
  return static_cast<int>(value);
}

void read_three(const Json& json, const std::string& key, double* out, bool positive, const std::string& where) {
  const Json::Array& values = json.at(key, where).array(where + ": " + key);
  if (values.size() != 3) throw Failure(where + ": " + key + ": expected three numbers");
  for (size_t i = 0; i < 3; ++i) {
    out[i] = values[i].number(where + ": " + key);
    if (positive && out[i] <= 0) throw Failure(where + ": " + key + ": expected positive numbers");
  }
}

std::vector<int64_t> read_shape(const Json& tensor, const std::string& where) {
  std::vector<int64_t> shape;
  const std::string place = where + ": shape";
  for (const Json& n : tensor.at("shape", where).array(place)) shape.push_back(n.integer(place));
  return shape;
}

void read_input(const Json& input, Contract& contract, const std::string& where) {
  contract.input_name = input.at("name", where).string(where + ": name");
  const std::string& dtype = input.at("dtype", where).string(where + ": dtype");
  if (dtype != "float32" && dtype != "uint8")
    throw Failure(where + ": dtype: expected \"float32\" or \"uint8\", found \"" + dtype + "\"");
  contract.uint8_input = dtype == "uint8";
  const std::string& values = input.at("values", where).string(where + ": values");
  if (values != "pixels" && (values != "normalized" || contract.uint8_input))
    throw Failure(where + ": values: expected \"pixels\"" +
                  (contract.uint8_input ? " of uint8" : " or \"normalized\"") + ", found \"" + values + "\"");
  contract.pixels = values == "pixels";
  const std::vector<int64_t> shape = read_shape(input, where);
  const int64_t side = contract.spec.size;
  const bool nchw = shape.size() == 4 && shape[1] == 3 && shape[2] == side && shape[3] == side;
  const bool nhwc = shape.size() == 4 && shape[3] == 3 && shape[1] == side && shape[2] == side;
  if (!nchw && !nhwc)
    throw Failure(where + ": shape: expected four dimensions with 3 channels and the sides of input_spec.size");
  contract.batch = shape[0];
  if (contract.batch != -1 && contract.batch < 1) throw Failure(where + ": shape: impossible batch");
}

void read_labels(const Json& json, Contract& contract, const std::string& where) {
  std::string joined;
  for (const Json& label : json.at("labels", where).array(where + ": labels")) {
    contract.labels.push_back(label.string(where + ": labels"));
    joined += contract.labels.back() + "\n";
  }
  // A model without known class names is a model all the same.
  if (!contract.labels.empty() && static_cast<int64_t>(contract.labels.size()) != contract.classes)
    throw Failure(where + ": labels: expected " + std::to_string(contract.classes) + " as in output.shape, found " +
                  std::to_string(contract.labels.size()));
  require_text(contract.model, "labels_sha256", sha256_hex(joined.data(), joined.size()), where + ": model");
}

}  // namespace

InputSpec parse_input_spec(const Json& json, const std::string& where) {
  InputSpec spec;
  spec.size = side(json, "size", where);
  spec.resize = side(json, "resize", where);
  if (spec.resize < spec.size) throw Failure(where + ": resize: expected at least size");
  const std::string& rule = json.at("resize_rule", where).string(where + ": resize_rule");
  if (rule != "squash" && rule != "short_side")
    throw Failure(where + ": resize_rule: expected \"squash\" or \"short_side\", found \"" + rule + "\"");
  spec.rule = rule == "squash" ? ResizeRule::squash : ResizeRule::short_side;
  require_text(json, "crop", "center", where);
  require_text(json, "interpolation", "bilinear", where);
  require_text(json, "channel_order", "RGB", where);
  read_three(json, "mean", spec.mean, false, where);
  read_three(json, "std", spec.std, true, where);
  return spec;
}

InputSpec read_input_spec(const std::string& path) {
  const Json json = parse_json(read_file(path, kContractLimit), path);
  return parse_input_spec(json, path);
}

Contract read_contract(const std::string& model_path) {
  const std::string path = model_path + ".json";
  const Json json = parse_json(read_file(path, kContractLimit), path);
  require_text(json, "schema", "glorext.artifact/1", path);

  Contract contract;
  contract.model_path = model_path;
  contract.file = json.at("file", path).string(path + ": file");
  const std::string found = model_path.substr(model_path.rfind('/') + 1);
  if (contract.file != found)
    throw Failure(path + ": file: the contract is for \"" + contract.file + "\", the model is \"" + found + "\"");
  contract.format = json.at("format", path).string(path + ": format");
  if (contract.format != "ms" && contract.format != "lite-mindir")
    throw Failure(path + ": format: expected \"ms\" or \"lite-mindir\", found \"" + contract.format +
                  "\"; convert the model with `glorext convert` first");
  contract.size = static_cast<uint64_t>(json.at("size", path).integer(path + ": size"));
  contract.sha256 = json.at("sha256", path).string(path + ": sha256");
  contract.weights_dtype = json.at("weights_dtype", path).string(path + ": weights_dtype");
  contract.model = json.at("model", path);
  const std::string model = path + ": model";
  contract.name = contract.model.at("name", model).string(model + ".name");
  contract.spec = parse_input_spec(contract.model.at("input_spec", model), model + ".input_spec");
  read_input(json.at("input", path), contract, path + ": input");

  const std::string output = path + ": output";
  const std::vector<int64_t> shape = read_shape(json.at("output", path), output);
  if (shape.size() != 2 || shape[1] < 1) throw Failure(output + ": shape: expected [batch, classes]");
  contract.classes = shape[1];
  contract.output_name = json.at("output", path).at("name", output).string(output + ": name");
  if (contract.output_name != "logits" && contract.output_name != "probabilities")
    throw Failure(output + ": name: expected \"logits\" or \"probabilities\", found \"" + contract.output_name + "\"");
  read_labels(json, contract, path);
  return contract;
}

void check_model_bytes(const Contract& contract, const void* data, size_t size) {
  const std::string advice = "; the file was changed or cut off, fetch or convert it again";
  if (size != contract.size)
    throw Failure(contract.model_path + ": expected " + std::to_string(contract.size) + " bytes, found " +
                  std::to_string(size) + advice);
  const std::string found = sha256_hex(data, size);
  if (found != contract.sha256)
    throw Failure(contract.model_path + ": expected sha256 " + contract.sha256 + ", found " + found + advice);
}

}  // namespace glorext
