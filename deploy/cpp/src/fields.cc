// Typed values out of JSON objects.
#include "fields.h"

#include <algorithm>

#include "utf8.h"

namespace glorext {
namespace {

constexpr size_t kLongestName = 200;  // characters

}  // namespace

Fields::Fields(const Json& json, const std::string& where, const char* joint)
    : where_(where), joint_(joint), members_(&json.object(where)) {}

std::string Fields::place(const std::string& key) const { return where_ + joint_ + printable(key); }

Failure Fields::wrong(const std::string& key, const std::string& expected, const std::string& found) const {
  return Failure(place(key) + ": expected " + expected + ", found " + found);
}

const Json& Fields::take(const std::string& key) {
  const auto found = members_->find(key);
  if (found == members_->end()) throw Failure(where_ + ": the key " + in_quotes(key) + " is missing");
  taken_.insert(key);
  return found->second;
}

int64_t Fields::count(const std::string& key, int64_t least, int64_t most) {
  const int64_t value = integer(key);
  if (value < least || value > most)
    throw wrong(key, "a whole number from " + std::to_string(least) + " to " + std::to_string(most),
                std::to_string(value));
  return value;
}

const std::string& Fields::one_of(const std::string& key, const std::vector<std::string>& allowed) {
  const std::string& value = text(key);
  if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return value;
  std::string list;
  for (const std::string& one : allowed) list += (list.empty() ? "" : " or ") + in_quotes(one);
  throw wrong(key, list, in_quotes(value));
}

const std::string& Fields::digest(const std::string& key) {
  const std::string& value = text(key);
  if (value.size() != 64 || value.find_first_not_of("0123456789abcdef") != std::string::npos)
    throw wrong(key, "64 hex digits", in_quotes(value));
  return value;
}

const std::string& Fields::file_name(const std::string& key) {
  const std::string& value = text(key);
  if (!is_file_name(value)) throw wrong(key, "the name of a file, without a folder", in_quotes(value));
  return value;
}

template <class Value, class Read>
std::vector<Value> Fields::list(const std::string& key, const Read& read) {
  std::vector<Value> values;
  for (const Json& item : take(key).array(place(key)))
    values.push_back(read(item, place(key) + "[" + std::to_string(values.size()) + "]"));
  return values;
}

std::vector<std::string> Fields::texts(const std::string& key) {
  return list<std::string>(key, [](const Json& item, const std::string& where) { return item.string(where); });
}

std::vector<double> Fields::numbers(const std::string& key) {
  return list<double>(key, [](const Json& item, const std::string& where) { return item.number(where); });
}

std::vector<int64_t> Fields::integers(const std::string& key) {
  return list<int64_t>(key, [](const Json& item, const std::string& where) { return item.integer(where); });
}

std::vector<std::string> Fields::rest() const {
  std::vector<std::string> keys;
  for (const auto& member : *members_)
    if (taken_.count(member.first) == 0) keys.push_back(member.first);
  return keys;
}

void Fields::done() const {
  std::string list;
  for (const std::string& key : rest()) list += (list.empty() ? "" : ", ") + in_quotes(key);
  if (!list.empty()) throw Failure(where_ + ": expected no other keys, found " + list.substr(0, 300));
}

bool is_file_name(const std::string& text) {
  if (text.empty() || text == "." || text == "..") return false;
  size_t characters = 0;
  for (size_t at = 0; at < text.size(); at += utf8_length(text, at), ++characters) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x20 || byte == 0x7F || byte == '/' || byte == '\\' || utf8_length(text, at) == 0) return false;
  }
  return characters <= kLongestName;
}

}  // namespace glorext
