// On the CPU MindSpore Lite's ModelParallelRunner, which keeps one copy of the file for all workers; on a card a Model
// for each worker: the runner was never tried there.
#include "lite_engine.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "include/api/model_parallel_runner.h"

#include "card.h"
#include "failure.h"

namespace glorext {
namespace {

using mindspore::MSTensor;
using mindspore::Status;

void require_ok(const Status& status, const std::string& what) {
  if (!status.IsOk()) throw Failure(what + ": " + reason_of(status.ToString()));
}

std::string spelled(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (const int64_t n : shape) out += (out.size() > 1 ? ", " : "") + std::to_string(n);
  return out + "]";
}

class Copies : public Engine {
 public:
  Copies(const ModelFile& model, const DeviceOptions& options, int copies) : path_(model.path) {
    try {
      for (int i = 0; i < copies; ++i) models_.push_back(build_model(model, options));
    } catch (const Failure& failure) {
      if (models_.empty()) throw;
      const std::string built = std::to_string(models_.size());
      throw Failure(std::string(failure.what()) + "; " + built + " of the " + std::to_string(copies) +
                    " models were built: --workers " + built + " needs no more memory");
    }
    for (const auto& one : models_) free_.push_back(one.get());
  }

  std::vector<MSTensor> inputs() override { return models_[0]->GetInputs(); }

  void predict(const std::vector<int64_t>& shape, const uint8_t* input, size_t bytes,
               const std::function<void(const Outputs&)>& take) override {
    const Lease lease(*this);
    std::vector<MSTensor> inputs = lease.model->GetInputs();
    if (inputs[0].Shape() != shape) {
      require_ok(lease.model->Resize(inputs, {shape}), path_ + ": cannot be resized to " + spelled(shape));
      inputs = lease.model->GetInputs();
    }
    auto* target = static_cast<uint8_t*>(inputs[0].MutableData());
    if (target == nullptr || inputs[0].DataSize() != bytes)
      throw Failure(path_ + ": the runtime's input buffer has " + std::to_string(inputs[0].DataSize()) +
                    " bytes, expected " + std::to_string(bytes));
    std::copy(input, input + bytes, target);
    Outputs outputs;
    require_ok(lease.model->Predict(inputs, &outputs), path_ + ": inference failed");
    take(outputs);
  }

 private:
  struct Lease {
    explicit Lease(Copies& all) : owner(all) {
      std::unique_lock<std::mutex> lock(owner.mutex_);
      owner.returned_.wait(lock, [&] { return !owner.free_.empty(); });
      model = owner.free_.back();
      owner.free_.pop_back();
    }
    ~Lease() {
      const std::lock_guard<std::mutex> lock(owner.mutex_);
      owner.free_.push_back(model);
      owner.returned_.notify_one();
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Copies& owner;
    mindspore::Model* model = nullptr;
  };

  std::string path_;
  std::vector<std::unique_ptr<mindspore::Model>> models_;
  std::mutex mutex_;  // guards free_
  std::condition_variable returned_;
  std::vector<mindspore::Model*> free_;
};

class Runner : public Engine {
 public:
  Runner(const ModelFile& model, const DeviceOptions& options, int copies) : path_(model.path) {
    auto config = std::make_shared<mindspore::RunnerConfig>();
    config->SetContext(make_context(options));
    config->SetWorkersNum(copies);
    const std::string hint = copies > 1 ? "; it builds no more than about five workers for a core, and not all that do "
                                          "not fit into memory: try a smaller --workers"
                                        : "";
    // It takes a .ms by its path alone; a file that changes in between is not the one that was checked.
    build_or_fail(model, options, hint, [&] {
      return model.format == "ms" ? runner_.Init(path_, config)
                                  : runner_.Init(model.file.data(), model.file.size(), config);
    });
    if (!model.file.is_still(path_)) throw Failure(path_ + " was replaced while it was read");
    name_ = inputs().at(0).Name();
    type_ = inputs().at(0).DataType();
  }

  std::vector<MSTensor> inputs() override { return runner_.GetInputs(); }

  void predict(const std::vector<int64_t>& shape, const uint8_t* input, size_t bytes,
               const std::function<void(const Outputs&)>& take) override {
    // A reference, not a copy: the runtime reads it and is done with it when Predict returns.
    const std::unique_ptr<MSTensor, void (*)(MSTensor*)> tensor(
        MSTensor::CreateRefTensor(name_, type_, shape, const_cast<uint8_t*>(input), bytes, false),
        MSTensor::DestroyTensorPtr);
    if (tensor == nullptr) throw Failure(path_ + ": the runtime made no input of the shape " + spelled(shape));
    Outputs outputs;
    require_ok(runner_.Predict({*tensor}, &outputs), path_ + ": inference failed");
    take(outputs);
  }

 private:
  std::string path_;
  mindspore::ModelParallelRunner runner_;
  std::string name_;
  mindspore::DataType type_ = mindspore::DataType::kNumberTypeFloat32;
};

}  // namespace

std::unique_ptr<Engine> build_engine(const ModelFile& model, const DeviceOptions& options, int copies) {
  if (options.device == "cpu") return std::make_unique<Runner>(model, options, copies);
  return std::make_unique<Copies>(model, options, copies);
}

}  // namespace glorext
