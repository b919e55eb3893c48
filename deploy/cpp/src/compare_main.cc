// glorext_compare: holds logits against the expected ones, row by row, without Python.
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

constexpr const char* kHelp = R"(glorext_compare: hold logits against the expected ones

  glorext_compare --found logits.npy --expected golden_logits.npy [--tolerance T]

Both are float32 [N, K]. A row passes when no logit is further from the expected one than T (default 1e-4) times the
largest expected logit of the row (at least 1), and when the class with the largest logit is the same. With
--probabilities the rows are softmax's, and T counts against the largest of the row however small it is.

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
  const Flags flags(argc, argv, {"found", "expected", "tolerance"}, {"probabilities", "help"});
  if (flags.has("help")) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  if (!flags.rest().empty()) throw Usage("unexpected argument \"" + flags.rest()[0] + "\"; see --help");
  const std::string text = flags.text("tolerance", "1e-4");
  char* end = nullptr;
  const double tolerance = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(tolerance >= 0)) throw Usage("--tolerance: expected a number, found " + text);
  std::vector<int64_t> shape, wanted;
  const std::vector<float> found = read_logits(flags.required("found"), shape);
  const std::vector<float> expected = read_logits(flags.required("expected"), wanted);
  if (shape != wanted) throw Failure("the two files hold logits of different shapes");
  int64_t failed = 0;
  for (int64_t row = 0; row < shape[0]; ++row)
    failed += !compare_row(row, &found[row * shape[1]], &expected[row * shape[1]], shape[1], tolerance,
                           flags.has("probabilities") ? 0 : 1);
  const auto rows = static_cast<long long>(shape[0]);
  std::printf("%lld of %lld inputs pass\n", rows - static_cast<long long>(failed), rows);
  return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) { return glorext::run_program("glorext_compare", run, argc, argv); }
