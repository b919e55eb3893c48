// NumPy's .npy files, version 1.0, C order, little endian.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace glorext {

struct NpyArray {
  std::string dtype;  // "<f4" or "|u1"
  std::vector<int64_t> shape;
  std::string bytes;

  int64_t rows() const { return shape.empty() ? 0 : shape[0]; }
};

// Throws Failure: no .npy file, another dtype, Fortran order, a size that does not match the shape.
NpyArray read_npy(const std::string& path);

void write_npy(const std::string& path, const std::string& dtype, const std::vector<int64_t>& shape, const void* data);

}  // namespace glorext
