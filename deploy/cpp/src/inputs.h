// A picture, or a tensor as the contract describes it, as one row of a model's input.
#pragma once

#include <cstdint>
#include <vector>

#include "contract.h"
#include "picture.h"
#include "preprocess.h"

namespace glorext {

class Inputs {
 public:
  Inputs(const Contract& contract, Layout layout);

  // Bytes of one value and of the whole row.
  size_t item() const { return item_; }
  size_t bytes() const { return preprocess_.values() * item_; }

  // A decoded picture, preprocessed as the contract says.
  std::vector<uint8_t> from_picture(const Picture& picture) const;

  // `values`: [3, size, size], of item() bytes each. Throws Failure when one is not finite.
  std::vector<uint8_t> from_tensor(const void* values) const;

 private:
  Preprocess preprocess_;
  Layout layout_;
  bool pixels_;
  size_t item_;
};

}  // namespace glorext
