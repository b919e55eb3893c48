// How fast a model answers under a load: one request after another, as many as it can take, or as they come at a rate.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "json.h"
#include "sample.h"

namespace glorext {

// `single`: the next request comes when the last one is answered. `full`: there is always a next one. `rate`: requests
// come at random moments (a Poisson process), `rate` a second, whether or not the ones before are answered.
struct Load {
  enum class Kind { single, full, rate };
  Kind kind = Kind::full;
  double rate = 0;
};

constexpr double kHighestRate = 1e6;

// "single", "full" and numbers, with commas between them. Throws Usage.
std::vector<Load> parse_loads(const std::string& text);

// What answers: `answer` takes 1 to `batch` rows of `row_bytes` each, for `workers` threads at once.
struct Target {
  int workers = 1;
  size_t batch = 1;
  size_t row_bytes = 0;
  std::function<void(const uint8_t* input, size_t rows)> answer;
};

struct LoadSettings {
  int decoders = 1;
  double warmup = 0;   // seconds before the measurement, under the same load
  double seconds = 1;  // of the measurement; `single` and `full` go on until two answers fall into it
};

struct LoadResult {
  double throughput = 0;          // answers a second
  std::vector<double> latencies;  // milliseconds from when a request came to its answer, sorted
  double wait = 0;                // means in milliseconds, which add up to the mean latency: waiting for a thread,
  Stages stages;                  // ... a decoder's work, and `infer`, the call of the whole batch that it was in
  double batch = 0;               // mean rows of a call
  size_t unanswered = 0;          // of `latencies`: requests of a rate that is too high, with how long they had waited
};

// Request number i is input i % inputs of `source`. With a rate a worker takes what waits, up to a batch; otherwise it
// waits for a full one. Throws what `source` and `answer` throw, and Interrupted.
LoadResult measure(const Load& load, const Target& target, const Source& source, size_t inputs,
                   const LoadSettings& settings);

// Percentiles of too few requests to tell are null: there must be one beyond them.
Json load_json(const Load& load, const LoadResult& result);

}  // namespace glorext
