// glorext_pixels: what preprocessing makes of pictures, stage by stage, as .npy files to compare with other
// implementations.
#include <cstdio>
#include <cstring>

#include "failure.h"
#include "files.h"
#include "flags.h"
#include "npy.h"
#include "preprocess.h"

namespace {

using namespace glorext;

constexpr const char* kAbout = R"(glorext_pixels: show a picture after each stage of preprocessing

  glorext_pixels --input_spec SPEC.json --out DIR PICTURE...

)";
constexpr const char* kEnd = R"(
DIR gets, for the n-th picture from 0 on, n/decode.npy, n/resize.npy and n/crop.npy (uint8, height x width x RGB) and
n/normalize.npy (float32, 3 x size x size). A picture that cannot be used gets n/error.txt instead and makes the exit
status 1.
Exit status: 0 done, 1 failed or pictures broken, 2 usage.
)";

void dump(const std::string& path, const Picture& picture) {
  write_npy(path, "|u1", {picture.height, picture.width, 3}, picture.rgb.data());
}

bool dump_stages(const Preprocess& preprocess, const std::string& file, const ResultFolder& out, size_t index) {
  const std::string folder = out.file(std::to_string(index));
  make_folder(folder);
  try {
    const Picture decoded = decode_picture(read_file(file, kLargestPictureFile));
    const Picture crop = preprocess.cropped(decoded);
    std::vector<float> tensor(preprocess.values());
    preprocess.normalized(crop, Layout::nchw, tensor.data());
    dump(folder + "/decode.npy", decoded);
    dump(folder + "/resize.npy", preprocess.resized(decoded));
    dump(folder + "/crop.npy", crop);
    write_npy(folder + "/normalize.npy", "<f4", {3, preprocess.size(), preprocess.size()}, tensor.data());
    return true;
  } catch (const Failure& failure) {
    std::fprintf(stderr, "broken: %s: %s\n", file.c_str(), failure.what());
    write_file(folder + "/error.txt", failure.what(), std::strlen(failure.what()));
    return false;
  }
}

int run(int argc, char** argv) {
  std::string spec, out;
  std::vector<std::string> pictures;
  Flags flags(kAbout, kEnd);
  flags.text("input_spec", "FILE", spec, "an InputSpec, the \"model.input_spec\" of a contract").required();
  flags.text("out", "DIR", out, "new folder, or an earlier one of this program").required();
  flags.words(pictures);
  if (!flags.parse(argc, argv)) return 0;
  if (pictures.empty()) throw Usage("name at least one picture; see --help");
  const Preprocess preprocess(read_input_spec(spec));
  ResultFolder folder(out, "0");
  bool all_read = true;
  for (size_t i = 0; i < pictures.size(); ++i) all_read = dump_stages(preprocess, pictures[i], folder, i) && all_read;
  folder.commit();
  return all_read ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) { return glorext::run_program("glorext_pixels", run, argc, argv); }
