// Access to JSON values and their writing; the reader is in json_parser.cc.
#include "json.h"

#include <cmath>
#include <cstdio>

#include "failure.h"
#include "utf8.h"

namespace glorext {
namespace {

const char* name_of(Json::Type type) {
  switch (type) {
    case Json::Type::null: return "null";
    case Json::Type::boolean: return "a boolean";
    case Json::Type::number: return "a number";
    case Json::Type::string: return "a string";
    case Json::Type::array: return "a list";
    case Json::Type::object: return "an object";
  }
  return "an unknown type";
}

[[noreturn]] void wrong_type(const std::string& where, Json::Type wanted, Json::Type found) {
  throw Failure(where + ": expected " + name_of(wanted) + ", found " + name_of(found));
}

void write_string(std::string& out, const std::string& text) {
  char escape[8];
  out += '"';
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const size_t length = utf8_length(text, i);
    if (length == 0) {
      std::snprintf(escape, sizeof escape, "\\udc%02x", byte);
      out += escape;
      ++i;
    } else if (byte == '"' || byte == '\\') {
      out += '\\';
      out += static_cast<char>(byte);
      ++i;
    } else if (byte < 0x20) {
      std::snprintf(escape, sizeof escape, "\\u%04x", byte);
      out += escape;
      ++i;
    } else {
      out.append(text, i, length);
      i += length;
    }
  }
  out += '"';
}

void write_number(std::string& out, double number) {
  if (!std::isfinite(number)) throw Failure("JSON has no number for infinity or NaN");
  char text[40];
  const bool whole = number == std::floor(number) && std::fabs(number) < 9007199254740992.0;
  std::snprintf(text, sizeof text, whole ? "%.0f" : "%.9g", number);
  out += text;
}

}  // namespace

bool Json::boolean(const std::string& where) const {
  if (type_ != Type::boolean) wrong_type(where, Type::boolean, type_);
  return boolean_;
}

double Json::number(const std::string& where) const {
  if (type_ != Type::number) wrong_type(where, Type::number, type_);
  return number_;
}

int64_t Json::integer(const std::string& where) const {
  const double value = number(where);
  if (value != std::floor(value) || std::fabs(value) > 9007199254740992.0)
    throw Failure(where + ": expected a whole number, found " + std::to_string(value));
  return static_cast<int64_t>(value);
}

const std::string& Json::string(const std::string& where) const {
  if (type_ != Type::string) wrong_type(where, Type::string, type_);
  return string_;
}

const Json::Array& Json::array(const std::string& where) const {
  if (type_ != Type::array) wrong_type(where, Type::array, type_);
  return array_;
}

const Json::Object& Json::object(const std::string& where) const {
  if (type_ != Type::object) wrong_type(where, Type::object, type_);
  return object_;
}

const Json& Json::at(const std::string& key, const std::string& where) const {
  const Object& members = object(where);
  const auto found = members.find(key);
  if (found == members.end()) throw Failure(where + ": the key \"" + key + "\" is missing");
  return found->second;
}

void Json::write(std::string& out, int indent) const {
  const std::string inner(static_cast<size_t>(indent) + 2, ' ');
  const std::string outer(static_cast<size_t>(indent), ' ');
  switch (type_) {
    case Type::null: out += "null"; return;
    case Type::boolean: out += boolean_ ? "true" : "false"; return;
    case Type::number: write_number(out, number_); return;
    case Type::string: write_string(out, string_); return;
    case Type::array: {
      const char* separator = "\n";
      out += '[';
      for (const Json& item : array_) {
        out += separator + inner;
        item.write(out, indent + 2);
        separator = ",\n";
      }
      out += array_.empty() ? "]" : "\n" + outer + "]";
      return;
    }
    case Type::object: {
      const char* separator = "\n";
      out += '{';
      for (const auto& [key, item] : object_) {
        out += separator + inner;
        write_string(out, key);
        out += ": ";
        item.write(out, indent + 2);
        separator = ",\n";
      }
      out += object_.empty() ? "}" : "\n" + outer + "}";
      return;
    }
  }
}

std::string Json::dump() const {
  std::string out;
  write(out, 0);
  out += '\n';
  return out;
}

}  // namespace glorext
