// The context that each device needs, building in it, and what was built in words.
#include "lite_device.h"

#include "include/api/context.h"

#include <algorithm>

#include "card.h"
#include "cores.h"
#include "failure.h"
#include "glorext/classifier.h"

namespace glorext {
namespace {

const char* type_name(mindspore::DataType type) {
  switch (type) {
    case mindspore::DataType::kNumberTypeFloat32: return "float32";
    case mindspore::DataType::kNumberTypeFloat16: return "float16";
    case mindspore::DataType::kNumberTypeUInt8: return "uint8";
    case mindspore::DataType::kNumberTypeInt8: return "int8";
    case mindspore::DataType::kNumberTypeInt32: return "int32";
    case mindspore::DataType::kNumberTypeInt64: return "int64";
    default: return "other";
  }
}

Json describe(const std::vector<mindspore::MSTensor>& tensors) {
  Json::Array out;
  for (const mindspore::MSTensor& tensor : tensors) {
    Json::Array shape;
    for (const int64_t n : tensor.Shape()) shape.push_back(n);
    out.push_back(Json::Object{{"name", tensor.Name()}, {"dtype", type_name(tensor.DataType())}, {"shape", shape}});
  }
  return out;
}

}  // namespace

std::shared_ptr<mindspore::Context> make_context(const DeviceOptions& options) {
  auto context = std::make_shared<mindspore::Context>();
  context->SetThreadNum(options.threads);
  if (options.device == "cpu") {
    context->MutableDeviceInfo().push_back(std::make_shared<mindspore::CPUDeviceInfo>());
    return context;
  }
  auto ascend = std::make_shared<mindspore::AscendDeviceInfo>();
  ascend->SetDeviceID(static_cast<uint32_t>(options.device_id));
  if (!options.precision.empty()) ascend->SetPrecisionMode(options.precision);
  context->MutableDeviceInfo().push_back(ascend);
  return context;
}

int workers_for(const DeviceOptions& options, int asked) {
  if (asked > 0) return asked;
  return options.device == "cpu" ? std::max(1, usable_cores() / options.threads) : 1;
}

void device_flags(Flags& flags, DeviceOptions& options) {
  std::vector<std::string> devices = kFamilies;
  devices.insert(devices.begin(), "cpu");
  flags.choice("device", "D", options.device, devices, "no other device is ever used instead");
  flags.number("device_id", "N", options.device_id, 0, 1023, "which card");
  flags.number("threads", "N", options.threads, 1, 1024, "threads of each model");
  flags.choice("precision", "P", options.precision,
               {"enforce_fp32", "preferred_fp32", "enforce_fp16", "enforce_origin", "preferred_optimal"}, "for Ascend");
}

void check_device_flags(const DeviceOptions& options) {
  if (options.device == "cpu" && !options.precision.empty())
    throw Usage("--precision is for Ascend; on the cpu a model runs as it was converted");
}

std::string runtime_version() {
  const std::string own = mindspore::Version();
  return own.empty() ? GLOREXT_LITE_VERSION : own;
}

void build_or_fail(const ModelFile& model, const DeviceOptions& options, const std::string& hint,
                   const std::function<mindspore::Status()>& build) {
  std::string reason;
  try {
    const mindspore::Status status = build();
    if (status.IsOk()) return;
    reason = status.ToString();
  } catch (const std::exception& error) {
    reason = error.what();
  }
  throw Failure("MindSpore Lite cannot build " + model.path + " for " + options.device + ": " + reason_of(reason) +
                hint);
}

std::unique_ptr<mindspore::Model> build_model(const ModelFile& model, const DeviceOptions& options) {
  auto built = std::make_unique<mindspore::Model>();
  const auto type = model.format == "ms" ? mindspore::kMindIR_Lite : mindspore::kMindIR;
  build_or_fail(model, options, "",
                [&] { return built->Build(model.file.data(), model.file.size(), type, make_context(options)); });
  return built;
}

Json describe_model(mindspore::Model& model) {
  return Json::Object{{"inputs", describe(model.GetInputs())}, {"outputs", describe(model.GetOutputs())}};
}

}  // namespace glorext
