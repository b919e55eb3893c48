// Top five, percentiles and the results file.
#include <doctest/doctest.h>

#include "files.h"
#include "npy.h"
#include "results.h"
#include "support.h"

using namespace glorext;

TEST_CASE("the five largest, the lower index first among equals") {
  const float logits[] = {1, 5, 3, 5, -2, 4, 0};
  CHECK(top5(logits, 7) == std::vector<int64_t>{1, 3, 5, 2, 0});
  CHECK(top5(logits, 2) == std::vector<int64_t>{1, 0});
}

TEST_CASE("percentiles are interpolated") {
  CHECK(percentile({}, 0.5) == 0);
  CHECK(percentile({7}, 0.99) == 7);
  CHECK(percentile({1, 2, 3, 4}, 0.5) == doctest::Approx(2.5));
  CHECK(percentile({0, 10}, 0.9) == doctest::Approx(9));
}

TEST_CASE("the results folder holds what was found") {
  const TemporaryFolder folder;
  RunSettings settings;
  settings.model_file = "m.ms";
  settings.device = "cpu";
  settings.warmup = 1;
  RunResult result;
  result.classes = 2;
  result.scored = {{"a/1.png", 5}, {"b/2.png", 7}, {"b/3.png", 9}};
  result.failed = {{"c/4.png", "neither JPEG nor PNG"}};
  result.logits = {1, 2, 4, 3, 0, 9};
  result.latencies = {100, 8, 4};
  result.stages.infer = 15;
  result.seconds = 2;
  write_results(folder.file("out"), settings, result);

  const Json json = parse_json(read_file(folder.file("out/results.json"), 1 << 20), "results");
  CHECK(json.at("schema", "r").string("s") == "glorext.results/1");
  CHECK(json.at("count", "r").integer("c") == 3);
  CHECK(json.at("throughput", "r").number("t") == 1.5);
  CHECK(json.at("failed", "r").array("f")[0].at("path", "f").string("p") == "c/4.png");
  const Json& picture = json.at("pictures", "r").array("p")[1];
  CHECK(picture.at("path", "p").string("p") == "b/2.png");
  CHECK(picture.at("top5", "p").array("t")[0].integer("i") == 0);
  CHECK(picture.at("ms", "p").number("m") == 7);
  const Json& latency = json.at("latency_ms", "r");
  CHECK(latency.at("warmup", "l").integer("w") == 1);
  CHECK(latency.at("mean", "l").number("m") == 6);
  CHECK(latency.at("p50", "l").number("m") == 6);
  CHECK(json.at("stages_ms", "r").at("infer", "s").number("i") == 5);
  CHECK(read_npy(folder.file("out/logits.npy")).shape == std::vector<int64_t>{3, 2});
}

TEST_CASE("warm-up takes at most half of the latencies") {
  RunSettings settings;
  settings.warmup = 10;
  RunResult result;
  result.latencies = {100, 50, 4};
  const Json latency = results_json(settings, result).at("latency_ms", "r");
  CHECK(latency.at("warmup", "l").integer("w") == 1);
  CHECK(latency.at("mean", "l").number("m") == 27);
}
