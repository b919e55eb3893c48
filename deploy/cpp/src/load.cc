// Requests -> decoder threads -> bounded queue -> one thread per worker, with the moments at which each came and went.
#include "load.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <exception>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>

#include "failure.h"
#include "interrupt.h"
#include "queue.h"

namespace glorext {
namespace {

using Clock = std::chrono::steady_clock;
using Moment = Clock::time_point;

constexpr auto kNap = std::chrono::milliseconds(50);
constexpr size_t kLeastCalls = 2;  // of each worker

double ms_between(Moment begin, Moment end) { return std::chrono::duration<double, std::milli>(end - begin).count(); }

Clock::duration seconds_of(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

struct Request {
  size_t number = 0;
  Moment came;
  Sample sample;
};

struct Answer {
  size_t number = 0;
  Moment came;
  Moment gone;
  Stages stages;  // with the whole call as `infer`
  size_t rows = 1;
  size_t worker = 0;
};

class Measurement {
 public:
  Measurement(const Load& load, const Target& target, const Source& source, size_t inputs, const LoadSettings& settings)
      : load_(load),
        target_(target),
        source_(source),
        inputs_(inputs),
        decoders_(settings.decoders),
        begin_(Clock::now()),
        from_(begin_ + seconds_of(settings.warmup)),
        until_(from_ + seconds_of(settings.seconds)),
        // What a rate that is too high leaves behind is waited for as long as the measurement took, but no longer.
        deadline_(until_ + seconds_of(settings.seconds)),
        queue_(2 * static_cast<size_t>(target.workers) * target.batch),
        calls_(load.kind == Load::Kind::single ? 1 : static_cast<size_t>(target.workers)) {
    if (load.kind == Load::Kind::rate) plan();
  }

  LoadResult run() {
    if (load_.kind == Load::Kind::single) {
      guarded([this] { one_by_one(); });
    } else {
      std::vector<std::thread> threads;
      decoding_ = decoders_;
      for (int i = 0; i < decoders_; ++i) threads.emplace_back([this] { guarded([this] { decode(); }); });
      for (int i = 0; i < target_.workers; ++i)
        threads.emplace_back([=] { guarded([=] { answer(static_cast<size_t>(i)); }); });
      for (std::thread& thread : threads) thread.join();
    }
    if (broken_) std::rethrow_exception(broken_);
    if (interrupted()) throw Interrupted("stopped by Ctrl-C");
    return load_.kind == Load::Kind::rate ? of_rate() : of_answers();
  }

 private:
  void plan() {
    std::mt19937_64 generator(0);
    std::exponential_distribution<double> gap(load_.rate);
    for (Moment at = begin_ + seconds_of(gap(generator)); at < until_; at += seconds_of(gap(generator)))
      arrivals_.push_back(at);
  }

  template <class Body>
  void guarded(const Body& body) {
    try {
      body();
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!broken_) broken_ = std::current_exception();
      stop();
    }
  }

  void stop() {
    stopped_ = true;
    queue_.close();
  }

  // False: there is no next request.
  bool next(Request& request) {
    request.number = next_++;
    if (load_.kind != Load::Kind::rate) {
      request.came = Clock::now();
      if (over()) return false;
      const std::lock_guard<std::mutex> lock(mutex_);
      const size_t calls = std::accumulate(calls_.begin(), calls_.end(), size_t{0});
      if (request.came >= until_ && calls >= kLeastCalls * calls_.size()) ended_ = std::min(ended_, request.came);
      return ended_ == Moment::max();
    }
    if (request.number >= arrivals_.size()) return false;
    request.came = arrivals_[request.number];
    for (Moment now = Clock::now(); now < request.came; now = Clock::now()) {
      if (over()) return false;
      std::this_thread::sleep_until(std::min(request.came, now + kNap));
    }
    return !over();
  }

  void decode() {
    Request request;
    while (next(request)) {
      request.sample = Sample{};
      source_(request.number % inputs_, request.sample);
      if (!queue_.push(std::move(request))) return;
    }
    if (--decoding_ == 0) queue_.close();
  }

  void answer(size_t worker) {
    std::vector<uint8_t> input(target_.batch * target_.row_bytes);
    for (;;) {
      std::vector<Request> requests;
      while (requests.size() < target_.batch) {
        const bool waits = requests.empty() || load_.kind == Load::Kind::full;
        std::optional<Request> request = waits ? queue_.pop() : queue_.try_pop();
        if (!request) break;
        put(*request, input, requests.size());
        requests.push_back(std::move(*request));
      }
      if (requests.empty()) return;
      if (over()) return queue_.close();
      call(requests, input, worker);
    }
  }

  bool over() const {
    return stopped_ || interrupted() || (load_.kind == Load::Kind::rate && Clock::now() > deadline_);
  }

  void one_by_one() {
    std::vector<uint8_t> input(target_.row_bytes);
    std::vector<Request> requests(1);
    while (next(requests[0])) {
      requests[0].sample = Sample{};
      source_(requests[0].number % inputs_, requests[0].sample);
      put(requests[0], input, 0);
      call(requests, input, 0);
    }
  }

  void put(Request& request, std::vector<uint8_t>& input, size_t row) const {
    std::copy(request.sample.tensor.begin(), request.sample.tensor.end(),
              input.begin() + static_cast<std::ptrdiff_t>(row * target_.row_bytes));
    request.sample.tensor = {};
  }

  void call(const std::vector<Request>& requests, const std::vector<uint8_t>& input, size_t worker) {
    const Moment called = Clock::now();
    target_.answer(input.data(), requests.size());
    const Moment gone = Clock::now();
    const std::lock_guard<std::mutex> lock(mutex_);
    if (gone >= from_) ++calls_[worker];
    for (const Request& request : requests) {
      Answer one{request.number, request.came, gone, request.sample.stages, requests.size(), worker};
      one.stages.infer = ms_between(called, gone);
      answers_.push_back(one);
    }
  }

  // What was asked in the measured time. Whatever got no answer has waited at least until now.
  LoadResult of_rate() const {
    LoadResult result;
    const Moment end = Clock::now();
    std::vector<bool> answered(arrivals_.size());
    std::vector<Answer> counted;
    Moment last = until_;
    for (const Answer& one : answers_) {
      answered[one.number] = true;
      if (one.came < from_) continue;
      counted.push_back(one);
      last = std::max(last, one.gone);
    }
    describe(counted, result);
    result.throughput = static_cast<double>(counted.size()) / (ms_between(from_, last) / 1000);
    for (size_t i = 0; i < arrivals_.size(); ++i) {
      if (answered[i] || arrivals_[i] < from_) continue;
      ++result.unanswered;
      result.latencies.push_back(ms_between(arrivals_[i], end));
    }
    std::sort(result.latencies.begin(), result.latencies.end());
    return result;
  }

  // What was answered in the measured time. Rows come a batch at a time, so that they are counted from one call's end
  // to another's, of each worker for itself.
  LoadResult of_answers() const {
    LoadResult result;
    std::vector<Answer> counted;
    for (const Answer& one : answers_)
      if (one.gone >= from_ && one.gone <= ended_) counted.push_back(one);
    for (size_t worker = 0; worker < calls_.size(); ++worker) {
      Moment first = ended_;
      Moment last = from_;
      for (const Answer& one : counted)
        if (one.worker == worker) first = std::min(first, one.gone), last = std::max(last, one.gone);
      double rows = 0;
      for (const Answer& one : counted) rows += one.worker == worker && one.gone > first ? 1 : 0;
      if (rows > 0) result.throughput += rows / (ms_between(first, last) / 1000);
    }
    describe(counted, result);
    return result;
  }

  static void describe(const std::vector<Answer>& counted, LoadResult& result) {
    double calls = 0;
    for (const Answer& one : counted) {
      const double latency = ms_between(one.came, one.gone);
      result.latencies.push_back(latency);
      const Stages& spent = one.stages;
      result.wait += latency - spent.read - spent.decode - spent.preprocess - spent.infer;
      for (double Stages::*stage : {&Stages::read, &Stages::decode, &Stages::preprocess, &Stages::infer})
        result.stages.*stage += spent.*stage;
      calls += 1 / static_cast<double>(one.rows);
    }
    std::sort(result.latencies.begin(), result.latencies.end());
    if (counted.empty()) return;
    const auto count = static_cast<double>(counted.size());
    result.wait /= count;
    for (double Stages::*stage : {&Stages::read, &Stages::decode, &Stages::preprocess, &Stages::infer})
      result.stages.*stage /= count;
    result.batch = count / calls;
  }

  const Load& load_;
  const Target& target_;
  const Source& source_;
  const size_t inputs_;
  const int decoders_;
  const Moment begin_;
  const Moment from_;
  const Moment until_;
  const Moment deadline_;
  std::vector<Moment> arrivals_;
  BoundedQueue<Request> queue_;
  std::atomic<size_t> next_{0};
  std::atomic<int> decoding_{0};
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;  // guards what follows
  std::vector<Answer> answers_;
  std::vector<size_t> calls_;  // of each worker, that ended in the measured time or later
  Moment ended_ = Moment::max();
  std::exception_ptr broken_;
};

}  // namespace

std::vector<Load> parse_loads(const std::string& text) {
  std::vector<Load> loads;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    begin = end + 1;
    if (word == "single" || word == "full") {
      loads.push_back({word == "full" ? Load::Kind::full : Load::Kind::single, 0});
      continue;
    }
    char* rest = nullptr;
    const double rate = std::strtod(word.c_str(), &rest);
    if (word.empty() || *rest != '\0' || !(rate > 0) || rate > kHighestRate)
      throw Usage("expected single, full or requests a second, found " + in_quotes(word));
    loads.push_back({Load::Kind::rate, rate});
  }
  return loads;
}

