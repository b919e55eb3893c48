// The fixed-point arithmetic of OpenCV's INTER_LINEAR for 8-bit samples, which MindSpore's Resize calls: weights are
// rounded to 1/2048, the horizontal pass keeps 32 bits, the vertical pass drops 4 bits before its products and 16
// after them.
#include "resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace glorext {
namespace {

constexpr int kOne = 2048;

// What one output coordinate takes from the input: position and weight of two neighbors.
struct Tap {
  int first;
  int second;
  int first_weight;
  int second_weight;
};

// `clamp_weights`: outside the picture the horizontal pass takes the edge alone; the vertical pass mixes the edge
// row with itself, which rounds differently.
std::vector<Tap> taps(int from, int to, int begin, int count, bool clamp_weights) {
  const double scale = 1.0 / (static_cast<double>(to) / from);
  std::vector<Tap> out;
  out.reserve(static_cast<size_t>(count));
  for (int i = begin; i < begin + count; ++i) {
    const auto center = static_cast<float>((i + 0.5) * scale - 0.5);
    int at = static_cast<int>(std::floor(center));
    float part = center - static_cast<float>(at);
    if (clamp_weights && (at < 0 || at >= from - 1)) {
      at = at < 0 ? 0 : from - 1;
      part = 0;
    }
    out.push_back({std::clamp(at, 0, from - 1), std::clamp(at + 1, 0, from - 1),
                   static_cast<int>(std::lrint((1.0F - part) * kOne)), static_cast<int>(std::lrint(part * kOne))});
  }
  return out;
}

void horizontal_pass(const uint8_t* row, const std::vector<Tap>& columns, int* out) {
  for (const Tap& tap : columns) {
    const uint8_t* a = row + 3 * tap.first;
    const uint8_t* b = row + 3 * tap.second;
    for (int c = 0; c < 3; ++c) *out++ = a[c] * tap.first_weight + b[c] * tap.second_weight;
  }
}

void vertical_pass(const int* a, const int* b, const Tap& tap, size_t count, uint8_t* out) {
  for (size_t i = 0; i < count; ++i) {
    const int mixed = ((tap.first_weight * (a[i] >> 4)) >> 16) + ((tap.second_weight * (b[i] >> 4)) >> 16);
    out[i] = static_cast<uint8_t>(std::clamp((mixed + 2) >> 2, 0, 255));
  }
}

Picture cut_out(const Picture& source, const Window& window) {
  Picture out{window.width, window.height, {}};
  const size_t row_bytes = static_cast<size_t>(window.width) * 3;
  out.rgb.resize(row_bytes * window.height);
  for (int y = 0; y < window.height; ++y)
    std::memcpy(out.rgb.data() + y * row_bytes,
                source.rgb.data() + (static_cast<size_t>(window.top + y) * source.width + window.left) * 3, row_bytes);
  return out;
}

// OpenCV replaces bilinear by the mean of 2 x 2 pixels when both sides are exactly halved.
Picture halve(const Picture& source, const Window& window) {
  Picture out{window.width, window.height, {}};
  out.rgb.resize(static_cast<size_t>(window.width) * window.height * 3);
  uint8_t* target = out.rgb.data();
  const size_t stride = static_cast<size_t>(source.width) * 3;
  for (int y = 0; y < window.height; ++y) {
    const uint8_t* a = source.rgb.data() + 2 * static_cast<size_t>(window.top + y) * stride + 6 * window.left;
    for (int x = 0; x < window.width; ++x, a += 6)
      for (int c = 0; c < 3; ++c)
        *target++ = static_cast<uint8_t>((a[c] + a[c + 3] + a[c + stride] + a[c + stride + 3] + 2) >> 2);
  }
  return out;
}

}  // namespace

Picture resize(const Picture& source, int width, int height, const Window& window) {
  if (width == source.width && height == source.height) return cut_out(source, window);
  if (source.width == 2 * width && source.height == 2 * height) return halve(source, window);

  const std::vector<Tap> columns = taps(source.width, width, window.left, window.width, true);
  const std::vector<Tap> rows = taps(source.height, height, window.top, window.height, false);
  const size_t row_values = static_cast<size_t>(window.width) * 3;
  // The two input rows in use, already scaled horizontally; neighboring output rows often share them.
  std::vector<int> scaled[2] = {std::vector<int>(row_values), std::vector<int>(row_values)};
  int held[2] = {-1, -1};
  const auto fetch = [&](int row, int keep) {
    for (int slot = 0; slot < 2; ++slot)
      if (held[slot] == row) return slot;
    const int slot = keep == 0 ? 1 : 0;
    horizontal_pass(source.rgb.data() + static_cast<size_t>(row) * source.width * 3, columns, scaled[slot].data());
    held[slot] = row;
    return slot;
  };

  Picture out{window.width, window.height, {}};
  out.rgb.resize(row_values * window.height);
  for (int y = 0; y < window.height; ++y) {
    const Tap& tap = rows[static_cast<size_t>(y)];
    const int next = held[0] == tap.second ? 0 : held[1] == tap.second ? 1 : -1;
    const int a = fetch(tap.first, next);
    const int b = fetch(tap.second, a);
    vertical_pass(scaled[a].data(), scaled[b].data(), tap, row_values, out.rgb.data() + y * row_values);
  }
  return out;
}

}  // namespace glorext
