// Flags: what is taken, what is a usage error, and the help.
#include <doctest/doctest.h>

#include "flags.h"
#include "support.h"

using namespace glorext;

namespace {

struct Values {
  std::string name;
  std::string kind = "small";
  int count = 1;
  int limit = -1;
  double share = 0.5;
  bool quick = false;
  std::vector<std::string> files;
};

Flags flags_into(Values& values) {
  Flags flags("about\n", "end\n");
  flags.text("name", "NAME", values.name, "what it is called").required();
  flags.choice("kind", "K", values.kind, {"small", "large"}, "how large");
  flags.number("count", "N", values.count, 1, 10, "how many");
  flags.number("limit", "N", values.limit, 0, 10, "at most");
  flags.real("share", "S", values.share, "which part");
  flags.on("quick", values.quick, "in a hurry");
  flags.words(values.files);
  return flags;
}

bool parse(Flags flags, std::vector<std::string> words) {
  words.insert(words.begin(), "program");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  return flags.parse(static_cast<int>(argv.size()), argv.data());
}

std::string error_of(const std::vector<std::string>& words) {
  Values values;
  return message_of([&] { parse(flags_into(values), words); });
}

}  // namespace

TEST_CASE("values, switches and words") {
  Values values;
  CHECK(parse(flags_into(values),
              {"--name", "x", "--count=3", "one", "--quick", "--kind", "large", "--share", "0.25", "two"}));
  CHECK(values.name == "x");
  CHECK(values.count == 3);
  CHECK(values.kind == "large");
  CHECK(values.share == 0.25);
  CHECK(values.quick);
  CHECK(values.files == std::vector<std::string>{"one", "two"});
}

TEST_CASE("what is not given keeps its default") {
  Values values;
  CHECK(parse(flags_into(values), {"--name=x=y"}));
  CHECK(values.name == "x=y");
  CHECK(values.kind == "small");
  CHECK(values.count == 1);
  CHECK(values.limit == -1);
  CHECK(!values.quick);
}

TEST_CASE("mistakes are usage errors with exit status 2") {
  CHECK(mentions(error_of({"--color", "x"}), "unknown flag --color"));
  CHECK(mentions(error_of({"--name"}), "--name needs a value"));
  CHECK(mentions(error_of({"--quick=yes"}), "--quick takes no value"));
  CHECK(mentions(error_of({"--name", "a", "--name", "b"}), "given twice"));
  CHECK(mentions(error_of({}), "--name is required"));
  CHECK(mentions(error_of({"--name", ""}), "--name is required"));
  for (const char* bad : {"x", "", "11", "0", "3x", "99999999999999999999"})
    CHECK(mentions(error_of({"--count", bad}), "--count: expected a whole number from 1 to 10"));
  for (const char* bad : {"x", "", "-1", "nan", "inf", "0.1x"})
    CHECK(mentions(error_of({"--share", bad}), "--share: expected a number of at least 0"));
  CHECK(mentions(error_of({"--kind", "c"}), "--kind: expected one of small, large; found \"c\""));
  Flags flags("", "");
  CHECK(mentions(message_of([&] { parse(flags, {"word"}); }), "unexpected argument \"word\""));
  CHECK(Usage("").exit_status() == 2);
  CHECK(Failure("").exit_status() == 1);
}

TEST_CASE("the help has a line for every flag, with choices and defaults") {
  Values values;
  CHECK(flags_into(values).help() ==
        "about\n"
        "  --name NAME  what it is called\n"
        "  --kind K     small (default), large; how large\n"
        "  --count N    how many (default 1)\n"
        "  --limit N    at most\n"
        "  --share S    which part (default 0.5)\n"
        "  --quick      in a hurry\n"
        "end\n");
}

TEST_CASE("a long line of the help is broken at a space") {
  bool given = false;
  Flags flags("", "");
  flags.on("long", given, std::string(90, 'x') + " " + std::string(30, 'y'));
  CHECK(flags.help() ==
        "  --long  " + std::string(90, 'x') + " \n" + std::string(10, ' ') + std::string(30, 'y') + "\n");
}
