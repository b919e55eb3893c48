// The stand-in's "models": a line of text that says what a compiled one would.
//   STAND_IN chip=Ascend310P3 batches=1,8 uint8=0 nhwc=0 side=32 classes=10 batch=1 known=0 wrong=0
// With known=K the line is followed by K inputs and their outputs, float32, computed elsewhere: a row that is one of
// these inputs gets its outputs, any other gets NaN. Without, an execution sums its inputs: class c gets the sum of the
// values whose place is c modulo the number of classes, divided by 1000. At the batch size `wrong` all outputs are
// zero.
//   STAND_IN_LOG    file that gets a line for each execution: its batch
//   STAND_IN_LOST   the card is lost after so many executions
//   STAND_IN_SLOW   milliseconds of each execution
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <sstream>
#include <thread>
#include <vector>

#include "device.h"

extern "C" const char* aclrtGetSocName();

using namespace stand_in;

namespace {

constexpr int kFailed = 500002;         // ACL_ERROR_GE_FAILURE
constexpr int kNoModel = 145001;        // ACL_ERROR_GE_EXEC_MODEL_ID_INVALID
constexpr int kWrongChip = 545003;      // what a model for another chip gives
constexpr int kLostHeartbeat = 507901;  // ACL_ERROR_RT_LOST_HEARTBEAT
// How far an input may be from a known one: rounding, and a level of 255.
constexpr double kSame = 1e-3, kSamePixel = 1;
constexpr int kFloat = 0, kInt32 = 3, kUint8 = 4;  // aclDataType
constexpr int kNchw = 0, kNhwc = 1, kNd = 2;       // aclFormat
constexpr const char* kInput = "image";
constexpr const char* kSize = "ascend_mbatch_shape_data";  // the second input of a model with prepared sizes
constexpr const char* kOutput = "logits";

struct Dims {  // aclmdlIODims
  char name[128];
  size_t count;
  int64_t sizes[128];
};
struct Batches {  // aclmdlBatch
  size_t count;
  uint64_t sizes[128];
};

struct Model {
  std::string chip;
  std::vector<uint64_t> batches;  // prepared, rising; empty: `batch` alone
  uint64_t batch = 1;
  uint64_t current = 0;
  uint64_t side = 32, classes = 10, known = 0, wrong = 0;
  bool uint8 = false, nhwc = false;
  std::string inputs, outputs;  // the known ones

  bool open() const { return !batches.empty(); }
  uint64_t most() const { return open() ? batches.back() : batch; }
  uint64_t rows() const { return open() && current != 0 ? current : most(); }
  uint64_t values() const { return 3 * side * side; }
  size_t width() const { return uint8 ? 1 : sizeof(float); }
};

struct Description {
  Model* model = nullptr;
};
struct Buffer {
  void* data;
  size_t size;
};
struct Shape {
  std::vector<int64_t> sizes;
  int type;
};
struct Dataset {
  std::vector<Buffer*> buffers;
  std::map<size_t, Shape*> shapes;

  ~Dataset() {
    for (const auto& one : shapes) delete one.second;
  }
};

std::map<uint32_t, Model> models;
std::atomic<uint64_t> executions{0};

size_t width(int type) { return type == kUint8 ? 1 : 4; }

bool parse(const std::string& text, Model& model) {
  const size_t end = std::min(text.size(), text.find('\n'));
  std::istringstream words(text.substr(0, end));
  std::string word;
  if (!(words >> word) || word != "STAND_IN") return false;
  while (words >> word) {
    const std::string key = word.substr(0, word.find('=')), value = word.substr(word.find('=') + 1);
    const uint64_t number = std::strtoull(value.c_str(), nullptr, 10);
    if (key == "chip") model.chip = value;
    if (key == "batch") model.batch = number;
    if (key == "side") model.side = number;
    if (key == "classes") model.classes = number;
    if (key == "known") model.known = number;
    if (key == "wrong") model.wrong = number;
    if (key == "uint8") model.uint8 = number == 1;
    if (key == "nhwc") model.nhwc = number == 1;
    std::istringstream sizes(key == "batches" ? value : "");
    while (std::getline(sizes, word, ',')) model.batches.push_back(std::strtoull(word.c_str(), nullptr, 10));
  }
  if (model.known == 0) return true;
  const size_t inputs = model.known * model.values() * model.width(), outputs = model.known * model.classes * 4;
  if (text.size() != end + 1 + inputs + outputs) return false;
  model.inputs = text.substr(end + 1, inputs);
  model.outputs = text.substr(end + 1 + inputs);
  return true;
}

double value_at(const Model& model, const char* data, uint64_t index) {
  if (model.uint8) return static_cast<uint8_t>(data[index]);
  float value = 0;
  std::memcpy(&value, data + index * sizeof value, sizeof value);
  return value;
}

bool is_known(const Model& model, const char* row, uint64_t known) {
  const char* const other = model.inputs.data() + known * model.values() * model.width();
  for (uint64_t at = 0; at < model.values(); ++at)
    if (!(std::fabs(value_at(model, row, at) - value_at(model, other, at)) <= (model.uint8 ? kSamePixel : kSame)))
      return false;
  return true;
}

void recall(const Model& model, const char* row, float* outputs) {
  for (uint64_t known = 0; known < model.known; ++known)
    if (is_known(model, row, known)) {
      std::memcpy(outputs, model.outputs.data() + known * model.classes * sizeof(float), model.classes * sizeof(float));
      return;
    }
  std::fill_n(outputs, model.classes, std::numeric_limits<float>::quiet_NaN());
}

void sum(const Model& model, const char* row, float* outputs) {
  for (uint64_t label = 0; label < model.classes; ++label) {
    double sum = 0;
    for (uint64_t at = label; at < model.values(); at += model.classes) sum += value_at(model, row, at);
    outputs[label] = static_cast<float>(sum / 1000);
  }
}

bool log(uint64_t rows) {
  const char* const path = std::getenv("STAND_IN_LOG");
  if (path == nullptr) return true;
  std::FILE* const file = std::fopen(path, "a");
  if (file == nullptr) return false;
  std::fprintf(file, "%llu\n", static_cast<unsigned long long>(rows));
  return std::fclose(file) == 0;
}

void fill(Dims* dims, const char* name, std::initializer_list<int64_t> sizes) {
  std::memset(dims, 0, sizeof *dims);
  std::strncpy(dims->name, name, sizeof dims->name - 1);
  dims->count = sizes.size();
  std::copy(sizes.begin(), sizes.end(), dims->sizes);
}

int input_dims(const Description* description, size_t index, Dims* dims) {
  const Model& model = *description->model;
  const int64_t rows = model.open() ? -1 : static_cast<int64_t>(model.batch), side = static_cast<int64_t>(model.side);
  if (index != 0)
    fill(dims, kSize, {1});
  else if (model.nhwc)
    fill(dims, kInput, {rows, side, side, 3});
  else
    fill(dims, kInput, {rows, 3, side, side});
  return 0;
}

}  // namespace

