// Which decoder a file's first bytes ask for.
#include "picture.h"

#include "failure.h"

namespace glorext {
namespace {

constexpr uint64_t kMostPixels = 100'000'000;

}  // namespace

void check_dimensions(uint64_t width, uint64_t height) {
  const std::string found = std::to_string(width) + " x " + std::to_string(height) + " pixels";
  if (width == 0 || height == 0) throw Failure("an empty picture: " + found);
  if (width > kMostPixels || height > kMostPixels || width * height > kMostPixels)
    throw Failure("too large: " + found + ", at most 100 million are decoded");
}

Picture decode_picture(const std::string& bytes) {
  if (bytes.empty()) throw Failure("the file is empty");
  if (bytes.compare(0, 3, "\xFF\xD8\xFF") == 0) return decode_jpeg(bytes);
  if (bytes.compare(0, 8, "\x89PNG\r\n\x1A\n") == 0) return decode_png(bytes);
  throw Failure("neither JPEG nor PNG");
}

}  // namespace glorext
