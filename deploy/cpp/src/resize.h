// Bilinear resizing, bit for bit as MindSpore's Resize computes it for 8-bit pictures.
#pragma once

#include "picture.h"

namespace glorext {

struct Window {
  int left;
  int top;
  int width;
  int height;
};

// Scales `source` to width x height and returns the part inside `window`; only that part is computed.
// No antialiasing: each output pixel mixes the four nearest input pixels, however much the picture shrinks.
Picture resize(const Picture& source, int width, int height, const Window& window);

}  // namespace glorext
