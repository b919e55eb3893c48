// Takes typed values out of a JSON object, each key once; every complaint names the path to the bad field.
// The reader in Python, runtime/fields.py, takes and refuses the same values.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "failure.h"
#include "json.h"

namespace glorext {

class Fields {
 public:
  // `where` names the file in errors; `json` must outlive the object. Throws Failure unless it is an object.
  Fields(const Json& json, const std::string& where) : Fields(json, where, ": ") {}

  // Each throws Failure when the key is missing or its value is of another type or an impossible one.
  const Json& take(const std::string& key);
  const std::string& text(const std::string& key) { return take(key).string(place(key)); }
  double number(const std::string& key) { return take(key).number(place(key)); }
  int64_t integer(const std::string& key) { return take(key).integer(place(key)); }
  int64_t count(const std::string& key, int64_t least, int64_t most = kLargestWhole);
  const std::string& one_of(const std::string& key, const std::vector<std::string>& allowed);
  const std::string& digest(const std::string& key);
  // The name of a file in the same folder.
  const std::string& file_name(const std::string& key);
  Fields inner(const std::string& key) { return {take(key), place(key), "."}; }
  // Whether the key, which must be there, is null.
  bool null(const std::string& key) { return take(key).is_null(); }
  std::vector<std::string> texts(const std::string& key);
  std::vector<double> numbers(const std::string& key);
  std::vector<int64_t> integers(const std::string& key);

  // The keys that nobody took yet.
  std::vector<std::string> rest() const;
  // Throws Failure naming the keys that nobody took.
  void done() const;

  // The path of a key, for errors.
  std::string place(const std::string& key) const;
  Failure wrong(const std::string& key, const std::string& expected, const std::string& found) const;

 private:
  Fields(const Json& json, const std::string& where, const char* joint);
  template <class Value, class Read>
  std::vector<Value> list(const std::string& key, const Read& read);

  std::string where_;
  const char* joint_;  // between `where_` and a key
  const Json::Object* members_;
  std::set<std::string> taken_;
};

// Whether the text can be the name of a file in some folder.
bool is_file_name(const std::string& text);

}  // namespace glorext
