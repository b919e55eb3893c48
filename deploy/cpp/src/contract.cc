// Reading and checking the contract.
#include "contract.h"

#include <algorithm>
#include <set>

#include "failure.h"
#include "fields.h"
#include "files.h"
#include "sha256.h"

namespace glorext {
namespace {

constexpr size_t kLargestContract = size_t{16} << 20;  // bytes
constexpr int64_t kLargestSpecSide = 1 << 14;
constexpr int64_t kLargestSide = 1 << 16;
constexpr size_t kMostPrepared = 100;
constexpr int64_t kLargestPrepared = 2048;

std::string listed(const std::vector<int64_t>& values) {
  std::string out;
  for (const int64_t value : values) out += (out.empty() ? "" : ", ") + std::to_string(value);
  return "[" + out + "]";
}

void read_three(Fields& fields, const std::string& key, double* out) {
  const std::vector<double> values = fields.numbers(key);
  if (values.size() != 3) throw fields.wrong(key, "three numbers", std::to_string(values.size()));
  std::copy(values.begin(), values.end(), out);
}

InputSpec parse_input_spec(Fields fields) {
  InputSpec spec;
  spec.size = static_cast<int>(fields.count("size", 1, kLargestSpecSide));
  spec.resize = static_cast<int>(fields.count("resize", 1, kLargestSpecSide));
  if (spec.resize < spec.size)
    throw fields.wrong("resize", "at least size, which is " + std::to_string(spec.size), std::to_string(spec.resize));
  spec.rule =
      fields.one_of("resize_rule", {"squash", "short_side"}) == "squash" ? ResizeRule::squash : ResizeRule::short_side;
  fields.one_of("crop", {"center"});
  fields.one_of("interpolation", {"bilinear"});
  fields.one_of("channel_order", {"RGB"});
  fields.one_of("layout", {"NCHW"});
  read_three(fields, "mean", spec.mean);
  read_three(fields, "std", spec.std);
  if (*std::min_element(spec.std, spec.std + 3) <= 0) throw fields.wrong("std", "three numbers above zero", "others");
  fields.done();
  return spec;
}

bool is_argument_name(const std::string& text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto inner = [&](char c) { return letter(c) || c == '_' || (c >= '0' && c <= '9'); };
  return !text.empty() && letter(text[0]) && std::all_of(text.begin(), text.end(), inner);
}

// An argument of a network is a whole number, text, true, false, null, or a list of lists of them.
void check_argument(const Json& value, const std::string& where, int depth) {
  switch (value.type()) {
    case Json::Type::array: {
      if (depth == 2) break;
      size_t index = 0;
      for (const Json& item : value.array(where))
        check_argument(item, where + "[" + std::to_string(index++) + "]", depth + 1);
      return;
    }
    case Json::Type::number: value.integer(where); return;
    case Json::Type::string: value.string(where); return;
    case Json::Type::boolean:
    case Json::Type::null: return;
    case Json::Type::object: break;
  }
  throw Failure(where + ": expected plain numbers, strings or lists of them");
}

void check_arguments(Fields fields, Fields& model) {
  for (const std::string& name : fields.rest()) {
    if (!is_argument_name(name) || name == "num_classes")
      throw model.wrong("network_args", "names of constructor arguments (num_classes has its own key)",
                        in_quotes(name));
    check_argument(fields.take(name), fields.place(name), 0);
  }
}

struct Model {
  int64_t classes = 0;  // 0: null
  std::string labels_sha256;
};

Model read_model(Fields fields, Contract& contract) {
  const auto text_or_null = [&](const std::string& key) {
    if (!fields.null(key)) fields.text(key);
  };
  Model model;
  if (!is_file_name(fields.text("name")))
    throw fields.wrong("name", "a name that can be a file's", in_quotes(fields.text("name")));
  text_or_null("version");
  fields.text("network");
  check_arguments(fields.inner("network_args"), fields);
  if (!fields.null("num_classes")) model.classes = fields.integer("num_classes");
  contract.spec = parse_input_spec(fields.inner("input_spec"));
  model.labels_sha256 = fields.digest("labels_sha256");
  fields.digest("weights_sha256");
  text_or_null("license");
  fields.done();
  return model;
}

void check_source(Fields fields) {
  fields.file_name("file");
  fields.digest("sha256");
  fields.done();
}

void check_deviation(Fields fields) {
  for (const char* key : {"max_difference", "cosine"}) fields.number(key);
  fields.done();
}

std::vector<int64_t> read_shape(Fields& fields, size_t axes) {
  const std::vector<int64_t> shape = fields.integers("shape");
  const auto fits = [](int64_t size) { return size >= 1 && size <= kLargestSide; };
  if (shape.size() != axes || !(shape[0] == -1 || fits(shape[0])) || !std::all_of(shape.begin() + 1, shape.end(), fits))
    throw fields.wrong(
        "shape",
        std::to_string(axes) + " sizes from 1 to " + std::to_string(kLargestSide) + ", the first -1 where it may vary",
        listed(shape));
  return shape;
}

void read_input(Fields fields, Contract& contract) {
  fields.text("name");
  contract.uint8_input = fields.one_of("dtype", {"float32", "uint8"}) == "uint8";
  const std::vector<int64_t> shape = read_shape(fields, 4);
  const bool nchw = fields.one_of("layout", {"NCHW", "NHWC"}) == "NCHW";
  contract.pixels = fields.one_of("values", {"normalized", "pixels"}) == "pixels";
  fields.done();
  if (contract.uint8_input && !contract.pixels)
    throw fields.wrong("values", "\"pixels\", as uint8 holds no others", "\"normalized\"");
  contract.batch = shape[0];
  const int64_t side = contract.spec.size;
  const std::vector<int64_t> picture =
      nchw ? std::vector<int64_t>{shape[0], 3, side, side} : std::vector<int64_t>{shape[0], side, side, 3};
  if (shape != picture)
    throw fields.wrong("shape", listed(picture) + ", as model.input_spec and layout say", listed(shape));
}

void read_output(Fields fields, Contract& contract) {
  contract.output_name = fields.one_of("name", {"logits", "probabilities"});
  fields.one_of("dtype", {"float32"});
  const std::vector<int64_t> shape = read_shape(fields, 2);
  fields.done();
  if (shape[0] != contract.batch)
    throw fields.wrong("shape", "the batch of the input, " + std::to_string(contract.batch), std::to_string(shape[0]));
  contract.classes = shape[1];
}

bool is_chip(const std::string& name) {
  const auto fits = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '-';
  };
  return name.compare(0, 6, "Ascend") == 0 && name.size() > 6 && name.size() <= 46 &&
         std::all_of(name.begin(), name.end(), fits);
}

bool is_prepared(const std::vector<int64_t>& sizes) {
  int64_t last = 0;
  for (const int64_t size : sizes) {
    if (size <= last || size > kLargestPrepared) return false;
    last = size;
  }
  return sizes.size() <= kMostPrepared;
}

void read_device(Fields fields, Contract& contract) {
  std::vector<std::string> families = kFamilies;
  families.push_back("cpu");
  contract.family = fields.one_of("family", families);
  if (!fields.null("chip")) {
    contract.chip = fields.text("chip");
    if (contract.family == "cpu" || !is_chip(contract.chip))
      throw fields.wrong("chip", "null, or a card's exact name such as Ascend310P3", in_quotes(contract.chip));
  }
  contract.batches = fields.integers("batches");
  fields.done();
  if (!is_prepared(contract.batches))
    throw fields.wrong("batches", "rising sizes from 1 to " + std::to_string(kLargestPrepared),
                       listed(contract.batches));
}

void check_labels(const Contract& contract, const Model& model, const Fields& top) {
  const std::vector<std::string>& labels = contract.labels;
  // A model without known class names is a model all the same.
  if (!labels.empty() && static_cast<int64_t>(labels.size()) != contract.classes)
    throw top.wrong("labels", std::to_string(contract.classes) + " labels, as output.shape says",
                    std::to_string(labels.size()));
  const auto broken = [](const std::string& label) {
    return label.empty() || label.find_first_of("\n\r") != std::string::npos;
  };
  if (std::any_of(labels.begin(), labels.end(), broken) ||
      std::set<std::string>(labels.begin(), labels.end()).size() < labels.size())
    throw top.wrong("labels", "different class names, each a line of text", "others");
  std::string joined;
  for (const std::string& label : labels) joined += label + "\n";
  if (sha256_hex(joined.data(), joined.size()) != model.labels_sha256)
    throw top.wrong("labels", "the labels whose digest is model.labels_sha256", "others");
}

}  // namespace

