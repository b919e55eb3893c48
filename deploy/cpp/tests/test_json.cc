// The reader takes what RFC 8259 allows, refuses the rest with the place, and the writer's text reads back.
#include <doctest/doctest.h>

#include <limits>

#include "json.h"
#include "support.h"

using glorext::Json;
using glorext::parse_json;

namespace {

std::string error_in(const std::string& text) {
  return message_of([&] { parse_json(text, "here"); });
}

}  // namespace

TEST_CASE("values of every type are read") {
  const Json json = parse_json(R"( {"a": [1, -2.5e2, true, null], "b": {"c": "x\n\u00e9\ud83d\ude00"}} )", "here");
  const Json::Array& list = json.at("a", "here").array("a");
  CHECK(list[0].integer("a") == 1);
  CHECK(list[1].number("a") == -250.0);
  CHECK(list[2].boolean("a"));
  CHECK(list[3].is_null());
  CHECK(json.at("b", "here").at("c", "b").string("c") == "x\n\xC3\xA9\xF0\x9F\x98\x80");
}

TEST_CASE("what is not JSON is refused with the byte") {
  for (const char* text : {"",         "{",        "[1,]",         "{\"a\":1,}",
                           "{'a':1}",  "01",       "1.",           "+1",
                           ".5",       "1e",       "nul",          "truex",
                           "\"abc",    "\"\\x\"",  "\"\\u12g4\"",  "\"\\ud800\"",
                           "\"\x01\"", "\"\xFF\"", "\"\xC0\x80\"", "[1] 2",
                           "NaN",      "Infinity", "1e999",        "\"\xED\xA0\x80\""}) {
    CAPTURE(text);
    CHECK(mentions(error_in(text), "here: not valid JSON at byte"));
  }
}

TEST_CASE("a key twice is refused") { CHECK(mentions(error_in(R"({"a":1,"b":2,"a":3})"), "\"a\" a second time")); }

TEST_CASE("deep nesting is refused before the stack is gone") {
  CHECK(error_in(std::string(64, '[') + std::string(64, ']')) == "no failure");
  CHECK(mentions(error_in(std::string(1000000, '[')), "more than 64 levels"));
}

TEST_CASE("the wrong type and a missing key name the place") {
  const Json json = parse_json(R"({"a": "text", "b": 1.5})", "here");
  CHECK(message_of([&] { json.at("a", "w").number("w: a"); }) == "w: a: expected a number, found a string");
  CHECK(mentions(message_of([&] { json.at("b", "w").integer("w: b"); }), "w: b: expected a whole number"));
  CHECK(message_of([&] { json.at("c", "w"); }) == "w: the key \"c\" is missing");
}

TEST_CASE("what is written reads back, with sorted keys") {
  const Json list = Json::Array{0.1, true, Json(), "q\"\\\n\t\xC3\xA9"};
  const Json json = Json::Object{{"z", 1}, {"a", list}, {"e", Json::Object{}}};
  const std::string text = json.dump();
  CHECK(parse_json(text, "here").dump() == text);
  CHECK(text.find("\"a\"") < text.find("\"z\""));
  CHECK(text.back() == '\n');
}

TEST_CASE("a file name that is not UTF-8 survives writing and reading") {
  const std::string name = "caf\xE9.jpg";
  const std::string text = Json(name).dump();
  CHECK(text == "\"caf\\udce9.jpg\"\n");
  CHECK(parse_json(text, "here").string("name") == name);
}

TEST_CASE("numbers that are not finite cannot be written") {
  CHECK(mentions(message_of([] { Json(std::numeric_limits<double>::infinity()).dump(); }), "no number for infinity"));
}
