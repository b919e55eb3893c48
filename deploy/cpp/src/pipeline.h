// Pictures through decoders and models at once, with bounded queues between them.
#pragma once

#include <string>
#include <vector>

#include "journal.h"
#include "lite_model.h"
#include "results.h"
#include "sample.h"

namespace glorext {

// Runs every index of `names` through `source`, on `decoders` threads, and `model`, on one for each worker. An
// interruption, and an error that is not about one picture, end the run early: the result says so, and holds what was
// computed before. With a `journal` what it holds is not computed again, and what is computed is added to it.
RunResult run_pipeline(const std::vector<std::string>& names, const Source& source, LiteModel& model, int decoders,
                       Journal* journal);

}  // namespace glorext
