// Command-line flags, each said once: its name, what it sets, its limits and its line of the help.
// --name value, --name=value and switches; every mistake is a Usage error.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace glorext {

class Flags {
 public:
  // `about` is the beginning of the help, `end` its end; the flags stand between them.
  Flags(std::string about, std::string end) : about_(std::move(about)), end_(std::move(end)) {}

  // A flag with a value, shown as `value` in the help, that sets `target`; what `target` held is the default.
  Flags& text(const std::string& name, const std::string& value, std::string& target, const std::string& help);
  Flags& choice(const std::string& name, const std::string& value, std::string& target,
                const std::vector<std::string>& allowed, const std::string& help = "");
  Flags& number(const std::string& name, const std::string& value, int& target, int least, int most,
                const std::string& help);
  // A number of at least 0.
  Flags& real(const std::string& name, const std::string& value, double& target, const std::string& help);
  // A flag without a value.
  Flags& on(const std::string& name, bool& target, const std::string& help);
  // The flag before this one must be given, and not as an empty text.
  Flags& required();
  // Words that are no flags; without this they are a mistake.
  Flags& words(std::vector<std::string>& target);

  // Sets the targets. False: --help was asked for and printed. Throws Usage: a flag that is unknown, repeated, missing,
  // without a value or with an impossible one; then some targets may be set.
  bool parse(int argc, char** argv);

  std::string help() const;

 private:
  struct Flag {
    std::string name;
    std::string value;  // empty: a switch
    std::string help;
    std::function<void(const std::string&)> set;
    bool required = false;
    bool given = false;
  };

  Flags& add(const std::string& name, const std::string& value, const std::string& help,
             std::function<void(const std::string&)> set);
  Flag& find(const std::string& name);

  std::string about_;
  std::string end_;
  std::vector<Flag> flags_;
  std::vector<std::string>* words_ = nullptr;
};

// Runs `body` and turns its exceptions into a line on stderr and an exit status.
int run_program(const char* name, int (*body)(int, char**), int argc, char** argv);

}  // namespace glorext
