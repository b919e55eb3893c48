// Flags: what is taken and what is a usage error.
#include <doctest/doctest.h>

#include "flags.h"
#include "support.h"

using namespace glorext;

namespace {

Flags flags_of(std::vector<std::string> words) {
  words.insert(words.begin(), "program");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  return Flags(static_cast<int>(argv.size()), argv.data(), {"name", "count"}, {"quick"});
}

}  // namespace

TEST_CASE("values, switches and the rest") {
  const Flags flags = flags_of({"--name", "x", "--count=3", "--quick", "other"});
  CHECK(flags.required("name") == "x");
  CHECK(flags.number("count", 1, 10, 1) == 3);
  CHECK(flags.has("quick"));
  CHECK(flags.rest() == std::vector<std::string>{"other"});
}

TEST_CASE("mistakes are usage errors with exit status 2") {
  CHECK(mentions(message_of([] { flags_of({"--colour", "x"}); }), "unknown flag --colour"));
  CHECK(mentions(message_of([] { flags_of({"--name"}); }), "--name needs a value"));
  CHECK(mentions(message_of([] { flags_of({"--quick=yes"}); }), "--quick takes no value"));
  CHECK(mentions(message_of([] { flags_of({"--name", "a", "--name", "b"}); }), "given twice"));
  CHECK(mentions(message_of([] { flags_of({}).required("name"); }), "--name is required"));
  for (const char* bad : {"x", "", "11", "0", "3x", "99999999999999999999"})
    CHECK(mentions(message_of([&] { flags_of({"--count", bad}).number("count", 1, 10, 1); }), "from 1 to 10"));
  CHECK(mentions(message_of([] { flags_of({"--name", "c"}).choice("name", {"a", "b"}, "a"); }), "one of a, b"));
  CHECK(Usage("").exit_status() == 2);
  CHECK(Failure("").exit_status() == 1);
}
