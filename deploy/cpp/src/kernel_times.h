// One inference with the time of each kernel, behind an interface without std::string: the file that implements it is
// compiled for the runtime's own layout of std::string, which is not always ours.
#pragma once

#include <vector>

#include "include/api/model.h"

namespace glorext {

using OnKernel = void (*)(void* to, const char* name, const char* type, double ms);

// Runs `model` once and calls `on_kernel` for each of its kernels in the order of execution. False: the runtime failed.
bool time_kernels(mindspore::Model& model, const std::vector<mindspore::MSTensor>& inputs, OnKernel on_kernel,
                  void* to);

}  // namespace glorext
