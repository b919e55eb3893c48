// Resizing, cropping and normalizing: properties that hold for every size. Equality with MindSpore is tested in Python.
#include <doctest/doctest.h>

#include <array>

#include "preprocess.h"
#include "support.h"

using namespace glorext;

namespace {

InputSpec spec_of(int size, int resize, ResizeRule rule) {
  InputSpec spec;
  spec.size = size;
  spec.resize = resize;
  spec.rule = rule;
  spec.mean[0] = 0.5;
  spec.std[0] = 0.25;
  return spec;
}

}  // namespace

TEST_CASE("a picture of the target size is not touched") {
  const Picture picture = noise(17, 9, 1);
  CHECK(resize(picture, 17, 9, {0, 0, 17, 9}).rgb == picture.rgb);
}

TEST_CASE("a picture of one color keeps it at every size") {
  for (const int value : {0, 1, 127, 254, 255}) {
    Picture flat = noise(13, 7, 2);
    flat.rgb.assign(flat.rgb.size(), static_cast<uint8_t>(value));
    for (const int side : {1, 2, 5, 12, 14, 100})
      for (const uint8_t pixel : resize(flat, side, side + 1, {0, 0, side, side + 1}).rgb) CHECK(pixel == value);
  }
}

TEST_CASE("halving takes the rounded mean of four") {
  const Picture picture{2, 2, {1, 10, 255, 2, 20, 255, 2, 30, 255, 1, 41, 254}};
  CHECK(resize(picture, 1, 1, {0, 0, 1, 1}).rgb == std::vector<uint8_t>{2, 25, 255});
}

TEST_CASE("a window is the same part of the whole") {
  for (const auto& [from_width, from_height, width, height] : {std::array{50, 37, 80, 61}, std::array{80, 61, 40, 33},
                                                               std::array{64, 48, 32, 24}, std::array{3, 90, 20, 20}}) {
    const Picture source = noise(from_width, from_height, 3);
    const Picture whole = resize(source, width, height, {0, 0, width, height});
    const Window window{5, 3, 11, 7};
    CHECK(resize(source, width, height, window).rgb == resize(whole, width, height, window).rgb);
  }
}

TEST_CASE("the short side rule keeps the aspect ratio and cuts off fractions") {
  const Preprocess preprocess(spec_of(8, 10, ResizeRule::short_side));
  const Picture wide = preprocess.resized(noise(31, 20, 4));
  CHECK(wide.width == 15);
  CHECK(wide.height == 10);
  const Picture tall = preprocess.resized(noise(20, 31, 4));
  CHECK(tall.width == 10);
  CHECK(tall.height == 15);
}

TEST_CASE("the crop is the center, the odd pixel to the right and below") {
  const Preprocess preprocess(spec_of(2, 5, ResizeRule::squash));
  const Picture picture = noise(5, 5, 5);
  const Picture crop = preprocess.cropped(picture);
  CHECK(crop.width == 2);
  CHECK(crop.rgb[0] == picture.rgb[3 * (1 * 5 + 1)]);
}

TEST_CASE("a thin picture may not grow without limit") {
  const Preprocess preprocess(spec_of(224, 256, ResizeRule::short_side));
  CHECK(mentions(message_of([&] { preprocess.cropped(noise(100000, 1, 6)); }), "too large"));
}

TEST_CASE("normalization follows (v / 255 - mean) / std in both layouts") {
  const Preprocess preprocess(spec_of(2, 2, ResizeRule::squash));
  const Picture crop{2, 2, {0, 1, 2, 51, 4, 5, 102, 7, 8, 255, 10, 11}};
  float nchw[12];
  float nhwc[12];
  preprocess.normalized(crop, Layout::nchw, nchw);
  preprocess.normalized(crop, Layout::nhwc, nhwc);
  CHECK(nchw[0] == -2.0F);
  CHECK(nchw[1] == doctest::Approx((0.2 - 0.5) / 0.25));
  CHECK(nchw[3] == 2.0F);
  CHECK(nchw[4] == doctest::Approx(1 / 255.0));
  for (int i = 0; i < 4; ++i)
    for (int c = 0; c < 3; ++c) CHECK(nchw[c * 4 + i] == nhwc[i * 3 + c]);
  uint8_t raw[12];
  preprocess.raw(crop, Layout::nchw, raw);
  CHECK(raw[1] == 51);
  preprocess.raw(crop, Layout::nhwc, raw);
  CHECK(std::vector<uint8_t>(raw, raw + 12) == crop.rgb);
  float pixels[12];
  preprocess.raw(crop, Layout::nhwc, pixels);
  CHECK(std::vector<uint8_t>(pixels, pixels + 12) == crop.rgb);
}
