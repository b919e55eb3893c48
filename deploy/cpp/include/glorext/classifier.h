// libglorext: classify pictures with a model that `glorext convert` made, in your own program.
//
//   glorext::Classifier classifier("resnext50_lite.mindir");
//   for (const glorext::Answer& answer : classifier.classify_file("cat.jpg").top)
//     std::cout << answer.label << ' ' << answer.probability << '\n';
//
// The library reads the contract beside the model (MODEL.json): its preprocessing, labels, prepared batch sizes and
// digest. Pictures are decoded, resized and normalized exactly as `glorext validate` does it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "glorext/export.h"

namespace glorext {

// Whatever goes wrong. The message says what was expected, what was found, and where.
class GLOREXT_API Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Options {
  std::string device = "cpu";  // "cpu", "ascend310", "ascend310p", "ascend310b" or "ascend910"; never replaced
  int device_id = 0;           // which card
  int workers = 0;             // pictures that the model answers at once; 0: the cores divided by threads, a card: 1
  int threads = 1;             // of each worker
  std::string precision;       // Ascend only, as `glorext infer` has it; empty: the runtime's default
};

struct Answer {
  int64_t index = 0;  // of the class
  std::string label;  // its name; the index, where the model carries no labels
  double probability = 0;
};

struct Result {
  std::vector<float> logits;  // one for each class; probabilities where the model ends with a softmax
  std::vector<Answer> top;    // the five most probable classes, or all where there are fewer, best first
};

// A model that is open. All classify functions may be called from several threads at once: as many as there are workers
// are answered at the same time, the others wait. The weights are in memory once on the CPU.
class GLOREXT_API Classifier {
 public:
  // `model`: a .ms or .mindir file of MindSpore Lite, its contract beside it. Throws Error.
  explicit Classifier(const std::string& model, const Options& options = Options());
  ~Classifier();
  Classifier(Classifier&&) noexcept;
  Classifier& operator=(Classifier&&) noexcept;

  // The side of the square input, in pixels.
  int size() const;
  // Pictures that are answered at once.
  int workers() const;
  // One for each class; empty where the model carries none.
  const std::vector<std::string>& labels() const;
  // How many classes there are.
  int64_t classes() const;

  // Each throws Error: no whole JPEG or PNG, no such file, or the model gave an answer that is not finite.
  Result classify_file(const std::string& path) const;
  // The bytes of a JPEG or PNG file in memory.
  Result classify_bytes(const void* data, size_t size) const;
  // A decoded picture: eight bits for each of R, G, B, rows from top to bottom, `stride` bytes apart (0: 3 * width).
  Result classify_image(const uint8_t* rgb, int width, int height, size_t stride = 0) const;
  // An input as the network takes it: float32 [3, size, size], resized, cropped and normalized already. For models
  // that normalize by themselves 0 to 255; models that take bytes (AIPP) refuse it.
  Result classify_tensor(const float* values, size_t count) const;

 private:
  class Open;
  std::unique_ptr<Open> open_;
};

// The version of MindSpore Lite that the library was built with.
GLOREXT_API std::string runtime_version();

}  // namespace glorext
