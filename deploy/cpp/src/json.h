// A JSON value, a strict reader and a writer: what the contract and the results need, no more.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace glorext {

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

  Type type() const { return type_; }
  bool is_null() const { return type_ == Type::null; }

  // Each throws Failure with `where` and what was found when the value is of another type.
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

 private:
  void write(std::string& out, int indent) const;

  Type type_ = Type::null;
  bool boolean_ = false;
  double number_ = 0;
  std::string string_;
  Array array_;
  Object object_;
};

// Throws Failure naming `where` and the byte: bad JSON, bad UTF-8, a key twice, a number out of range,
// more than 64 levels, text after the value.
Json parse_json(const std::string& text, const std::string& where);

}  // namespace glorext
