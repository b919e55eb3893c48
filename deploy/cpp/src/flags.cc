// Parsing of command-line flags, and their help.
#include "flags.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "failure.h"
#include "json.h"

namespace glorext {
namespace {

constexpr size_t kHelpWidth = 120;

std::string joined(const std::vector<std::string>& names, const std::string& marked = "") {
  std::string list;
  for (const std::string& name : names)
    list += (list.empty() ? "" : ", ") + name + (!name.empty() && name == marked ? " (default)" : "");
  return list;
}

[[noreturn]] void refuse(const std::string& name, const std::string& expected, const std::string& found) {
  throw Usage("--" + name + ": expected " + expected + "; found " + in_quotes(found));
}

// A line of the help whose text begins at `column`, broken at spaces where it is too long.
std::string help_line(const std::string& flag, const std::string& text, size_t column) {
  std::string out = flag + std::string(column - flag.size(), ' ');
  size_t width = column;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    if (width + end - begin > kHelpWidth) {
      out += "\n" + std::string(column, ' ');
      width = column;
    }
    out += text.substr(begin, end - begin) + (end < text.size() ? " " : "");
    width += end - begin + 1;
    begin = end + 1;
  }
  return out + "\n";
}

// A program that was started with its parent's number in GLOREXT_PARENT ends with it: nobody would read what it finds.
void end_with_parent() {
  const char* parent = std::getenv("GLOREXT_PARENT");
  if (parent == nullptr) return;
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (std::to_string(::getppid()) != parent) std::exit(1);  // it has ended already
}

}  // namespace

Flags& Flags::add(const std::string& name, const std::string& value, const std::string& help,
                  std::function<void(const std::string&)> set) {
  flags_.push_back({name, value, help, std::move(set)});
  return *this;
}

Flags& Flags::text(const std::string& name, const std::string& value, std::string& target, const std::string& help) {
  return add(name, value, help, [&target](const std::string& given) { target = given; });
}

Flags& Flags::choice(const std::string& name, const std::string& value, std::string& target,
                     const std::vector<std::string>& allowed, const std::string& help) {
  const std::string list = joined(allowed, target);
  return add(name, value, help.empty() ? list : list + "; " + help, [=, &target](const std::string& given) {
    if (std::find(allowed.begin(), allowed.end(), given) == allowed.end())
      refuse(name, "one of " + joined(allowed), given);
    target = given;
  });
}

Flags& Flags::number(const std::string& name, const std::string& value, int& target, int least, int most,
                     const std::string& help) {
  const bool has_default = target >= least && target <= most;
  return add(name, value, help + (has_default ? " (default " + std::to_string(target) + ")" : ""),
             [=, &target](const std::string& given) {
               char* end = nullptr;
               errno = 0;
               const long parsed = std::strtol(given.c_str(), &end, 10);
               if (given.empty() || *end != '\0' || errno != 0 || parsed < least || parsed > most)
                 refuse(name, "a whole number from " + std::to_string(least) + " to " + std::to_string(most), given);
               target = static_cast<int>(parsed);
             });
}

Flags& Flags::real(const std::string& name, const std::string& value, double& target, const std::string& help) {
  char text[32];
  std::snprintf(text, sizeof text, " (default %g)", target);
  return add(name, value, help + text, [=, &target](const std::string& given) {
    char* end = nullptr;
    const double parsed = std::strtod(given.c_str(), &end);
    if (given.empty() || *end != '\0' || !(parsed >= 0) || !std::isfinite(parsed))
      refuse(name, "a number of at least 0", given);
    target = parsed;
  });
}

Flags& Flags::on(const std::string& name, bool& target, const std::string& help) {
  return add(name, "", help, [&target](const std::string&) { target = true; });
}

Flags& Flags::required() {
  flags_.back().required = true;
  return *this;
}

Flags& Flags::words(std::vector<std::string>& target) {
  words_ = &target;
  return *this;
}

Flags::Flag& Flags::find(const std::string& name) {
  const auto found = std::find_if(flags_.begin(), flags_.end(), [&](const Flag& flag) { return flag.name == name; });
  if (found == flags_.end()) throw Usage("unknown flag --" + printable(name) + "; see --help");
  return *found;
}

bool Flags::parse(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--help") {
      std::fputs(help().c_str(), stdout);
      return false;
    }
    if (word.compare(0, 2, "--") != 0) {
      if (words_ == nullptr) throw Usage("unexpected argument " + in_quotes(word) + "; see --help");
      words_->push_back(word);
      continue;
    }
    const size_t equals = word.find('=');
    Flag& flag = find(word.substr(2, equals == std::string::npos ? equals : equals - 2));
    if (flag.given) throw Usage("--" + flag.name + " is given twice");
    std::string value;
    if (equals != std::string::npos) {
      if (flag.value.empty()) throw Usage("--" + flag.name + " takes no value");
      value = word.substr(equals + 1);
    } else if (!flag.value.empty()) {
      if (i + 1 >= argc) throw Usage("--" + flag.name + " needs a value");
      value = argv[++i];
    }
    flag.given = !(flag.required && value.empty());
    flag.set(value);
  }
  for (const Flag& flag : flags_)
    if (flag.required && !flag.given) throw Usage("--" + flag.name + " is required; see --help");
  return true;
}

std::string Flags::help() const {
  const auto name = [](const Flag& flag) { return "  --" + flag.name + (flag.value.empty() ? "" : " ") + flag.value; };
  size_t longest = 0;
  for (const Flag& flag : flags_) longest = std::max(longest, name(flag).size());
  std::string out = about_;
  for (const Flag& flag : flags_) out += help_line(name(flag), flag.help, longest + 2);
  return out + end_;
}

int run_program(const char* name, int (*body)(int, char**), int argc, char** argv) {
  end_with_parent();
  // A file that grows beyond `ulimit -f` is an error of its write, not the end of the process.
  std::signal(SIGXFSZ, SIG_IGN);
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
