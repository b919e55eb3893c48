// The contract: what is read, and every value that is refused by its name.
#include <doctest/doctest.h>

#include "contract.h"
#include "files.h"
#include "sha256.h"
#include "support.h"

using namespace glorext;

namespace {

const std::string kModel = "the bytes of a model";

Json::Object good_contract() {
  const Json spec = parse_json(R"({"size": 32, "resize": 40, "resize_rule": "short_side", "crop": "center",
    "interpolation": "bilinear", "channel_order": "RGB", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4],
    "layout": "NCHW"})",
                               "spec");
  const std::string labels = "cat\ndog\n";
  const Json input = parse_json(R"({"name": "image", "dtype": "float32", "shape": [-1, 3, 32, 32], "layout": "NCHW",
                     "values": "normalized"})",
                                "input");
  const Json output = parse_json(R"({"name": "logits", "dtype": "float32", "shape": [-1, 2]})", "output");
  return {{"schema", "glorext.artifact/1"},
          {"file", "m.ms"},
          {"format", "ms"},
          {"size", static_cast<int64_t>(kModel.size())},
          {"sha256", sha256_hex(kModel.data(), kModel.size())},
          {"source", Json()},
          {"model", Json::Object{{"name", "net"},
                                 {"version", Json()},
                                 {"network", "resnext50"},
                                 {"network_args", Json::Object{}},
                                 {"num_classes", 2},
                                 {"input_spec", spec},
                                 {"labels_sha256", sha256_hex(labels.data(), labels.size())},
                                 {"weights_sha256", std::string(64, 'a')},
                                 {"license", Json()}}},
          {"input", input},
          {"output", output},
          {"labels", Json::Array{"cat", "dog"}},
          {"versions", Json::Object{}},
          {"weights_dtype", "float32"},
          {"deviation", Json()},
          {"device", Json()}};
}

Contract read(const Json::Object& json) {
  const TemporaryFolder folder;
  const std::string text = Json(json).dump();
  write_file(folder.file("m.ms.json"), text.data(), text.size());
  return read_contract(folder.file("m.ms"));
}

std::string error_with(const std::string& key, const Json& value) {
  Json::Object json = good_contract();
  json[key] = value;
  return message_of([&] { read(json); });
}

// `outer` may be "model.input_spec".
std::string error_with_inner(const std::string& outer, const std::string& key, const Json& value) {
  const size_t dot = outer.find('.');
  Json::Object first = good_contract()[outer.substr(0, dot)].object("first");
  if (dot == std::string::npos) {
    first[key] = value;
  } else {
    Json::Object second = first[outer.substr(dot + 1)].object("second");
    second[key] = value;
    first[outer.substr(dot + 1)] = second;
  }
  return error_with(outer.substr(0, dot), first);
}

}  // namespace

TEST_CASE("a contract is read") {
  const Contract contract = read(good_contract());
  CHECK(contract.format == "ms");
  CHECK(contract.model.at("weights_sha256", "m").string("w") == std::string(64, 'a'));
  CHECK(contract.batch == -1);
  CHECK(contract.classes == 2);
  CHECK(contract.labels == std::vector<std::string>{"cat", "dog"});
  CHECK(contract.spec.size == 32);
  CHECK(contract.spec.resize == 40);
  CHECK(contract.spec.rule == ResizeRule::short_side);
  CHECK(contract.spec.mean[2] == 0.3);
  CHECK(contract.spec.std[0] == 0.2);
  CHECK(!contract.uint8_input);
  CHECK(!contract.pixels);
  CHECK(contract.output_name == "logits");
}

TEST_CASE("a missing key is named") {
  for (const auto& [key, value] : good_contract()) {
    Json::Object json = good_contract();
    json.erase(key);
    CAPTURE(key);
    CHECK(mentions(message_of([&] { read(json); }), "the key \"" + key + "\" is missing"));
  }
}

// The whole table of broken contracts is held against both readers in Python's tests.
TEST_CASE("impossible values are named") {
  CHECK(mentions(error_with("schema", "glorext.artifact/9"), "schema: expected \"glorext.artifact/1\""));
  CHECK(mentions(error_with("file", "other.ms"), "the contract is for \"other.ms\", the model is \"m.ms\""));
  CHECK(mentions(error_with("labels", Json::Array{"cat"}), "labels: expected 2"));
  CHECK(mentions(error_with("labels", Json::Array{"cat", "cow"}), "labels: expected the labels whose digest"));
  CHECK(mentions(error_with("surprise", 1), "expected no other keys, found \"surprise\""));
  CHECK(mentions(error_with_inner("input", "dtype", "float64"), "input.dtype: expected \"float32\" or \"uint8\""));
  CHECK(mentions(error_with_inner("input", "dtype", "uint8"), "input.values: expected \"pixels\""));
  CHECK(
      mentions(error_with_inner("input", "shape", Json::Array{1, 3, 64, 64}), "input.shape: expected [1, 3, 32, 32]"));
  CHECK(mentions(error_with_inner("output", "shape", Json::Array{1, 2}), "output.shape: expected the batch"));
  CHECK(mentions(error_with_inner("model", "num_classes", 9), "model.num_classes: expected 2"));
  CHECK(mentions(error_with_inner("model.input_spec", "size", 41), "model.input_spec.resize: expected at least size"));
  CHECK(
      mentions(error_with_inner("model.input_spec", "std", Json::Array{1, 1, 0}), "std: expected three numbers above"));
}

TEST_CASE("a format for another program is a matter of usage") {
  Json::Object json = good_contract();
  json["format"] = "onnx";
  const TemporaryFolder folder;
  const std::string text = Json(json).dump();
  write_file(folder.file("m.ms.json"), text.data(), text.size());
  CHECK(read_contract_file(folder.file("m.ms.json")).format == "onnx");
  CHECK_THROWS_AS(read_contract(folder.file("m.ms")), Usage);
  CHECK(mentions(message_of([&] { read_contract(folder.file("m.ms")); }), "convert the model"));
}

TEST_CASE("a model without known labels is accepted") {
  Json::Object json = good_contract();
  json["labels"] = Json::Array{};
  Json::Object model = json["model"].object("model");
  model["labels_sha256"] = sha256_hex("", 0);
  json["model"] = model;
  CHECK(read(json).labels.empty());
}

TEST_CASE("what the model is goes on as it stands") {
  Json::Object json = good_contract();
  Json::Object model = json["model"].object("model");
  Json::Object spec = model["input_spec"].object("spec");
  spec["mean"] = parse_json("[0.49139967861519607, 1.0, 0]", "mean");
  model["input_spec"] = spec;
  json["model"] = model;
  CHECK(read(json).model.dump() == Json(model).dump());
}

TEST_CASE("the model's bytes must be those of the contract") {
  const Contract contract = read(good_contract());
  check_model_bytes(contract, kModel.data(), kModel.size());
  std::string changed = kModel;
  changed[3] ^= 1;
  CHECK(mentions(message_of([&] { check_model_bytes(contract, changed.data(), changed.size()); }), "expected sha256"));
  CHECK(mentions(message_of([&] { check_model_bytes(contract, kModel.data(), 5); }), "expected 20 bytes, found 5"));
}