InputSpec read_input_spec(const std::string& path) {
  const Json json = parse_json(read_file(path, kLargestContract), path);
  return parse_input_spec(Fields(json, path));
}

Contract read_contract_file(const std::string& path) {
  const Json json = parse_json(read_file(path, kLargestContract), path);
  Fields top(json, path);
  top.one_of("schema", {"glorext.artifact/1"});
  Contract contract;
  contract.file = top.file_name("file");
  contract.format = top.one_of("format", {"mindir", "onnx", "air", "ms", "lite-mindir"});
  contract.size = static_cast<uint64_t>(top.count("size", 1));
  contract.sha256 = top.digest("sha256");
  contract.weights_dtype = top.one_of("weights_dtype", {"float32", "float16"});
  contract.model = top.take("model");
  const Model model = read_model(top.inner("model"), contract);
  if (!top.null("source")) check_source(top.inner("source"));
  read_input(top.inner("input"), contract);
  read_output(top.inner("output"), contract);
  contract.labels = top.texts("labels");
  Fields versions = top.inner("versions");
  for (const std::string& key : versions.rest()) {
    Json(key).string(top.place("versions"));
    versions.text(key);
  }
  if (!top.null("deviation")) check_deviation(top.inner("deviation"));
  if (!top.null("device")) read_device(top.inner("device"), contract);
  top.done();
  const bool open_on_card = !contract.family.empty() && contract.family != "cpu" && contract.batch == -1;
  if (open_on_card == contract.batches.empty())
    throw top.wrong("device.batches", "sizes for a card and an open batch, and for nothing else",
                    listed(contract.batches));
  if (model.classes != contract.classes)
    throw top.wrong("model.num_classes", std::to_string(contract.classes) + ", as output.shape says",
                    model.classes == 0 ? "none" : std::to_string(model.classes));
  check_labels(contract, model, top);
  return contract;
}

Contract read_contract(const std::string& model_path) {
  const std::string path = model_path + ".json";
  Contract contract = read_contract_file(path);
  contract.model_path = model_path;
  const std::string file = model_path.substr(model_path.rfind('/') + 1);
  if (contract.file != file)
    throw Failure(path + ": file: the contract is for " + in_quotes(contract.file) + ", the model is " +
                  in_quotes(file));
  if (contract.format != "ms" && contract.format != "lite-mindir")
    throw Usage(model_path + ": this program runs the formats ms and lite-mindir, not " + contract.format +
                "; convert the model with `glorext convert` first");
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
