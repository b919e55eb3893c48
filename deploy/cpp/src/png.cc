// PNG to RGB, as MindSpore does it: no gamma, alpha dropped, 16 bits cut to their upper 8.
#include <csetjmp>
#include <cstring>

#include <png.h>

#include "failure.h"
#include "picture.h"

namespace glorext {
namespace {

struct Source {
  const unsigned char* at;
  size_t left;
  char message[160];
  std::jmp_buf escape;
};

void on_error(png_structp png, png_const_charp text) {
  auto* source = static_cast<Source*>(png_get_error_ptr(png));
  std::strncpy(source->message, text, sizeof source->message - 1);
  std::longjmp(source->escape, 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep out, size_t count) {
  auto* source = static_cast<Source*>(png_get_io_ptr(png));
  if (count > source->left) png_error(png, "the file is cut off");
  std::memcpy(out, source->at, count);
  source->at += count;
  source->left -= count;
}

// libpng reports errors by longjmp; see jpeg.cc for why each call into it is a `step` of references only.
class Decoder {
 public:
  explicit Decoder(const std::string& bytes) {
    source_.at = reinterpret_cast<const unsigned char*>(bytes.data());
    source_.left = bytes.size();
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source_, on_error, on_warning);
    info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
    if (info_ == nullptr) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      throw Failure("no memory for a PNG decoder");
    }
    png_set_read_fn(png_, &source_, on_read);
    // The size is checked by ourselves, with a better message than libpng's limit of a million per side.
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  }
  ~Decoder() { png_destroy_read_struct(&png_, &info_, nullptr); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  template <class Step>
  void run(const Step& step) {
    if (setjmp(source_.escape) != 0) throw Failure(std::string("damaged PNG: ") + source_.message);
    step(png_, info_);
  }

 private:
  Source source_{};
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

}  // namespace

Picture decode_png(const std::string& bytes) {
  Decoder decoder(bytes);
  png_uint_32 width = 0;
  png_uint_32 height = 0;
  decoder.run([&](png_structp png, png_infop info) {
    png_read_info(png, info);
    width = png_get_image_width(png, info);
    height = png_get_image_height(png, info);
  });
  check_dimensions(width, height);

  size_t row_bytes = 0;
  decoder.run([&](png_structp png, png_infop info) {
    png_set_strip_16(png);
    png_set_strip_alpha(png);
    png_set_palette_to_rgb(png);
    png_set_expand_gray_1_2_4_to_8(png);
    png_set_gray_to_rgb(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    row_bytes = png_get_rowbytes(png, info);
  });
  if (row_bytes != size_t{width} * 3) throw Failure("damaged PNG: its rows do not expand to RGB");

  Picture picture;
  picture.width = static_cast<int>(width);
  picture.height = static_cast<int>(height);
  picture.rgb.resize(row_bytes * height);
  std::vector<png_bytep> rows(height);
  for (size_t y = 0; y < height; ++y) rows[y] = picture.rgb.data() + y * row_bytes;
  decoder.run([&](png_structp png, png_infop) {
    png_read_image(png, rows.data());
    png_read_end(png, nullptr);
  });
  return picture;
}

}  // namespace glorext
