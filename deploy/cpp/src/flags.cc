// Parsing of command-line flags.
#include "flags.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "failure.h"

namespace glorext {
namespace {

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

Flags::Flags(int argc, char** argv, const std::vector<std::string>& valued, const std::vector<std::string>& switches) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.compare(0, 2, "--") != 0) {
      rest_.push_back(word);
      continue;
    }
    const size_t equals = word.find('=');
    const std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
    const bool is_switch = contains(switches, name);
    if (!is_switch && !contains(valued, name)) throw Usage("unknown flag --" + name + "; see --help");
    if (is_switch && equals != std::string::npos) throw Usage("--" + name + " takes no value");
    std::string value;
    if (equals != std::string::npos) {
      value = word.substr(equals + 1);
    } else if (!is_switch) {
      if (i + 1 >= argc) throw Usage("--" + name + " needs a value");
      value = argv[++i];
    }
    if (!values_.emplace(name, value).second) throw Usage("--" + name + " is given twice");
  }
}

std::string Flags::text(const std::string& name, const std::string& fallback) const {
  const auto found = values_.find(name);
  return found == values_.end() ? fallback : found->second;
}

std::string Flags::required(const std::string& name) const {
  const std::string value = text(name, "");
  if (value.empty()) throw Usage("--" + name + " is required; see --help");
  return value;
}

std::string Flags::choice(const std::string& name, const std::vector<std::string>& allowed,
                          const std::string& fallback) const {
  const std::string value = text(name, fallback);
  if (contains(allowed, value)) return value;
  std::string list;
  for (const std::string& one : allowed) list += (list.empty() ? "" : ", ") + one;
  throw Usage("--" + name + ": expected one of " + list + "; found \"" + value + "\"");
}

int Flags::number(const std::string& name, int least, int most, int fallback) const {
  if (!has(name)) return fallback;
  const std::string value = text(name, "");
  char* end = nullptr;
  errno = 0;
  const long parsed = std::strtol(value.c_str(), &end, 10);
  if (value.empty() || *end != '\0' || errno != 0 || parsed < least || parsed > most)
    throw Usage("--" + name + ": expected a whole number from " + std::to_string(least) + " to " +
                std::to_string(most) + "; found \"" + value + "\"");
  return static_cast<int>(parsed);
}

int run_program(const char* name, int (*body)(int, char**), int argc, char** argv) {
  try {
    return body(argc, argv);
  } catch (const Failure& failure) {
    std::fprintf(stderr, "%s: %s\n", name, failure.what());
    return failure.exit_status();
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "%s: out of memory\n", name);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
  }
  return 1;
}

}  // namespace glorext
