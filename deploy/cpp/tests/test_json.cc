// The reader takes what RFC 8259 allows, refuses the rest with the place, and the writer's text reads back.
#include <doctest/doctest.h>

#include <limits>

#include "json.h"
#include "support.h"

using glorext::in_quotes;
using glorext::Json;
using glorext::parse_json;
using glorext::printable;

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
  for (const char* text :
       {"",      "{",   "[1,]",     "{\"a\":1,}",      "{'a':1}", "01",          "1.",       "+1",       ".5",
        "1e",    "nul", "truex",    "\"abc",           "\"\\x\"", "\"\\u12g4\"", "\"\x01\"", "\"\xFF\"", "\"\xC0\x80\"",
        "[1] 2", "NaN", "Infinity", "\"\xED\xA0\x80\""}) {
    CAPTURE(text);
    CHECK(mentions(error_in(text), "here: not valid JSON at byte"));
  }
}

TEST_CASE("a key twice is refused") { CHECK(mentions(error_in(R"({"a":1,"b":2,"a":3})"), "\"a\" a second time")); }

TEST_CASE("deep nesting is refused before the stack is gone") {
  CHECK(error_in(std::string(65, '[') + std::string(65, ']')) == "no failure");
  CHECK(mentions(error_in(std::string(66, '[') + std::string(66, ']')), "more than 64 levels"));
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

TEST_CASE("a number is whole by its spelling, and is written as it was read") {
  const Json::Array list = parse_json("[7, -0, 7.0, 7e0, 9007199254740991]", "here").array("list");
  CHECK(list[0].integer("n") == 7);
  CHECK(list[1].integer("n") == 0);
  for (const size_t i : {size_t{2}, size_t{3}}) {
    CHECK(list[i].number("n") == 7);
    CHECK(mentions(message_of([&] { list[i].integer("n"); }), "n: expected a whole number, found 7"));
  }
  CHECK(list[4].integer("n") == 9007199254740991);
  const std::string spelling = "0.49139967861519607";
  CHECK(parse_json(spelling, "here").dump() == spelling + "\n");
}

TEST_CASE("numbers that not every reader holds are refused by their key") {
  for (const char* text : {"9007199254740992", "-9007199254740992",
                           "1"
                           "00000000000000000000000000000000000000"})
    CHECK(mentions(message_of([&] { parse_json(text, "here").number("n"); }), "n: expected a number up to"));
  const std::string huge = "1" + std::string(400, '0');
  CHECK(mentions(message_of([&] { parse_json(huge, "here").integer("n"); }), "n: expected a number up to"));
  CHECK(mentions(message_of([] { parse_json("1e400", "here").number("n"); }), "n: expected a finite number"));
}

TEST_CASE("half of a surrogate pair is no text") {
  for (const char* text : {R"("\ud800")", R"("\udc80")", R"("\ud800\ud800")", R"("\ud800x")", R"("\udcc3\udca9")"}) {
    CAPTURE(text);
    CHECK(mentions(message_of([&] { parse_json(text, "here").string("t"); }), "t: expected text, found half of a"));
  }
}

TEST_CASE("a file name that is not UTF-8 is written as Python's surrogateescape has it") {
  CHECK(Json("caf\xE9.jpg").dump() == "\"caf\\udce9.jpg\"\n");
}

TEST_CASE("text is quoted for messages without control characters, and not at any length") {
  CHECK(in_quotes("a\nb\x1B") == "\"a\\u000ab\\u001b\"");
  CHECK(printable("a key") == "a key");
  CHECK(printable("a\nkey") == "\"a\\u000akey\"");
  std::string umlauts;
  for (int i = 0; i < 300; ++i) umlauts += "\xC3\xA4";
  CHECK(in_quotes(umlauts) == "\"" + umlauts.substr(0, 400) + "\"");
}

TEST_CASE("numbers that are not finite cannot be written") {
  CHECK(mentions(message_of([] { Json(std::numeric_limits<double>::infinity()).dump(); }), "no number for infinity"));
}
