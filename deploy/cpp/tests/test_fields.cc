// Typed values: what is taken, and the path in every complaint.
#include <doctest/doctest.h>

#include "fields.h"
#include "support.h"

using namespace glorext;

namespace {

const Json kJson = parse_json(R"({"text": "x", "count": 3, "number": 0.5, "null": null, "list": [1, 2], "file": "m.ms",
                                  "names": ["a", "b"], "inner": {"deep": {"size": "ten", "other": 1}}})",
                              "here");

template <class Body>
std::string error_of(const Body& body) {
  Fields fields(kJson, "f.json");
  return message_of([&] { body(fields); });
}

}  // namespace

TEST_CASE("values of every type are taken, and then nothing is left") {
  Fields fields(kJson, "f.json");
  CHECK(fields.text("text") == "x");
  CHECK(fields.count("count", 1, 3) == 3);
  CHECK(fields.number("number") == 0.5);
  CHECK(fields.null("null"));
  CHECK(fields.integers("list") == std::vector<int64_t>{1, 2});
  CHECK(fields.texts("names") == std::vector<std::string>{"a", "b"});
  CHECK(fields.file_name("file") == "m.ms");
  CHECK(fields.rest() == std::vector<std::string>{"inner"});
  CHECK(mentions(message_of([&] { fields.done(); }), "f.json: expected no other keys, found \"inner\""));
  Fields deep = fields.inner("inner").inner("deep");
  fields.done();
  CHECK(deep.one_of("size", {"ten"}) == "ten");
}

TEST_CASE("complaints name the path") {
  CHECK(error_of([](Fields& f) { f.text("none"); }) == "f.json: the key \"none\" is missing");
  CHECK(error_of([](Fields& f) { f.inner("inner").inner("deep").integer("size"); }) ==
        "f.json: inner.deep.size: expected a whole number, found a string");
  CHECK(mentions(error_of([](Fields& f) { f.inner("inner").inner("deep").text("none"); }), "f.json: inner.deep: the"));
  CHECK(mentions(error_of([](Fields& f) { f.inner("text"); }), "text: expected an object, found a string"));
  CHECK(mentions(error_of([](Fields& f) { f.texts("list"); }), "list[0]: expected a string, found a number"));
  CHECK(mentions(error_of([](Fields& f) { f.count("count", 4); }), "count: expected a whole number from 4 to"));
  CHECK(mentions(error_of([](Fields& f) {
                   f.one_of("text", {"a", "b"});
                 }),
                 "text: expected \"a\" or \"b\", found \"x\""));
  CHECK(mentions(error_of([](Fields& f) { f.digest("text"); }), "text: expected 64 hex digits"));
}

TEST_CASE("the name of a file leads nowhere else") {
  for (const char* name : {"m.ms", "...", "\xC3\xA4", "a b"}) CHECK(is_file_name(name));
  for (const char* name : {"", ".", "..", "a/b", "/a", "a\\b", "a\nb", "a\x7F", "\xFF"}) CHECK(!is_file_name(name));
  CHECK(is_file_name(std::string(200, 'a')));
  CHECK(!is_file_name(std::string(201, 'a')));
  CHECK(!is_file_name(std::string("a\0b", 3)));
}
