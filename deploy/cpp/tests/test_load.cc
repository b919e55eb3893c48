// Loads on something that answers after a known time.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "load.h"
#include "support.h"

using namespace glorext;

namespace {

constexpr Load kSingle{Load::Kind::single, 0};
constexpr Load kFull{Load::Kind::full, 0};

void sleep_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

Target answering_after(int ms, int workers, size_t batch = 1) {
  return {workers, batch, 1, [ms](const uint8_t*, size_t) { sleep_ms(ms); }};
}

void at_once(size_t, Sample& sample) { sample.tensor = {1}; }

double stages_of(const LoadResult& result) {
  const Stages& spent = result.stages;
  return result.wait + spent.read + spent.decode + spent.preprocess + spent.infer;
}

}  // namespace

TEST_CASE("one request after another takes as long as the answer, and the stages add up to the latency") {
  const Source source = [](size_t, Sample& sample) {
    sleep_ms(5);
    sample.stages.decode = 5;
    sample.tensor = {1};
  };
  const LoadResult result = measure(kSingle, answering_after(20, 1), source, 3, {1, 0, 0.5});
  const std::vector<double>& all = result.latencies;
  REQUIRE(all.size() >= 2);
  CHECK(all.front() >= 25);
  CHECK(result.throughput <= 40);
  CHECK(result.stages.infer >= 20);
  double sum = 0;
  for (const double one : all) sum += one;
  CHECK(stages_of(result) == doctest::Approx(sum / static_cast<double>(all.size())));
}

TEST_CASE("two workers with batches of four answer eight in the time of one call") {
  const LoadResult result = measure(kFull, answering_after(40, 2, 4), at_once, 1, {1, 0.1, 0.8});
  CHECK(result.throughput <= 201);
  CHECK(result.throughput > 0);
  CHECK(result.batch == doctest::Approx(4));
}

// Waiting for a full batch would take 0.4 s of requests.
TEST_CASE("at a low rate every request is answered, without waiting for a full batch") {
  const LoadResult result = measure({Load::Kind::rate, 20}, answering_after(10, 2, 8), at_once, 1, {1, 0.2, 2});
  CHECK(result.unanswered == 0);
  CHECK(result.latencies.size() >= 20);
  CHECK(result.latencies.size() <= 65);
  CHECK(result.latencies.front() >= 10);
  CHECK(result.latencies[result.latencies.size() / 2] < 200);
  CHECK(result.batch < 4);
}

TEST_CASE("a rate that is too high is answered as fast as can be, and what waited too long counts with its time") {
  const LoadResult result = measure({Load::Kind::rate, 400}, answering_after(20, 1), at_once, 1, {1, 0, 0.5});
  CHECK(result.throughput <= 51);
  CHECK(result.unanswered > 50);
  CHECK(result.latencies.size() >= 120);
  // The last ones came at half a second and were given up at a second.
  CHECK(result.latencies[result.latencies.size() / 2] > 300);
}

TEST_CASE("the warm-up is not counted") {
  std::atomic<int> calls{0};
  const Target slow_at_first{1, 1, 1, [&](const uint8_t*, size_t) { sleep_ms(calls++ == 0 ? 600 : 5); }};
  const LoadResult result = measure(kSingle, slow_at_first, at_once, 1, {1, 0.7, 0.3});
  CHECK(result.latencies.back() < 600);
}

TEST_CASE("what takes longer than the measurement is measured all the same") {
  const LoadResult result = measure(kFull, answering_after(100, 1), at_once, 1, {1, 0, 0.01});
  CHECK(result.latencies.size() >= 2);
  CHECK(result.throughput <= 10.01);
  CHECK(result.throughput > 0);
}

TEST_CASE("a picture that cannot be read and a model that fails end the measurement with their message") {
  const Source broken = [](size_t i, Sample& sample) {
    if (i == 2) throw Failure("cannot be read");
    sample.tensor = {1};
  };
  const Target failing{2, 1, 1, [](const uint8_t*, size_t) { throw Failure("cannot answer"); }};
  for (const Load& load : {kSingle, kFull, Load{Load::Kind::rate, 200}}) {
    CHECK(message_of([&] { measure(load, answering_after(1, 2), broken, 3, {2, 0, 5}); }) == "cannot be read");
    CHECK(message_of([&] { measure(load, failing, at_once, 3, {2, 0, 5}); }) == "cannot answer");
  }
}

TEST_CASE("loads are read from a list, and what is none is named") {
  const std::vector<Load> loads = parse_loads("single,full,12.5");
  REQUIRE(loads.size() == 3);
  CHECK(loads[0].kind == Load::Kind::single);
  CHECK(loads[1].kind == Load::Kind::full);
  CHECK(loads[2].kind == Load::Kind::rate);
  CHECK(loads[2].rate == 12.5);
  for (const std::string wrong : {"", "full,", "fast", "0", "-1", "nan", "1e9", "5x", "inf"})
    CHECK(mentions(message_of([&] { parse_loads(wrong); }), "expected single, full or requests a second"));
}

TEST_CASE("a percentile with no request beyond it is not given") {
  LoadResult result;
  for (int i = 1; i <= 100; ++i) result.latencies.push_back(i);
  const Json json = load_json(kFull, result);
  const Json& latency = json.at("latency_ms", "load");
  CHECK(latency.at("p50", "load").number("p50") == doctest::Approx(50.5));
  CHECK(latency.at("p99", "load").number("p99") == doctest::Approx(99.01));
  CHECK(latency.at("p99.9", "load").is_null());
  CHECK(latency.at("max", "load").number("max") == 100);
}
