// Writes JPEG files of the kinds that Pillow cannot: odd_jpegs FOLDER. All are 80 x 60 pixels; the names say the rest.
#include <cstdio>
#include <string>
#include <vector>

#include <jpeglib.h>

namespace {

// One scan for each component, none of them progressive.
const jpeg_scan_info kSeparate[] = {
    {1, {0, 0, 0, 0}, 0, 63, 0, 0}, {1, {1, 0, 0, 0}, 0, 63, 0, 0}, {1, {2, 0, 0, 0}, 0, 63, 0, 0}};

enum class Scans { one, separate, progressive };

bool write(const std::string& path, bool arithmetic, Scans scans, unsigned restart_interval) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return false;
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  jpeg_stdio_dest(&info, file);
  info.image_width = 80;
  info.image_height = 60;
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  info.arith_code = arithmetic ? TRUE : FALSE;
  info.restart_interval = restart_interval;
  if (scans == Scans::progressive) jpeg_simple_progression(&info);
  if (scans == Scans::separate) {
    info.scan_info = kSeparate;
    info.num_scans = 3;
  }
  jpeg_start_compress(&info, TRUE);
  std::vector<JSAMPLE> row(80 * 3);
  for (unsigned y = 0; y < 60; ++y) {
    for (unsigned x = 0; x < 240; ++x) row[x] = static_cast<JSAMPLE>(x * 3 + y * (x % 3) * 4 + x * y % 17);
    JSAMPROW start = row.data();
    jpeg_write_scanlines(&info, &start, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  return std::fclose(file) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string folder = std::string(argv[1]) + "/";
  const bool written = write(folder + "arithmetic.jpg", true, Scans::one, 0) &&
                       write(folder + "arithmetic_restarts.jpg", true, Scans::one, 4) &&
                       write(folder + "arithmetic_separate.jpg", true, Scans::separate, 0) &&
                       write(folder + "arithmetic_progressive.jpg", true, Scans::progressive, 0) &&
                       write(folder + "separate.jpg", false, Scans::separate, 0) &&
                       write(folder + "progressive_restarts.jpg", false, Scans::progressive, 4);
  return written ? 0 : 1;
}
