// Command-line flags: --name value, --name=value and switches; every mistake is a Usage error.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace glorext {

class Flags {
 public:
  // `valued` and `switches` are the known names without dashes. Throws Usage: unknown, repeated or without a value.
  Flags(int argc, char** argv, const std::vector<std::string>& valued, const std::vector<std::string>& switches);

  bool has(const std::string& name) const { return values_.count(name) > 0; }
  std::string text(const std::string& name, const std::string& fallback) const;
  std::string required(const std::string& name) const;
  std::string choice(const std::string& name, const std::vector<std::string>& allowed,
                     const std::string& fallback) const;
  int number(const std::string& name, int least, int most, int fallback) const;
  const std::vector<std::string>& rest() const { return rest_; }

 private:
  std::map<std::string, std::string> values_;
  std::vector<std::string> rest_;
};

// Runs `body` and turns its exceptions into a line on stderr and an exit status.
int run_program(const char* name, int (*body)(int, char**), int argc, char** argv);

}  // namespace glorext
