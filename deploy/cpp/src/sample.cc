// Pictures of a folder, read, decoded and preprocessed.
#include "sample.h"

#include <chrono>

#include "failure.h"
#include "inputs.h"

namespace glorext {
namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

}  // namespace

Source picture_source(std::string folder, std::vector<std::string> paths, const Contract& contract, Layout layout) {
  const Inputs inputs(contract, layout);
  return [=](size_t index, Sample& sample) {
    auto begin = Clock::now();
    if (!is_picture_name(paths[index])) throw Failure("no picture by its name: .jpg, .jpeg or .png");
    const std::string path = folder + "/" + paths[index];
    sample.file = stamp_of(path);
    const std::string bytes = read_file(path, kLargestPictureFile);
    sample.stages.read = ms_since(begin);
    begin = Clock::now();
    const Picture picture = decode_picture(bytes);
    sample.stages.decode = ms_since(begin);
    begin = Clock::now();
    sample.tensor = inputs.from_picture(picture);
    sample.stages.preprocess = ms_since(begin);
  };
}

}  // namespace glorext
