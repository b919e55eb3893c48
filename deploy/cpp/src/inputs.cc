// Preprocessing and layout of input rows.
#include "inputs.h"

#include <cmath>
#include <cstring>

#include "failure.h"

namespace glorext {

Inputs::Inputs(const Contract& contract, Layout layout)
    : preprocess_(contract.spec),
      layout_(layout),
      pixels_(contract.pixels),
      item_(contract.uint8_input ? 1 : sizeof(float)) {}

std::vector<uint8_t> Inputs::from_picture(const Picture& picture) const {
  const Picture crop = preprocess_.cropped(picture);
  std::vector<uint8_t> row(bytes());
  auto* floats = reinterpret_cast<float*>(row.data());
  if (item_ == 1)
    preprocess_.raw(crop, layout_, row.data());
  else if (pixels_)
    preprocess_.raw(crop, layout_, floats);
  else
    preprocess_.normalized(crop, layout_, floats);
  return row;
}

std::vector<uint8_t> Inputs::from_tensor(const void* values) const {
  const auto* from = static_cast<const uint8_t*>(values);
  const size_t plane = preprocess_.values() / 3;
  std::vector<uint8_t> row(bytes());
  for (size_t c = 0; c < 3; ++c)
    for (size_t i = 0; i < plane; ++i) {
      const uint8_t* value = from + (c * plane + i) * item_;
      float number = 0;
      if (item_ == sizeof(float)) std::memcpy(&number, value, item_);
      if (!std::isfinite(number)) throw Failure("the input is not finite");
      std::memcpy(row.data() + (layout_ == Layout::nhwc ? 3 * i + c : c * plane + i) * item_, value, item_);
    }
  return row;
}

}  // namespace glorext
