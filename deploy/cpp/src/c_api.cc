// The C functions over the C++ classifier: no exception leaves them.
#include <algorithm>
#include <new>

#include "glorext/classifier.h"
#include "glorext/glorext.h"

struct glorext_classifier {
  glorext::Classifier classifier;
  // The names that answers point to: all are made at the beginning, so that threads only read them.
  std::vector<std::string> labels;
};

namespace {

thread_local std::string last_error;

// What `body` returns, or `failed` with the reason in last_error.
template <class Value, class Body>
Value guarded(Value failed, const Body& body) {
  last_error.clear();
  try {
    return body();
  } catch (const std::bad_alloc&) {
    last_error = "out of memory";
  } catch (const std::exception& error) {
    last_error = error.what();
  }
  return failed;
}

template <class Ask>
int answers_of(const glorext_classifier* classifier, glorext_answer* answers, int room, const Ask& ask) {
  return guarded(-1, [&] {
    if (classifier == nullptr) throw glorext::Error("the classifier is NULL");
    if (room < 0 || (answers == nullptr && room > 0)) throw glorext::Error("there is no room for answers");
    const glorext::Result result = ask(classifier->classifier);
    const int count = std::min(room, static_cast<int>(result.top.size()));
    for (int i = 0; i < count; ++i) {
      const glorext::Answer& one = result.top[static_cast<size_t>(i)];
      answers[i] = {one.index, classifier->labels[static_cast<size_t>(one.index)].c_str(), one.probability};
    }
    return count;
  });
}

}  // namespace

extern "C" {

const char* glorext_error(void) { return last_error.c_str(); }

glorext_classifier* glorext_open(const char* model, const char* device, int device_id, int workers) {
  return guarded(static_cast<glorext_classifier*>(nullptr), [&] {
    if (model == nullptr) throw glorext::Error("the model's path is NULL");
    glorext::Options options;
    if (device != nullptr) options.device = device;
    options.device_id = device_id;
    options.workers = workers;
    glorext::Classifier classifier(model, options);
    std::vector<std::string> labels = classifier.labels();
    if (labels.empty())
      for (int64_t i = 0; i < classifier.classes(); ++i) labels.push_back(std::to_string(i));
    return new glorext_classifier{std::move(classifier), std::move(labels)};
  });
}

void glorext_close(glorext_classifier* classifier) { delete classifier; }

int64_t glorext_classes(const glorext_classifier* classifier) { return classifier->classifier.classes(); }
int glorext_size(const glorext_classifier* classifier) { return classifier->classifier.size(); }
int glorext_workers(const glorext_classifier* classifier) { return classifier->classifier.workers(); }

int glorext_classify_file(const glorext_classifier* classifier, const char* path, glorext_answer* answers, int room) {
  return answers_of(classifier, answers, room, [&](const glorext::Classifier& open) {
    if (path == nullptr) throw glorext::Error("the picture's path is NULL");
    return open.classify_file(path);
  });
}

int glorext_classify_bytes(const glorext_classifier* classifier, const void* data, size_t size, glorext_answer* answers,
                           int room) {
  return answers_of(classifier, answers, room,
                    [&](const glorext::Classifier& open) { return open.classify_bytes(data, size); });
}

int glorext_classify_image(const glorext_classifier* classifier, const uint8_t* rgb, int width, int height,
                           size_t stride, glorext_answer* answers, int room) {
  return answers_of(classifier, answers, room,
                    [&](const glorext::Classifier& open) { return open.classify_image(rgb, width, height, stride); });
}

int glorext_classify_tensor(const glorext_classifier* classifier, const float* values, size_t count,
                            glorext_answer* answers, int room) {
  return answers_of(classifier, answers, room,
                    [&](const glorext::Classifier& open) { return open.classify_tensor(values, count); });
}

}  // extern "C"
