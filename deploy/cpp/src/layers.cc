// Kernels are asked of a model by itself: a runner of several workers has no callbacks of its own.
#include "layers.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "failure.h"
#include "interrupt.h"
#include "kernel_times.h"

namespace glorext {
namespace {

struct Kernel {
  std::string name;
  std::string type;
  std::vector<double> ms;
};

struct Kernels {
  std::vector<Kernel> all;
  std::map<std::string, size_t> places;

  static void add(void* to, const char* name, const char* type, double ms) {
    auto& self = *static_cast<Kernels*>(to);
    const auto [place, is_new] = self.places.emplace(name, self.all.size());
    if (is_new) self.all.push_back({name, type, {}});
    self.all[place->second].ms.push_back(ms);
  }
};

}  // namespace

Json measure_layers(const Contract& contract, const MappedFile& file, const DeviceOptions& options, int64_t batch,
                    double seconds) {
  using Clock = std::chrono::steady_clock;
  const std::unique_ptr<mindspore::Model> model = build_model({file, contract.model_path, contract.format}, options);
  std::vector<mindspore::MSTensor> inputs = model->GetInputs();
  if (inputs.at(0).Shape().at(0) == -1) {
    std::vector<int64_t> shape = inputs[0].Shape();
    shape[0] = batch;
    if (!model->Resize(inputs, {shape}).IsOk()) throw Failure(contract.model_path + ": cannot be resized");
    inputs = model->GetInputs();
  }
  auto* values = static_cast<uint8_t*>(inputs[0].MutableData());
  if (values == nullptr) throw Failure(contract.model_path + ": the runtime gave no input buffer");
  std::fill(values, values + inputs[0].DataSize(), uint8_t{0});
  Kernels warmup, kernels;
  const auto once = [&](Kernels& to) {
    if (!time_kernels(*model, inputs, &Kernels::add, &to)) throw Failure(contract.model_path + ": inference failed");
  };
  once(warmup);
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  do {
    if (interrupted()) throw Interrupted("stopped by Ctrl-C");
    once(kernels);
  } while (Clock::now() < end);
  if (kernels.all.empty()) return {};
  Json::Array layers;
  for (Kernel& kernel : kernels.all) {
    std::nth_element(kernel.ms.begin(), kernel.ms.begin() + static_cast<std::ptrdiff_t>(kernel.ms.size() / 2),
                     kernel.ms.end());
    layers.push_back(
        Json::Object{{"name", kernel.name}, {"type", kernel.type}, {"ms", kernel.ms[kernel.ms.size() / 2]}});
  }
  return layers;
}

}  // namespace glorext
