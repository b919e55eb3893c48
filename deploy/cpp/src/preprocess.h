// InputSpec compiled for this program: a decoded picture to the tensor the network was trained on.
#pragma once

#include <cstdint>
#include <vector>

#include "contract.h"
#include "picture.h"
#include "resize.h"

namespace glorext {

enum class Layout { nchw, nhwc };

class Preprocess {
 public:
  explicit Preprocess(const InputSpec& spec);

  int size() const { return spec_.size; }
  size_t values() const { return static_cast<size_t>(spec_.size) * spec_.size * 3; }

  // The whole picture after resizing, before cropping.
  Picture resized(const Picture& decoded) const;

  // Resized and cropped: size x size.
  Picture cropped(const Picture& decoded) const;

  // (v / 255 - mean) / std for every sample of a cropped picture; `out` holds values() floats.
  void normalized(const Picture& crop, Layout layout, float* out) const;

  // The cropped picture as it is, for a model that normalizes by itself; `out` holds values() bytes or floats.
  void raw(const Picture& crop, Layout layout, uint8_t* out) const;
  void raw(const Picture& crop, Layout layout, float* out) const;

 private:
  Window target(const Picture& decoded, int& width, int& height) const;

  InputSpec spec_;
  float table_[3][256];
};

}  // namespace glorext
