// The context that each device needs, and building in it.
#include "include/api/context.h"

#include "card.h"
#include "failure.h"
#include "lite_model.h"

namespace glorext {
namespace {

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

std::string runtime_version() {
  const std::string own = mindspore::Version();
  return own.empty() ? GLOREXT_LITE_VERSION : own;
}

std::unique_ptr<mindspore::Model> build_model(const MappedFile& file, const std::string& path,
                                              const std::string& format, const DeviceOptions& options) {
  auto model = std::make_unique<mindspore::Model>();
  const auto type = format == "ms" ? mindspore::kMindIR_Lite : mindspore::kMindIR;
  std::string reason;
  try {
    const mindspore::Status status = model->Build(file.data(), file.size(), type, make_context(options));
    if (status.IsOk()) return model;
    reason = status.ToString();
  } catch (const std::exception& error) {
    reason = error.what();
  }
  throw Failure("MindSpore Lite cannot build " + path + " for " + options.device + ": " + reason_of(reason));
}

Json describe_model(mindspore::Model& model) {
  return Json::Object{{"inputs", describe(model.GetInputs())}, {"outputs", describe(model.GetOutputs())}};
}

}  // namespace glorext
