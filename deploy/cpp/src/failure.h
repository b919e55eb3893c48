// What can go wrong, as two exception classes: Failure (exit status 1) and Usage (exit status 2).
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

}  // namespace glorext
