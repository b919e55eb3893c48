// Resize rule, center crop and normalization, with MindSpore's rounding.
#include "preprocess.h"

#include <cmath>
#include <string>

#include "failure.h"

namespace glorext {
namespace {

// The longer side when the shorter becomes `target`; MindSpore divides in single precision and cuts off.
int long_side(int longer, int shorter, int target) {
  return static_cast<int>(
      std::floor(static_cast<float>(longer) / static_cast<float>(shorter) * static_cast<float>(target)));
}

template <class Value, class Convert>
void arrange(const Picture& crop, Layout layout, Value* out, const Convert& convert) {
  const size_t plane = static_cast<size_t>(crop.width) * crop.height;
  const uint8_t* pixel = crop.rgb.data();
  for (size_t i = 0; i < plane; ++i, pixel += 3)
    for (size_t c = 0; c < 3; ++c) out[layout == Layout::nchw ? c * plane + i : 3 * i + c] = convert(c, pixel[c]);
}

}  // namespace

Preprocess::Preprocess(const InputSpec& spec) : spec_(spec) {
  for (size_t c = 0; c < 3; ++c)
    for (int v = 0; v < 256; ++v) table_[c][v] = static_cast<float>((v / 255.0 - spec.mean[c]) / spec.std[c]);
}

Window Preprocess::target(const Picture& decoded, int& width, int& height) const {
  width = height = spec_.resize;
  if (spec_.rule == ResizeRule::short_side) {
    if (decoded.width > decoded.height) width = long_side(decoded.width, decoded.height, spec_.resize);
    if (decoded.height > decoded.width) height = long_side(decoded.height, decoded.width, spec_.resize);
    check_dimensions(static_cast<uint64_t>(width), static_cast<uint64_t>(height));
  }
  return {(width - spec_.size) / 2, (height - spec_.size) / 2, spec_.size, spec_.size};
}

Picture Preprocess::resized(const Picture& decoded) const {
  int width = 0;
  int height = 0;
  target(decoded, width, height);
  return resize(decoded, width, height, {0, 0, width, height});
}

Picture Preprocess::cropped(const Picture& decoded) const {
  int width = 0;
  int height = 0;
  const Window window = target(decoded, width, height);
  return resize(decoded, width, height, window);
}

void Preprocess::normalized(const Picture& crop, Layout layout, float* out) const {
  arrange(crop, layout, out, [this](size_t c, uint8_t v) { return table_[c][v]; });
}

void Preprocess::raw(const Picture& crop, Layout layout, uint8_t* out) const {
  arrange(crop, layout, out, [](size_t, uint8_t v) { return v; });
}

void Preprocess::raw(const Picture& crop, Layout layout, float* out) const {
  arrange(crop, layout, out, [](size_t, uint8_t v) { return static_cast<float>(v); });
}

}  // namespace glorext
