// Where the time of an inference goes, layer by layer, where the runtime tells.
#pragma once

#include "contract.h"
#include "json.h"
#include "lite_device.h"

namespace glorext {

// The kernels of the model in the order in which they run, each with its name, its type and the median of its
// milliseconds in the inferences of `seconds`, after one that is not counted; null where the runtime names none.
// A model of its own is built, of `batch` rows. Throws Failure.
Json measure_layers(const Contract& contract, const MappedFile& file, const DeviceOptions& options, int64_t batch,
                    double seconds);

}  // namespace glorext
