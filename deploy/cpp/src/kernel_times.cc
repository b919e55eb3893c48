// The runtime's callbacks before and after each kernel.
#include "kernel_times.h"

#include <chrono>

namespace glorext {

bool time_kernels(mindspore::Model& model, const std::vector<mindspore::MSTensor>& inputs, OnKernel on_kernel,
                  void* to) {
  using Clock = std::chrono::steady_clock;
  using Tensors = std::vector<mindspore::MSTensor>;
  Clock::time_point begin;
  const auto before = [&](const Tensors&, const Tensors&, const mindspore::MSCallBackParam&) {
    begin = Clock::now();
    return true;
  };
  const auto after = [&](const Tensors&, const Tensors&, const mindspore::MSCallBackParam& kernel) {
    const double ms = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
    on_kernel(to, kernel.node_name.c_str(), kernel.node_type.c_str(), ms);
    return true;
  };
  Tensors outputs;
  return model.Predict(inputs, &outputs, before, after).IsOk();
}

}  // namespace glorext
