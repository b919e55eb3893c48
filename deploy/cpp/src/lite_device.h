// A model built by the MindSpore Lite runtime for a device.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "include/api/model.h"

#include "files.h"
#include "flags.h"
#include "json.h"

namespace glorext {

struct DeviceOptions {
  std::string device = "cpu";
  int device_id = 0;
  int threads = 1;
  std::string precision;  // Ascend only; empty: the runtime's default
};

// A model file as the runtime is given it. `format` is "ms" or "lite-mindir"; `file` must outlive what is built of it.
struct ModelFile {
  const MappedFile& file;
  std::string path;
  std::string format;
};

// How many copies of a model run at once where `asked` is 0: on the CPU the cores divided by `threads`, on a card one.
int workers_for(const DeviceOptions& options, int asked);

// The flags --device, --device_id, --threads and --precision.
void device_flags(Flags& flags, DeviceOptions& options);

// Throws Usage when the flags contradict each other.
void check_device_flags(const DeviceOptions& options);

std::shared_ptr<mindspore::Context> make_context(const DeviceOptions& options);

// Runs `build`; throws Failure with the runtime's reason, which it gives as a status or throws, and with `hint`.
void build_or_fail(const ModelFile& model, const DeviceOptions& options, const std::string& hint,
                   const std::function<mindspore::Status()>& build);

std::unique_ptr<mindspore::Model> build_model(const ModelFile& model, const DeviceOptions& options);

// Names, types, shapes of the inputs and outputs of a built model.
Json describe_model(mindspore::Model& model);

}  // namespace glorext
