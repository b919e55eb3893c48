// The wheel of MindSpore Lite 2.0.0 exports mindspore::Converter but has no converter.h. The class is declared here as
// its documentation and its exported symbols give it: methods on std::vector<char>, one shared_ptr as its only member.
#include "lite_converter.h"

#include <unistd.h>

#include <exception>
#include <memory>

#include "include/api/format.h"
#include "include/api/status.h"
#include "include/api/types.h"
#include "include/registry/converter_context.h"

#include "failure.h"

namespace mindspore {

struct ConverterPara;

class MS_API Converter {
 public:
  Converter();
  ~Converter() = default;
  void SetConfigFile(const std::vector<char>& config_file);
  void SetWeightFp16(bool weight_fp16);
  void SetInputShape(const std::map<std::vector<char>, std::vector<int64_t>>& input_shape);
  void SetInputFormat(Format format);
  void SetSaveType(ModelType save_type);
  void SetNoFusion(bool no_fusion);
  void SetDevice(const std::vector<char>& device);
  Status Convert(converter::FmkType fmk_type, const std::vector<char>& model_file, const std::vector<char>& output_file,
                 const std::vector<char>& weight_file);

 private:
  std::shared_ptr<ConverterPara> data_;
};

}  // namespace mindspore

namespace glorext {
namespace {

std::vector<char> chars(const std::string& text) { return {text.begin(), text.end()}; }

void configure(mindspore::Converter& converter, const ConverterOptions& options) {
  converter.SetSaveType(options.save_ms ? mindspore::kMindIR_Lite : mindspore::kMindIR);
  converter.SetWeightFp16(options.fp16_weights);
  converter.SetNoFusion(options.optimize == "none");
  // "ascend_oriented" is no setting of its own in the library: it is fusion for the device Ascend.
  if (!options.device.empty() || options.optimize == "ascend_oriented") converter.SetDevice(chars("Ascend"));
  if (!options.config.empty()) converter.SetConfigFile(chars(options.config));
  if (!options.input_shapes.empty()) converter.SetInputShape(options.input_shapes);
  if (!options.input_format.empty())
    converter.SetInputFormat(options.input_format == "NCHW" ? mindspore::NCHW : mindspore::NHWC);
}

}  // namespace

std::string result_path(const ConverterOptions& options) { return options.out + (options.save_ms ? ".ms" : ".mindir"); }

void convert(const ConverterOptions& options) {
  const std::string result = result_path(options);
  std::string reason;
  try {
    mindspore::Converter converter;
    configure(converter, options);
    const auto from = options.onnx ? mindspore::converter::kFmkTypeOnnx : mindspore::converter::kFmkTypeMs;
    const mindspore::Status status = converter.Convert(from, chars(options.model), chars(options.out), {});
    if (!status.IsOk()) reason = status.ToString();
  } catch (const std::exception& error) {
    reason = error.what();
  }
  if (reason.empty() && ::access(result.c_str(), R_OK) != 0) reason = "it reported success but wrote no " + result;
  if (reason.empty()) return;
  ::unlink(result.c_str());
  throw Failure("MindSpore Lite's converter cannot convert " + options.model + ": " + reason);
}

}  // namespace glorext
