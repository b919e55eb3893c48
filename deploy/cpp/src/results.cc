// The results folder: schema glorext.results/1.
#include "results.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "files.h"
#include "npy.h"

namespace glorext {
namespace {

constexpr const char* kResultsFile = "results.json";
constexpr const char* kLogitsFile = "logits.npy";

Json latency_json(const RunSettings& settings, const RunResult& result) {
  const size_t left_out = std::min(static_cast<size_t>(settings.warmup), result.latencies.size() / 2);
  std::vector<double> values(result.latencies.begin() + static_cast<std::ptrdiff_t>(left_out), result.latencies.end());
  std::sort(values.begin(), values.end());
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return Json::Object{{"p50", percentile(values, 0.50)},
                      {"p90", percentile(values, 0.90)},
                      {"p99", percentile(values, 0.99)},
                      {"mean", values.empty() ? 0.0 : sum / static_cast<double>(values.size())},
                      {"warmup", static_cast<int64_t>(left_out)}};
}

}  // namespace

std::vector<int64_t> top5(const float* logits, int64_t classes) {
  std::vector<int64_t> order(static_cast<size_t>(classes));
  std::iota(order.begin(), order.end(), int64_t{0});
  const auto count = std::min<int64_t>(5, classes);
  std::partial_sort(order.begin(), order.begin() + count, order.end(),
                    [&](int64_t a, int64_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  order.resize(static_cast<size_t>(count));
  return order;
}

std::vector<double> probabilities(const std::vector<float>& answers, const std::string& output) {
  std::vector<double> out(answers.begin(), answers.end());
  if (output == "probabilities" || out.empty()) return out;
  const double largest = *std::max_element(out.begin(), out.end());
  for (double& one : out) one = std::exp(one - largest);
  const double sum = std::accumulate(out.begin(), out.end(), 0.0);
  for (double& one : out) one /= sum;
  return out;
}

double percentile(const std::vector<double>& sorted, double fraction) {
  if (sorted.empty()) return 0;
  const double at = fraction * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(std::floor(at));
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

void require_results_target(const std::string& out) { require_replaceable(out, kResultsFile); }

Json results_json(const RunSettings& settings, const RunResult& result) {
  Json::Array pictures;
  for (size_t i = 0; i < result.scored.size(); ++i) {
    Json::Array best;
    for (const int64_t index : top5(result.logits.data() + i * static_cast<size_t>(result.classes), result.classes))
      best.push_back(index);
    pictures.push_back(Json::Object{{"path", result.scored[i].path}, {"top5", best}, {"ms", result.scored[i].ms}});
  }
  Json::Array failed;
  for (const Failed& one : result.failed) failed.push_back(Json::Object{{"path", one.path}, {"error", one.error}});
  const auto count = static_cast<double>(result.scored.size());
  const auto mean = [&](double sum) { return count > 0 ? sum / count : 0.0; };
  return Json::Object{{"schema", "glorext.results/1"},
                      {"backend", "lite-cpp"},
                      {"model", settings.model},
                      {"artifact", Json::Object{{"file", settings.model_file},
                                                {"sha256", settings.model_sha256},
                                                {"output", settings.output},
                                                {"weights_dtype", settings.weights_dtype}}},
                      {"device", settings.device},
                      {"card", settings.card},
                      {"batch", settings.batch},
                      {"workers", settings.workers},
                      {"threads", settings.threads},
                      {"count", static_cast<int64_t>(result.scored.size())},
                      {"failed", failed},
                      {"logits", kLogitsFile},
                      {"pictures", pictures},
                      {"latency_ms", latency_json(settings, result)},
                      {"throughput", result.seconds > 0 ? count / result.seconds : 0.0},
                      {"seconds", result.seconds},
                      {"stages_ms", Json::Object{{"read", mean(result.stages.read)},
                                                 {"decode", mean(result.stages.decode)},
                                                 {"preprocess", mean(result.stages.preprocess)},
                                                 {"infer", mean(result.stages.infer)}}},
                      {"versions", settings.versions}};
}

void write_results(const std::string& out, const RunSettings& settings, const RunResult& result) {
  ResultFolder folder(out, kResultsFile);
  write_npy(folder.file(kLogitsFile), "<f4", {static_cast<int64_t>(result.scored.size()), result.classes},
            result.logits.data());
  const std::string text = results_json(settings, result).dump();
  write_file(folder.file(kResultsFile), text.data(), text.size());
  folder.commit();
}

}  // namespace glorext
