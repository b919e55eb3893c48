// What can go wrong, as exception classes: Failure (exit status 1), Usage (2) and Interrupted (130, as of shells).
#pragma once

#include <stdexcept>
#include <string>

namespace glorext {

class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  virtual int exit_status() const { return 1; }
};

class Usage : public Failure {
 public:
  using Failure::Failure;
  int exit_status() const override { return 2; }
};

class Interrupted : public Failure {
 public:
  using Failure::Failure;
  int exit_status() const override { return 130; }
};

}  // namespace glorext
