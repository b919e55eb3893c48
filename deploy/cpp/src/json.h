// A JSON value, a strict reader and a writer: what the contract and the results need, no more.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace glorext {

// Every reader, in Python and in C++, holds whole numbers up to here exactly.
constexpr int64_t kLargestWhole = (int64_t{1} << 53) - 1;

class Json {
 public:
  enum class Type { null, boolean, number, string, array, object };
  using Array = std::vector<Json>;
  using Object = std::map<std::string, Json>;  // sorted, so equal values give equal bytes

  Json() = default;
  Json(bool value) : type_(Type::boolean), boolean_(value) {}
  Json(double value) : type_(Type::number), number_(value) {}
  Json(int value) : Json(static_cast<double>(value)) {}
  Json(int64_t value) : Json(static_cast<double>(value)) {}
  Json(uint64_t value) : Json(static_cast<double>(value)) {}
  Json(const char* value) : type_(Type::string), string_(value) {}
  Json(std::string value) : type_(Type::string), string_(std::move(value)) {}
  Json(Array value) : type_(Type::array), array_(std::move(value)) {}
  Json(Object value) : type_(Type::object), object_(std::move(value)) {}
  // A number as a file spells it: it is written as it was read, and 1.0 is no whole number.
  static Json spelled(std::string digits);

  Type type() const { return type_; }
  bool is_null() const { return type_ == Type::null; }

  // Each throws Failure with `where` and what was found when the value is of another type, a number that is not finite
  // or too large for `kLargestWhole`, or text with half of a surrogate pair.
  bool boolean(const std::string& where) const;
  double number(const std::string& where) const;
  int64_t integer(const std::string& where) const;
  const std::string& string(const std::string& where) const;
  const Array& array(const std::string& where) const;
  const Object& object(const std::string& where) const;
  const Json& at(const std::string& key, const std::string& where) const;

  // Indented by two spaces, keys sorted, one newline at the end.
  // Bytes that are not UTF-8 (a file name may hold them) become \udcXX, as Python's surrogateescape has it.
  std::string dump() const;

  // The same on one line.
  std::string line() const;

 private:
  void write(std::string& out, int indent) const;  // -1: on one line
  bool is_whole() const;
  std::string number_text() const;

  Type type_ = Type::null;
  bool boolean_ = false;
  double number_ = 0;
  std::string string_;  // of a number that was read: its spelling
  Array array_;
  Object object_;
};

// Throws Failure naming `where` and the byte: bad JSON, bad UTF-8, a key twice, values nested more than 64 deep, text
// after the value. What only makes a value unusable, such as 1e999, is left to the accessors, which can name its key.
Json parse_json(const std::string& text, const std::string& where);

// Text in quotes for a message: control characters escaped, at most 200 characters.
std::string in_quotes(const std::string& text);
// The same without quotes where the text holds neither control characters nor more than 200 bytes.
std::string printable(const std::string& text);

}  // namespace glorext