LoadResult measure(const Load& load, const Target& target, const Source& source, size_t inputs,
                   const LoadSettings& settings) {
  return Measurement(load, target, source, inputs, settings).run();
}

Json load_json(const Load& load, const LoadResult& result) {
  const std::vector<double>& all = result.latencies;
  Json::Object latency{
      {"mean", all.empty() ? Json() : std::accumulate(all.begin(), all.end(), 0.0) / static_cast<double>(all.size())},
      {"max", all.empty() ? Json() : Json(all.back())}};
  for (const auto& [name, fraction] : {std::pair{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}}) {
    const bool enough = static_cast<double>(all.size()) * (1 - fraction) >= 1 - 1e-9;
    latency[name] = enough ? Json(percentile(all, fraction)) : Json();
  }
  const char* kind = load.kind == Load::Kind::single ? "single" : load.kind == Load::Kind::full ? "full" : "rate";
  return Json::Object{{"load", kind},
                      {"rate", load.kind == Load::Kind::rate ? Json(load.rate) : Json()},
                      {"count", static_cast<int64_t>(all.size())},
                      {"unanswered", static_cast<int64_t>(result.unanswered)},
                      {"throughput", result.throughput},
                      {"batch", result.batch},
                      {"latency_ms", latency},
                      {"stages_ms", Json::Object{{"wait", result.wait},
                                                 {"read", result.stages.read},
                                                 {"decode", result.stages.decode},
                                                 {"preprocess", result.stages.preprocess},
                                                 {"infer", result.stages.infer}}}};
}

}  // namespace glorext
