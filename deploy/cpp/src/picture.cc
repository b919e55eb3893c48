// Which decoder a file's first bytes ask for.
#include "picture.h"

#include "failure.h"

namespace glorext {
namespace {

// 805 MB as RGB; telephones take 200 megapixels.
constexpr uint64_t kMostPixels = uint64_t{1} << 28;
// libpng's limit, which MindSpore leaves as it is; libjpeg's is lower.
constexpr uint64_t kMostInARow = 1'000'000;

}  // namespace

void check_dimensions(uint64_t width, uint64_t height) {
  const std::string found = std::to_string(width) + " x " + std::to_string(height) + " pixels";
  if (width == 0 || height == 0) throw Failure("an empty picture: " + found);
  if (width > kMostInARow || height > kMostInARow || width * height > kMostPixels)
    throw Failure("too large: " + found + ", at most 268 million are decoded and a million in a row or column");
}

Picture decode_picture(const std::string& bytes) {
  if (bytes.empty()) throw Failure("the file is empty");
  if (bytes.compare(0, 3, "\xFF\xD8\xFF") == 0) return decode_jpeg(bytes);
  if (bytes.compare(0, 8, "\x89PNG\r\n\x1A\n") == 0) return decode_png(bytes);
  throw Failure("neither JPEG nor PNG");
}

}  // namespace glorext
