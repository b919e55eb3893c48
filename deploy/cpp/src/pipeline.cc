// Decoder threads -> bounded queue -> one inference thread per worker -> results in the order of the names.
#include "pipeline.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <exception>
#include <mutex>
#include <new>
#include <thread>

#include "failure.h"
#include "interrupt.h"
#include "progress.h"
#include "queue.h"

namespace glorext {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kNotRun = "not run: the run ended before";

double ms_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

class Pipeline {
 public:
  Pipeline(const std::vector<std::string>& names, const Source& source, LiteModel& model, int decoders,
           Journal* journal)
      : names_(names),
        source_(source),
        model_(model),
        decoders_(decoders),
        journal_(journal),
        classes_(static_cast<size_t>(model.classes())),
        logits_(names.size() * classes_),
        ms_(names.size()),
        errors_(names.size(), kNotRun),
        // Two batches per worker: the next one is ready when the current one is done.
        queue_(2 * static_cast<size_t>(model.workers() * model.batch())),
        progress_(names.size()) {}

  RunResult run() {
    if (journal_ != nullptr) take_over();
    std::vector<std::thread> threads;
    decoding_ = decoders_;
    for (int i = 0; i < decoders_; ++i) threads.emplace_back([this] { guarded([this] { decode(); }); });
    for (int i = 0; i < model_.workers(); ++i) threads.emplace_back([this] { guarded([this] { infer(); }); });
    for (std::thread& thread : threads) thread.join();
    progress_.finish();
    result_.seconds = seconds();
    gather();
    return std::move(result_);
  }

 private:
  // Of the whole run, with what was spent before it was ended.
  double seconds() const { return seconds_before_ + ms_since(begin_) / 1000; }

  void take_over() {
    const std::vector<Answered>& answered = journal_->answered();
    for (size_t i = 0; i < answered.size(); ++i) {
      if (errors_[answered[i].index].empty()) continue;
      count(answered[i], journal_->logits().data() + i * classes_);
      seconds_before_ = std::max(seconds_before_, answered[i].seconds);
    }
    progress_.begin(result_.latencies.size());
  }

  // An exception that is not about one picture stops every thread. What was computed before it is kept.
  template <class Body>
  void guarded(const Body& body) {
    try {
      body();
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!result_.broken) result_.broken = std::current_exception();
      stop();
    }
  }

  void stop() {
    stopped_ = true;
    queue_.close();
  }

  void decode() {
    for (size_t i = next_++; i < names_.size(); i = next_++) {
      if (interrupted()) stop();
      if (stopped_) return;
      if (errors_[i].empty()) continue;  // answered before the run was ended
      Sample sample;
      sample.index = i;
      try {
        source_(i, sample);
      } catch (const Failure& failure) {
        fail(i, failure.what());
        continue;
      } catch (const std::bad_alloc&) {
        fail(i, "out of memory while decoding");
        continue;
      }
      if (!queue_.push(std::move(sample))) return;
    }
    if (--decoding_ == 0) queue_.close();
  }

  void infer() {
    const auto batch = static_cast<size_t>(model_.batch());
    std::vector<uint8_t> input(batch * model_.row_bytes());
    std::vector<float> output(batch * classes_);
    for (;;) {
      std::vector<Sample> samples;
      while (samples.size() < batch) {
        std::optional<Sample> sample = queue_.pop();
        if (!sample) break;
        std::copy(sample->tensor.begin(), sample->tensor.end(), input.begin() + samples.size() * model_.row_bytes());
        sample->tensor = {};
        samples.push_back(std::move(*sample));
      }
      if (interrupted()) stop();
      if (samples.empty() || stopped_) return;
      const auto begin = Clock::now();
      model_.predict(input.data(), static_cast<int64_t>(samples.size()), output.data());
      keep(samples, output, ms_since(begin));
    }
  }

  void keep(const std::vector<Sample>& samples, std::vector<float>& output, double batch_ms) {
    std::vector<Answered> answers;
    for (size_t i = 0; i < samples.size(); ++i) {
      const Sample& sample = samples[i];
      const auto logits = output.begin() + static_cast<std::ptrdiff_t>(i * classes_);
      const auto end = logits + static_cast<std::ptrdiff_t>(classes_);
      if (!std::all_of(logits, end, [](float v) { return std::isfinite(v); })) {
        fail(sample.index, "the model's logits are not finite");
        continue;
      }
      std::copy(logits, end, output.begin() + static_cast<std::ptrdiff_t>(answers.size() * classes_));
      // Every picture of a batch waits for the whole batch.
      Stages stages = sample.stages;
      stages.infer = batch_ms / static_cast<double>(samples.size());
      const double ms = stages.read + stages.decode + stages.preprocess + batch_ms;
      answers.push_back({sample.index, sample.file, ms, stages, seconds()});
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    for (size_t i = 0; i < answers.size(); ++i) {
      count(answers[i], output.data() + i * classes_);
      progress_.advance();
    }
    if (journal_ != nullptr && !answers.empty()) journal_->add(answers, output.data());
  }

  void count(const Answered& one, const float* logits) {
    std::copy(logits, logits + classes_, logits_.begin() + static_cast<std::ptrdiff_t>(one.index * classes_));
    errors_[one.index].clear();
    ms_[one.index] = one.ms;
    result_.latencies.push_back(one.ms);
    for (double Stages::*stage : {&Stages::read, &Stages::decode, &Stages::preprocess, &Stages::infer})
      result_.stages.*stage += one.stages.*stage;
  }

  void fail(size_t index, const std::string& error) {
    const std::lock_guard<std::mutex> lock(mutex_);
    errors_[index] = error;
    progress_.advance();
    if (journal_ != nullptr) journal_->add_failed(index, error);
  }

  void gather() {
    result_.classes = static_cast<int64_t>(classes_);
    for (size_t i = 0; i < names_.size(); ++i) {
      if (!errors_[i].empty()) {
        result_.failed.push_back({names_[i], errors_[i]});
        if (errors_[i] == kNotRun) ++result_.not_run;
        continue;
      }
      const size_t row = result_.scored.size();
      if (row != i)
        std::copy_n(logits_.begin() + static_cast<std::ptrdiff_t>(i * classes_), classes_,
                    logits_.begin() + static_cast<std::ptrdiff_t>(row * classes_));
      result_.scored.push_back({names_[i], ms_[i]});
    }
    logits_.resize(result_.scored.size() * classes_);
    result_.logits = std::move(logits_);
  }

  const std::vector<std::string>& names_;
  const Source& source_;
  LiteModel& model_;
  const int decoders_;
  Journal* const journal_;
  const size_t classes_;
  const Clock::time_point begin_ = Clock::now();
  double seconds_before_ = 0;
  std::vector<float> logits_;
  std::vector<double> ms_;
  std::vector<std::string> errors_;
  BoundedQueue<Sample> queue_;
  std::atomic<size_t> next_{0};
  std::atomic<int> decoding_{0};
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;  // guards all that follows, and errors_
  RunResult result_;
  Progress progress_;
};

}  // namespace

RunResult run_pipeline(const std::vector<std::string>& names, const Source& source, LiteModel& model, int decoders,
                       Journal* journal) {
  return Pipeline(names, source, model, decoders, journal).run();
}

}  // namespace glorext
