// Copies of one model in the MindSpore Lite runtime that several threads ask at once.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lite_device.h"

namespace glorext {

class Engine {
 public:
  using Outputs = std::vector<mindspore::MSTensor>;

  virtual ~Engine() = default;

  // The inputs as the model was built.
  virtual std::vector<mindspore::MSTensor> inputs() = 0;

  // Gives `take` the outputs for `input`, the `bytes` of the only input in its `shape`; they are valid in `take` alone.
  // For as many threads at once as there are copies; others wait. Throws Failure with the runtime's reason.
  virtual void predict(const std::vector<int64_t>& shape, const uint8_t* input, size_t bytes,
                       const std::function<void(const Outputs&)>& take) = 0;
};

// `copies` of the model: on the CPU with one copy of the file between them, on a card each with its own.
// Throws Failure; where not all fit into a card's memory, it says how many do.
std::unique_ptr<Engine> build_engine(const ModelFile& model, const DeviceOptions& options, int copies);

}  // namespace glorext
