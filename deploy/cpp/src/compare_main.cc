// glorext_compare: compares logits with the expected ones, row by row, without Python.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "failure.h"
#include "flags.h"
#include "npy.h"

namespace {

using namespace glorext;

constexpr const char* kAbout = R"(glorext_compare: compare outputs with the expected ones

  glorext_compare --found logits.npy --expected golden_logits.npy [--tolerance T]

Both are float32 [N, K]. A row passes when no value is further from the expected one than T times the largest expected
value of the row (at least 1), and when the class with the largest value is the same.

)";
constexpr const char* kEnd = R"(
Exit status: 0 all rows pass, 1 not, 2 usage.
)";

std::vector<float> read_logits(const std::string& path, std::vector<int64_t>& shape) {
  const NpyArray array = read_npy(path);
  if (array.dtype != "<f4" || array.shape.size() != 2 || array.shape[0] < 1 || array.shape[1] < 1)
    throw Failure(path + ": expected float32 logits [N, K]");
  shape = array.shape;
  std::vector<float> values(array.bytes.size() / sizeof(float));
  std::memcpy(values.data(), array.bytes.data(), array.bytes.size());
  return values;
}

bool compare_row(int64_t row, const float* found, const float* expected, int64_t classes, double tolerance,
                 double scale) {
  double worst = 0;
  for (int64_t k = 0; k < classes; ++k) {
    const double apart = std::fabs(static_cast<double>(found[k]) - expected[k]);
    worst = std::isnan(apart) ? apart : std::max(worst, apart);
    if (std::isnan(worst)) break;
    scale = std::max(scale, std::fabs(static_cast<double>(expected[k])));
  }
  const auto best = std::max_element(found, found + classes) - found;
  const auto wanted = std::max_element(expected, expected + classes) - expected;
  const bool passed = worst <= tolerance * scale && best == wanted;
  std::printf("%s  input %lld: outputs at most %.2e apart (limit %.2e), class %lld (expected %lld)\n",
              passed ? "PASS" : "FAIL", static_cast<long long>(row), worst, tolerance * scale,
              static_cast<long long>(best), static_cast<long long>(wanted));
  return passed;
}

int run(int argc, char** argv) {
  std::string found_path, expected_path;
  double tolerance = 1e-4;
  bool probabilities = false;
  Flags flags(kAbout, kEnd);
  flags.text("found", "FILE", found_path, "the outputs to judge").required();
  flags.text("expected", "FILE", expected_path, "what they should be").required();
  flags.real("tolerance", "T", tolerance, "the largest relative difference");
  flags.on("probabilities", probabilities, "the rows are softmax's: T counts against the largest, however small it is");
  if (!flags.parse(argc, argv)) return 0;
  std::vector<int64_t> shape, wanted;
  const std::vector<float> found = read_logits(found_path, shape);
  const std::vector<float> expected = read_logits(expected_path, wanted);
  if (shape != wanted) throw Failure("the two files hold logits of different shapes");
  int64_t failed = 0;
  for (int64_t row = 0; row < shape[0]; ++row)
    failed += !compare_row(row, &found[row * shape[1]], &expected[row * shape[1]], shape[1], tolerance,
                           probabilities ? 0 : 1);
  const auto rows = static_cast<long long>(shape[0]);
  std::printf("%lld of %lld inputs pass\n", rows - static_cast<long long>(failed), rows);
  return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) { return glorext::run_program("glorext_compare", run, argc, argv); }
