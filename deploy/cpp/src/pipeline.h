// Pictures through decoders and models at once, with bounded queues between them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "journal.h"
#include "lite_model.h"
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

// Runs every index of `names` through `source`, on `decoders` threads, and `model`, on one for each worker. An
// interruption, and an error that is not about one picture, end the run early: the result says so, and holds what was
// computed before. With a `journal` what it holds is not computed again, and what is computed is added to it.
RunResult run_pipeline(const std::vector<std::string>& names, const Source& source, LiteModel& model, int decoders,
                       Journal* journal);

}  // namespace glorext
