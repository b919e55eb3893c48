// The .npy format as NumPy documents it (numpy.lib.format, version 1.0).
#include "npy.h"

#include <cctype>
#include <cstdlib>
#include <cstring>

#include "failure.h"
#include "files.h"

namespace glorext {
namespace {

constexpr size_t kPrefix = 10;  // magic, version, header length
constexpr size_t kLimit = size_t{1} << 32;

size_t item_size(const std::string& dtype, const std::string& where) {
  if (dtype == "<f4") return 4;
  if (dtype == "|u1") return 1;
  throw Failure(where + ": expected float32 or uint8 (<f4 or |u1), found " + dtype);
}

size_t byte_count(const std::string& dtype, const std::vector<int64_t>& shape, const std::string& where) {
  size_t count = item_size(dtype, where);
  for (const int64_t n : shape) {
    if (n < 0 || (n > 0 && count > kLimit / static_cast<size_t>(n))) throw Failure(where + ": impossible shape");
    count *= static_cast<size_t>(n);
  }
  return count;
}

// The text after 'key': in the header's Python literal.
std::string after_key(const std::string& header, const std::string& key, const std::string& where) {
  const size_t at = header.find("'" + key + "':");
  if (at == std::string::npos) throw Failure(where + ": its .npy header lacks " + key);
  return header.substr(header.find_first_not_of(' ', at + key.size() + 3));
}

std::vector<int64_t> parse_shape(const std::string& text, const std::string& where) {
  const size_t close = text.find(')');
  if (text.empty() || text[0] != '(' || close == std::string::npos) throw Failure(where + ": unreadable shape");
  std::vector<int64_t> shape;
  for (size_t at = 1; at < close;) {
    char* end = nullptr;
    if (!std::isdigit(static_cast<unsigned char>(text[at]))) {
      ++at;
      continue;
    }
    shape.push_back(std::strtoll(text.c_str() + at, &end, 10));
    at = static_cast<size_t>(end - text.c_str());
  }
  return shape;
}

}  // namespace

NpyArray read_npy(const std::string& path) {
  const std::string file = read_file(path, kLimit);
  if (file.size() < kPrefix || file.compare(0, 6, "\x93NUMPY") != 0) throw Failure(path + ": not a .npy file");
  if (file[6] != 1) throw Failure(path + ": expected .npy version 1.0, found " + std::to_string(file[6]));
  const auto byte = [&](size_t at) { return static_cast<size_t>(static_cast<unsigned char>(file[at])); };
  const size_t length = byte(8) | byte(9) << 8;
  if (file.size() < kPrefix + length) throw Failure(path + ": the .npy header is cut off");
  const std::string header = file.substr(kPrefix, length);

  NpyArray array;
  const std::string descr = after_key(header, "descr", path);
  array.dtype = descr.substr(1, descr.find('\'', 1) - 1);
  if (after_key(header, "fortran_order", path).compare(0, 5, "False") != 0)
    throw Failure(path + ": expected C order, found Fortran order");
  array.shape = parse_shape(after_key(header, "shape", path), path);
  const size_t wanted = byte_count(array.dtype, array.shape, path);
  if (file.size() - kPrefix - length != wanted)
    throw Failure(path + ": expected " + std::to_string(wanted) + " bytes of data, found " +
                  std::to_string(file.size() - kPrefix - length));
  array.bytes = file.substr(kPrefix + length);
  return array;
}

void write_npy(const std::string& path, const std::string& dtype, const std::vector<int64_t>& shape, const void* data) {
  std::string header = "{'descr': '" + dtype + "', 'fortran_order': False, 'shape': (";
  for (const int64_t n : shape) header += std::to_string(n) + ",";
  header += "), }";
  // The data begins at a multiple of 64 bytes, and the header ends in a newline.
  header.append(63 - (kPrefix + header.size()) % 64, ' ');
  header += '\n';
  std::string file = std::string("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(header.size() & 0xFF);
  file += static_cast<char>(header.size() >> 8);
  file += header;
  const size_t size = byte_count(dtype, shape, path);
  if (size > 0) file.append(static_cast<const char*>(data), size);
  write_file(path, file.data(), file.size());
}

}  // namespace glorext
