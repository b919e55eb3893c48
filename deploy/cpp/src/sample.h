// Inputs of a model on their way to it, with the time that they took so far.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "contract.h"
#include "files.h"
#include "preprocess.h"
#include "results.h"

namespace glorext {

// One model input on its way, with the milliseconds spent on it so far.
struct Sample {
  size_t index = 0;
  std::vector<uint8_t> tensor;
  Stamp file;
  Stages stages;
};

// Fills the sample of index i; throws Failure for a picture that cannot be used. Called from several threads.
using Source = std::function<void(size_t index, Sample& sample)>;

// The pictures `paths` of `folder` as `contract` wants them.
Source picture_source(std::string folder, std::vector<std::string> paths, const Contract& contract, Layout layout);

}  // namespace glorext
