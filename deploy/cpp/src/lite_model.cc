// Shapes, batches and predictions of a built model.
#include "lite_model.h"

#include <algorithm>
#include <cstring>

#include "card.h"
#include "failure.h"

namespace glorext {
namespace {

// Each call reads the last stage's weights from memory, which two pictures share; the activations of more pictures no
// longer fit into the caches.
constexpr int64_t kCpuBatch = 2;

std::string spelled(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (const int64_t n : shape) out += (out.size() > 1 ? ", " : "") + std::to_string(n);
  return out + "]";
}

}  // namespace

LiteModel::LiteModel(const Contract& contract, const MappedFile& file, const DeviceOptions& options, int64_t batch,
                     int workers)
    : engine_(build_engine({file, contract.model_path, contract.format}, options, workers)),
      workers_(workers),
      path_(contract.model_path),
      prepared_(contract.batches),
      least_(batch),
      classes_(contract.classes) {
  check_input(contract, batch, options.device == "cpu" ? kCpuBatch : prepared_.empty() ? 1 : prepared_.back());
  // Ascend models hold a list of batches chosen at conversion, so there a partial batch is padded.
  resizable_ = resizable_ && options.device == "cpu";
}

void LiteModel::check_input(const Contract& contract, int64_t batch, int64_t default_batch) {
  const std::vector<mindspore::MSTensor> inputs = engine_->inputs();
  if (inputs.size() != 1) throw Failure(path_ + ": expected one input, the model has " + std::to_string(inputs.size()));
  shape_ = inputs[0].Shape();
  // MSTensor::format() says NCHW whatever the model wants; the shape does not lie.
  const int64_t side = contract.spec.size;
  const std::string found = path_ + ": the model's input is " + spelled(shape_);
  if (shape_.size() != 4) throw Failure(found + ", expected four dimensions");
  if (shape_[1] == 3 && shape_[2] == side && shape_[3] == side)
    layout_ = Layout::nchw;
  else if (shape_[3] == 3 && shape_[1] == side && shape_[2] == side)
    layout_ = Layout::nhwc;
  else
    throw Failure(found + ", the contract says pictures of " + std::to_string(side) + " x " + std::to_string(side));
  const auto wanted =
      contract.uint8_input ? mindspore::DataType::kNumberTypeUInt8 : mindspore::DataType::kNumberTypeFloat32;
  if (inputs[0].DataType() != wanted) throw Failure(path_ + ": the model's input type is not the contract's");
  row_bytes_ = static_cast<size_t>(3 * side * side) * (contract.uint8_input ? 1 : sizeof(float));

  const bool dynamic = shape_[0] == -1;
  const int64_t own = dynamic ? contract.batch : shape_[0];
  if (own == 0 || own < -1) throw Failure(found + ", an impossible batch");
  if (own > 0 && batch > 0 && batch != own)
    throw Usage("--batch " + std::to_string(batch) + ": " + path_ + " has the fixed batch " + std::to_string(own) +
                "; leave --batch out or export the model with a dynamic batch");
  batch_ = own > 0 ? own : batch > 0 ? batch : default_batch;
  // A model that was built for one batch must never be resized: with grouped convolutions the runtime then writes
  // outside its buffers.
  resizable_ = dynamic && contract.batch == -1;
}

int64_t LiteModel::size_for(int64_t rows) const {
  return !prepared_.empty() ? prepared_size(prepared_, std::max(rows, least_)) : resizable_ ? rows : batch_;
}

void LiteModel::predict(const uint8_t* input, int64_t rows, float* logits) {
  if (rows < 1 || rows > batch_) throw Failure("expected 1 to " + std::to_string(batch_) + " rows");
  const int64_t size = size_for(rows);
  std::vector<int64_t> shape = shape_;
  shape[0] = size;
  std::vector<uint8_t> filled;
  if (size > rows) {
    filled.assign(input, input + static_cast<size_t>(rows) * row_bytes_);
    for (int64_t i = rows; i < size; ++i)
      filled.insert(filled.end(), input + static_cast<size_t>(rows - 1) * row_bytes_,
                    input + static_cast<size_t>(rows) * row_bytes_);
    input = filled.data();
  }
  engine_->predict(shape, input, static_cast<size_t>(size) * row_bytes_,
                   [&](const Engine::Outputs& outputs) { take_logits(outputs, size, rows, logits); });
}

void LiteModel::take_logits(const Engine::Outputs& outputs, int64_t size, int64_t rows, float* logits) const {
  if (outputs.size() != 1) throw Failure(path_ + ": expected one output, found " + std::to_string(outputs.size()));
  const mindspore::MSTensor& output = outputs[0];
  const size_t bytes = static_cast<size_t>(size * classes_) * sizeof(float);
  if (output.DataType() != mindspore::DataType::kNumberTypeFloat32 || output.DataSize() != bytes)
    throw Failure(path_ + ": expected float32 logits [" + std::to_string(size) + ", " + std::to_string(classes_) +
                  "], found the shape " + spelled(output.Shape()));
  const std::shared_ptr<const void> data = output.Data();
  if (data == nullptr) throw Failure(path_ + ": the runtime gave no output");
  std::memcpy(logits, data.get(), static_cast<size_t>(rows * classes_) * sizeof(float));
}

}  // namespace glorext