extern "C" {

int aclmdlLoadFromMem(const void* data, size_t size, uint32_t* id) {
  if (const int error = require_context()) return error;
  Model model;
  if (!parse(std::string(static_cast<const char*>(data), size), model)) return failed(kFailed, "E00000: no model");
  const char* const chip = aclrtGetSocName();
  if (!model.chip.empty() && (chip == nullptr || model.chip != chip))
    return failed(kWrongChip, "E00001: the model is for " + model.chip);
  *id = models.empty() ? 1 : models.rbegin()->first + 1;
  models[*id] = model;
  return take(&models[*id], size);
}
int aclmdlUnload(uint32_t id) {
  const auto found = models.find(id);
  if (found == models.end()) return kNoModel;
  give_back(&found->second);
  models.erase(found);
  return 0;
}

Description* aclmdlCreateDesc() { return new Description; }
int aclmdlDestroyDesc(Description* description) {
  delete description;
  return 0;
}
int aclmdlGetDesc(Description* description, uint32_t id) {
  const auto found = models.find(id);
  if (found == models.end()) return kNoModel;
  description->model = &found->second;
  return 0;
}

size_t aclmdlGetNumInputs(const Description* description) { return description->model->open() ? 2 : 1; }
size_t aclmdlGetNumOutputs(const Description*) { return 1; }
size_t aclmdlGetInputSizeByIndex(const Description* description, size_t index) {
  const Model& model = *description->model;
  return index != 0 ? 4 : model.most() * model.values() * width(model.uint8 ? kUint8 : kFloat);
}
size_t aclmdlGetOutputSizeByIndex(const Description* description, size_t) {
  return description->model->most() * description->model->classes * sizeof(float);
}
int aclmdlGetInputDims(const Description* description, size_t index, Dims* dims) {
  return input_dims(description, index, dims);
}
int aclmdlGetInputDimsV2(const Description* description, size_t index, Dims* dims) {
  return input_dims(description, index, dims);
}
int aclmdlGetOutputDims(const Description* description, size_t, Dims* dims) {
  const Model& model = *description->model;
  fill(dims, kOutput, {static_cast<int64_t>(model.most()), static_cast<int64_t>(model.classes)});
  return 0;
}
int aclmdlGetCurOutputDims(const Description* description, size_t, Dims* dims) {
  const Model& model = *description->model;
  fill(dims, kOutput, {static_cast<int64_t>(model.rows()), static_cast<int64_t>(model.classes)});
  return 0;
}
const char* aclmdlGetInputNameByIndex(const Description*, size_t index) { return index == 0 ? kInput : kSize; }
const char* aclmdlGetOutputNameByIndex(const Description*, size_t) { return kOutput; }
int aclmdlGetInputFormat(const Description* description, size_t index) {
  return index != 0 ? kNd : description->model->nhwc ? kNhwc : kNchw;
}
int aclmdlGetOutputFormat(const Description*, size_t) { return kNd; }
int aclmdlGetInputDataType(const Description* description, size_t index) {
  return index != 0 ? kInt32 : description->model->uint8 ? kUint8 : kFloat;
}
int aclmdlGetOutputDataType(const Description*, size_t) { return kFloat; }
int aclmdlGetInputIndexByName(const Description* description, const char* name, size_t* index) {
  *index = std::strcmp(name, kInput) == 0 ? 0 : 1;
  return *index == 0 || (description->model->open() && std::strcmp(name, kSize) == 0) ? 0 : kFailed;
}

int aclmdlGetDynamicBatch(const Description* description, Batches* batches) {
  const std::vector<uint64_t>& sizes = description->model->batches;
  std::memset(batches, 0, sizeof *batches);
  batches->count = sizes.size();
  std::copy(sizes.begin(), sizes.end(), batches->sizes);
  return 0;
}
int aclmdlSetDynamicBatchSize(uint32_t id, Dataset*, size_t, uint64_t size) {
  Model& model = models.at(id);
  if (std::find(model.batches.begin(), model.batches.end(), size) == model.batches.end()) return kFailed;
  model.current = size;
  return 0;
}
// Other kinds of open shapes: none of these models has them.
int aclmdlGetDynamicHW(const Description*, size_t, size_t* count) {
  *count = 0;
  return 0;
}
int aclmdlGetInputDynamicGearCount(const Description*, size_t, size_t* count) {
  *count = 0;
  return 0;
}
int aclmdlGetInputDynamicDims(const Description*, size_t, Dims*, size_t) { return 0; }
int aclmdlSetInputDynamicDims(uint32_t, Dataset*, size_t, const Dims*) { return kFailed; }
int aclmdlSetDynamicHWSize(uint32_t, Dataset*, size_t, uint64_t, uint64_t) { return kFailed; }

Dataset* aclmdlCreateDataset() { return new Dataset; }
int aclmdlDestroyDataset(Dataset* dataset) {
  delete dataset;
  return 0;
}
int aclmdlAddDatasetBuffer(Dataset* dataset, Buffer* buffer) {
  dataset->buffers.push_back(buffer);
  return 0;
}
size_t aclmdlGetDatasetNumBuffers(const Dataset* dataset) { return dataset->buffers.size(); }
Buffer* aclmdlGetDatasetBuffer(const Dataset* dataset, size_t index) { return dataset->buffers.at(index); }
Buffer* aclCreateDataBuffer(void* data, size_t size) { return new Buffer{data, size}; }
int aclDestroyDataBuffer(Buffer* buffer) {
  delete buffer;
  return 0;
}
void* aclGetDataBufferAddr(const Buffer* buffer) { return buffer->data; }
int aclUpdateDataBuffer(Buffer* buffer, void* data, size_t size) {
  *buffer = {data, size};
  return 0;
}
Shape* aclCreateTensorDesc(int type, int count, const int64_t* sizes, int) {
  return new Shape{{sizes, sizes + count}, type};
}
void aclDestroyTensorDesc(Shape* shape) { delete shape; }
int aclmdlSetDatasetTensorDesc(Dataset* dataset, Shape* shape, size_t index) {
  // The caller destroys its own.
  Shape*& kept = dataset->shapes[index];
  delete kept;
  kept = new Shape(*shape);
  return 0;
}
Shape* aclmdlGetDatasetTensorDesc(const Dataset* dataset, size_t index) {
  const auto found = dataset->shapes.find(index);
  return found == dataset->shapes.end() ? nullptr : found->second;
}
size_t aclGetTensorDescNumDims(const Shape* shape) { return shape->sizes.size(); }
int64_t aclGetTensorDescDim(const Shape* shape, size_t index) { return shape->sizes.at(index); }
size_t aclGetTensorDescSize(const Shape* shape) {
  size_t size = width(shape->type);
  for (const int64_t one : shape->sizes) size *= static_cast<size_t>(one);
  return size;
}
size_t aclDataTypeSize(int type) { return width(type); }

int aclmdlExecute(uint32_t id, const Dataset* inputs, Dataset* outputs) {
  if (const int error = require_context()) return error;
  const char* const lost = std::getenv("STAND_IN_LOST");
  if (executions++ >= (lost == nullptr ? UINT64_MAX : std::strtoull(lost, nullptr, 10)))
    return failed(kLostHeartbeat, "EE9999: the card's heartbeat is lost");
  if (const char* const slow = std::getenv("STAND_IN_SLOW"))
    std::this_thread::sleep_for(std::chrono::milliseconds(std::atoi(slow)));
  const Model& model = models.at(id);
  const uint64_t rows = model.rows(), row_bytes = model.values() * model.width();
  const Buffer &input = *inputs->buffers.at(0), &output = *outputs->buffers.at(0);
  if (input.size < rows * row_bytes || output.size < rows * model.classes * sizeof(float))
    return failed(kFailed, "E00002: a buffer is too small");
  for (uint64_t row = 0; row < rows; ++row)
    (model.known != 0 ? recall : sum)(model, static_cast<const char*>(input.data) + row * row_bytes,
                                      static_cast<float*>(output.data) + row * model.classes);
  if (rows == model.wrong) std::memset(output.data, 0, rows * model.classes * sizeof(float));
  return log(rows) ? 0 : kFailed;
}

}  // extern "C"
