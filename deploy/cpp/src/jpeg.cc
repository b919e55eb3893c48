// JPEG to RGB, as MindSpore does it: libjpeg-turbo's accurate integer DCT and smooth chroma upsampling.
#include <csetjmp>
#include <cstdio>

#include <jpeglib.h>
// Its codes depend on what jpeglib.h says was built in.
#include <jerror.h>

#include "failure.h"
#include "picture.h"

namespace glorext {
namespace {

// A progressive file of a few kilobytes may ask for hours of refinement scans.
constexpr int kMostScans = 200;
constexpr int kSmoothed = 10;

struct Errors {
  jpeg_error_mgr base;
  std::jmp_buf escape;
  char message[JMSG_LENGTH_MAX];
};

void on_error(j_common_ptr info) {
  auto* errors = reinterpret_cast<Errors*>(info->err);
  errors->base.format_message(info, errors->message);
  std::longjmp(errors->escape, 1);
}

// libjpeg goes on after damage inside a scan, as every way does; what is cut off is refused (docs/pictures.md).
void on_message(j_common_ptr info, int level) {
  if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) on_error(info);
}

void on_progress(j_common_ptr info) {
  auto* errors = reinterpret_cast<Errors*>(info->err);
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMostScans) return;
  std::snprintf(errors->message, sizeof errors->message, "more than %d scans", kMostScans);
  std::longjmp(errors->escape, 1);
}

// libjpeg reports errors by longjmp; no object with a destructor may live in the stack frames that it skips.
// So each call into it is one `step`, a lambda that holds references only.
class Decoder {
 public:
  Decoder() {
    info_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = on_error;
    errors_.base.emit_message = on_message;
    progress_.progress_monitor = on_progress;
    jpeg_create_decompress(&info_);
    info_.progress = &progress_;
  }
  ~Decoder() { jpeg_destroy_decompress(&info_); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  template <class Step>
  void run(const Step& step) {
    if (setjmp(errors_.escape) != 0) throw Failure(std::string("damaged JPEG: ") + errors_.message);
    step(&info_);
  }

  const jpeg_decompress_struct& info() const { return info_; }

 private:
  Errors errors_{};
  jpeg_progress_mgr progress_{};
  jpeg_decompress_struct info_{};
};

// A file of one scan is decoded up to its last row; whether its end is there has to be looked for.
void check_end(const jpeg_decompress_struct& info, const std::string& bytes) {
  if (info.progressive_mode || info.comps_in_scan < info.num_components) return;  // read to the end anyway
  const size_t start = bytes.size() - info.src->bytes_in_buffer;
  if (bytes.find("\xFF\xD9", start) == std::string::npos) throw Failure("damaged JPEG: it is cut off");
}

// libjpeg guesses low frequencies whose scans are missing, each version in another way: that is no picture to score.
void check_scans(const jpeg_decompress_struct& info) {
  for (int i = 0; info.progressive_mode && i < info.num_components; ++i)
    for (int k = 0; k < kSmoothed; ++k)
      if (info.coef_bits[i][k] != 0) throw Failure("damaged JPEG: progressive, and it lacks scans");
}

// CMYK has no exact RGB; this is the product MindSpore's Decode takes. Adobe's files store the inks inverted.
void cmyk_to_rgb(const uint8_t* cmyk, int width, bool inverted, uint8_t* rgb) {
  for (int x = 0; x < width; ++x, cmyk += 4, rgb += 3) {
    const int k = inverted ? cmyk[3] : 255 - cmyk[3];
    for (int i = 0; i < 3; ++i) {
      const int ink = inverted ? cmyk[i] : 255 - cmyk[i];
      rgb[i] = static_cast<uint8_t>(k * ink / 255);
    }
  }
}

}  // namespace

Picture decode_jpeg(const std::string& bytes) {
  Decoder decoder;
  decoder.run([&](j_decompress_ptr info) {
    jpeg_mem_src(info, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
    jpeg_read_header(info, TRUE);
  });
  check_dimensions(decoder.info().image_width, decoder.info().image_height);
  check_end(decoder.info(), bytes);
  const bool cmyk = decoder.info().num_components == 4;
  const bool inverted = decoder.info().saw_Adobe_marker;

  Picture picture;
  picture.width = static_cast<int>(decoder.info().image_width);
  picture.height = static_cast<int>(decoder.info().image_height);
  picture.rgb.resize(static_cast<size_t>(picture.width) * picture.height * 3);
  std::vector<uint8_t> inks(cmyk ? static_cast<size_t>(picture.width) * 4 : 0);

  decoder.run([&](j_decompress_ptr info) {
    info->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(info);
  });
  check_scans(decoder.info());
  decoder.run([&](j_decompress_ptr info) {
    while (info->output_scanline < info->output_height) {
      uint8_t* row = picture.rgb.data() + static_cast<size_t>(info->output_scanline) * picture.width * 3;
      uint8_t* target = cmyk ? inks.data() : row;
      jpeg_read_scanlines(info, &target, 1);
      if (cmyk) cmyk_to_rgb(inks.data(), picture.width, inverted, row);
    }
    // No jpeg_finish_decompress: what stands behind the picture is not its fault.
  });
  return picture;
}

}  // namespace glorext
