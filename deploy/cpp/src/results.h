// What a run found, and its writing as results.json and logits.npy.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "json.h"

namespace glorext {

struct Scored {
  std::string path;
  double ms = 0;  // reading, decoding, preprocessing and inference of this picture, without waiting in queues
};

struct Failed {
  std::string path;
  std::string error;
};

struct Stages {  // milliseconds, summed over the pictures
  double read = 0;
  double decode = 0;
  double preprocess = 0;
  double infer = 0;
};

struct RunSettings {
  std::string model_file;
  std::string model_sha256;
  std::string weights_dtype;
  Json model;          // what the model is, from its contract
  std::string output;  // what the rows are: "logits" or "probabilities"
  std::string device;
  Json card;  // id, count and chip; null on the cpu
  int64_t batch = 1;
  int workers = 1;
  int threads = 1;
  int warmup = 0;  // pictures to leave out of the latencies, but never more than half of them
  Json::Object versions;
};

struct RunResult {
  std::vector<Scored> scored;  // in the order of the rows of `logits`
  std::vector<Failed> failed;
  std::vector<float> logits;  // scored x classes
  int64_t classes = 0;
  Stages stages;
  std::vector<double> latencies;  // of the scored pictures, in the order in which they finished
  double seconds = 0;
  size_t not_run = 0;         // of `failed`: those that were not begun, or not finished, when the run ended
  std::exception_ptr broken;  // what ended the run; null where nothing did
};

// Class indices of the five (or fewer) largest logits, largest first; of equal ones the lower index first.
std::vector<int64_t> top5(const float* logits, int64_t classes);

// The probabilities of one row of a model's answers; `output` says what these are, "logits" or "probabilities".
std::vector<double> probabilities(const std::vector<float>& answers, const std::string& output);

// The value below which `fraction` of the sorted values lie, interpolated linearly; 0 for no values.
double percentile(const std::vector<double>& sorted, double fraction);

// Throws Usage when write_results would not be allowed to write there; to be called before the work begins.
void require_results_target(const std::string& out);

Json results_json(const RunSettings& settings, const RunResult& result);

// Writes the folder `out` as a whole or not at all.
void write_results(const std::string& out, const RunSettings& settings, const RunResult& result);

}  // namespace glorext
