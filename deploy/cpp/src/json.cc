// Access to JSON values and their writing; the reader is in json_parser.cc.
#include "json.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "failure.h"
#include "utf8.h"

namespace glorext {
namespace {

const char* name_of(Json::Type type) {
  switch (type) {
    case Json::Type::null: return "null";
    case Json::Type::boolean: return "true or false";
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

}  // namespace

bool Json::boolean(const std::string& where) const {
  if (type_ != Type::boolean) wrong_type(where, Type::boolean, type_);
  return boolean_;
}

bool Json::is_whole() const {
  return string_.empty() ? number_ == std::floor(number_) : string_.find_first_of(".eE") == std::string::npos;
}

std::string Json::number_text() const {
  if (!string_.empty()) return string_;
  char text[40];
  const bool whole = is_whole() && std::fabs(number_) <= static_cast<double>(kLargestWhole);
  std::snprintf(text, sizeof text, whole ? "%.0f" : "%.9g", number_);
  return text;
}

double Json::number(const std::string& where) const {
  if (type_ != Type::number) wrong_type(where, Type::number, type_);
  if (is_whole() && std::fabs(number_) > static_cast<double>(kLargestWhole))
    throw Failure(where + ": expected a number up to " + std::to_string(kLargestWhole) +
                  ", found a number of more than 15 digits");
  if (!std::isfinite(number_)) throw Failure(where + ": expected a finite number, found " + printable(number_text()));
  return number_;
}

int64_t Json::integer(const std::string& where) const {
  const char* wanted = ": expected a whole number, found ";
  if (type_ != Type::number) throw Failure(where + wanted + name_of(type_));
  if (!is_whole()) throw Failure(where + wanted + printable(number_text()));
  return static_cast<int64_t>(number(where));
}

const std::string& Json::string(const std::string& where) const {
  if (type_ != Type::string) wrong_type(where, Type::string, type_);
  for (size_t at = 0; at < string_.size(); at += utf8_length(string_, at))
    if (utf8_length(string_, at) == 0)
      throw Failure(where + ": expected text, found half of a surrogate pair in " + in_quotes(string_));
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
  if (found == members.end()) throw Failure(where + ": the key " + in_quotes(key) + " is missing");
  return found->second;
}

void Json::write(std::string& out, int indent) const {
  const bool line = indent < 0;
  const int deeper = line ? indent : indent + 2;
  const std::string inner = line ? "" : "\n" + std::string(static_cast<size_t>(deeper), ' ');
  const std::string outer = line ? "" : "\n" + std::string(static_cast<size_t>(indent), ' ');
  const char* const next = line ? ", " : ",";
  switch (type_) {
    case Type::null: out += "null"; return;
    case Type::boolean: out += boolean_ ? "true" : "false"; return;
    case Type::number:
      if (string_.empty() && !std::isfinite(number_)) throw Failure("JSON has no number for infinity or NaN");
      out += number_text();
      return;
    case Type::string: write_string(out, string_); return;
    case Type::array: {
      const char* separator = "";
      out += '[';
      for (const Json& item : array_) {
        out += separator + inner;
        item.write(out, deeper);
        separator = next;
      }
      out += array_.empty() ? "]" : outer + "]";
      return;
    }
    case Type::object: {
      const char* separator = "";
      out += '{';
      for (const auto& [key, item] : object_) {
        out += separator + inner;
        write_string(out, key);
        out += ": ";
        item.write(out, deeper);
        separator = next;
      }
      out += object_.empty() ? "}" : outer + "}";
      return;
    }
  }
}

Json Json::spelled(std::string digits) {
  Json value(std::strtod(digits.c_str(), nullptr));
  value.string_ = std::move(digits);
  return value;
}

std::string Json::dump() const {
  std::string out;
  write(out, 0);
  out += '\n';
  return out;
}

std::string Json::line() const {
  std::string out;
  write(out, -1);
  return out + '\n';
}

std::string in_quotes(const std::string& text) {
  size_t end = 0;
  for (int i = 0; i < 200 && end < text.size(); ++i) end += std::max(size_t{1}, utf8_length(text, end));
  std::string out;
  write_string(out, text.substr(0, end));
  return out;
}

std::string printable(const std::string& text) {
  const std::string out = in_quotes(text);
  return out.size() == text.size() + 2 ? text : out;
}

}  // namespace glorext
