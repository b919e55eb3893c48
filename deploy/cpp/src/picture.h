// A decoded picture and the decoders: JPEG through libjpeg-turbo, PNG through libpng.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace glorext {

// Eight bits per sample, R G B, rows from top to bottom without padding.
struct Picture {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> rgb;
};

constexpr size_t kLargestPictureFile = size_t{256} << 20;

// Decodes by content, whatever the file is called. The values are those of MindSpore's Decode: EXIF orientation is
// ignored, alpha dropped, 16 bits cut to their upper 8, gray and palette expanded, CMYK multiplied out.
// Throws Failure for what docs/pictures.md calls broken: neither JPEG nor PNG, cut off, damaged, too large.
Picture decode_picture(const std::string& bytes);

// Throws Failure unless both sides are positive, at most a million, and the picture has at most 2^28 pixels.
void check_dimensions(uint64_t width, uint64_t height);

Picture decode_jpeg(const std::string& bytes);
Picture decode_png(const std::string& bytes);

}  // namespace glorext
