// The public classifier over the contract, the decoders and the runtime.
#include "glorext/classifier.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "card.h"
#include "failure.h"
#include "inputs.h"
#include "lite_model.h"
#include "results.h"

namespace glorext {
namespace {

// Runs `body`; whatever it throws becomes an Error.
template <class Body>
auto told(const Body& body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    throw Error("out of memory");
  } catch (const std::exception& error) {
    throw Error(error.what());
  }
}

Contract checked_contract(const std::string& model, const MappedFile& file, const DeviceOptions& device) {
  Contract contract = read_contract(model);
  check_model_bytes(contract, file.data(), file.size());
  require_model_for(contract, device.device,
                    device.device == "cpu" ? Card{} : find_card(device.device, device.device_id));
  return contract;
}

DeviceOptions device_of(const Options& options) {
  if (options.device != "cpu" && std::find(kFamilies.begin(), kFamilies.end(), options.device) == kFamilies.end())
    throw Usage("the device " + in_quotes(options.device) + " is neither cpu nor a family of Ascend chips");
  if (options.threads < 1 || options.workers < 0 || options.device_id < 0)
    throw Usage("threads must be at least 1, workers and device_id at least 0");
  if (options.device == "cpu" && !options.precision.empty())
    throw Usage("precision is for Ascend; on the cpu a model runs as it was converted");
  return {options.device, options.device_id, options.threads, options.precision};
}

}  // namespace

class Classifier::Open {
 public:
  Open(const std::string& path, const DeviceOptions& device, int workers)
      : file_(path),
        contract_(checked_contract(path, file_, device)),
        model_(contract_, file_, device, 0, workers_for(device, workers)),
        inputs_(contract_, model_.layout()) {}

  const Contract& contract() const { return contract_; }
  const LiteModel& model() const { return model_; }

  Result answer(const Picture& picture) { return ask(inputs_.from_picture(picture)); }

  Result answer(const float* values, size_t count) {
    if (contract_.uint8_input) throw Usage(contract_.model_path + " takes bytes: give it a picture");
    const size_t wanted = inputs_.bytes() / sizeof(float);
    if (count != wanted || values == nullptr)
      throw Usage("expected " + std::to_string(wanted) + " values, [3, " + std::to_string(contract_.spec.size) + ", " +
                  std::to_string(contract_.spec.size) + "], found " + std::to_string(count));
    return ask(inputs_.from_tensor(values));
  }

 private:
  Result ask(const std::vector<uint8_t>& input) {
    Result result;
    result.logits.resize(static_cast<size_t>(contract_.classes));
    model_.predict(input.data(), 1, result.logits.data());
    for (const float logit : result.logits)
      if (!std::isfinite(logit)) throw Failure("the model's logits are not finite");
    const std::vector<double> shares = probabilities(result.logits, contract_.output_name);
    for (const int64_t index : top5(result.logits.data(), contract_.classes)) {
      const auto at = static_cast<size_t>(index);
      result.top.push_back(
          {index, contract_.labels.empty() ? std::to_string(index) : contract_.labels[at], shares[at]});
    }
    return result;
  }

  const MappedFile file_;
  const Contract contract_;
  LiteModel model_;
  const Inputs inputs_;
};

Classifier::Classifier(const std::string& model, const Options& options)
    : open_(told([&] { return std::make_unique<Open>(model, device_of(options), options.workers); })) {}

Classifier::~Classifier() = default;
Classifier::Classifier(Classifier&&) noexcept = default;
Classifier& Classifier::operator=(Classifier&&) noexcept = default;

int Classifier::size() const { return open_->contract().spec.size; }
int Classifier::workers() const { return open_->model().workers(); }
const std::vector<std::string>& Classifier::labels() const { return open_->contract().labels; }
int64_t Classifier::classes() const { return open_->contract().classes; }

Result Classifier::classify_file(const std::string& path) const {
  return told([&] { return open_->answer(decode_picture(read_file(path, kLargestPictureFile))); });
}

Result Classifier::classify_bytes(const void* data, size_t size) const {
  return told([&] {
    if (data == nullptr && size > 0) throw Usage("expected the bytes of a picture, found a null pointer");
    return open_->answer(decode_picture(std::string(static_cast<const char*>(data), size)));
  });
}

Result Classifier::classify_image(const uint8_t* rgb, int width, int height, size_t stride) const {
  return told([&] {
    check_dimensions(static_cast<uint64_t>(std::max(width, 0)), static_cast<uint64_t>(std::max(height, 0)));
    const size_t row = 3 * static_cast<size_t>(width);
    const size_t step = stride == 0 ? row : stride;
    if (rgb == nullptr || step < row)
      throw Usage("expected rows of at least " + std::to_string(row) + " bytes, found " +
                  (rgb == nullptr ? "a null pointer" : "a stride of " + std::to_string(step)));
    Picture picture{width, height, std::vector<uint8_t>(row * static_cast<size_t>(height))};
    for (size_t y = 0; y < static_cast<size_t>(height); ++y)
      std::memcpy(picture.rgb.data() + y * row, rgb + y * step, row);
    return open_->answer(picture);
  });
}

Result Classifier::classify_tensor(const float* values, size_t count) const {
  return told([&] { return open_->answer(values, count); });
}

}  // namespace glorext
