// What several tests need: a folder that goes away, pictures with known pixels, the text of a failure.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "failure.h"
#include "picture.h"

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "glorext-test-XXXXXX").native();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Pixels from a linear congruential generator: the same on every machine.
inline glorext::Picture noise(int width, int height, uint32_t seed) {
  glorext::Picture picture{width, height, {}};
  picture.rgb.resize(static_cast<size_t>(width) * height * 3);
  for (uint8_t& value : picture.rgb) {
    seed = seed * 1664525 + 1013904223;
    value = static_cast<uint8_t>(seed >> 24);
  }
  return picture;
}

// The message of the Failure that `body` throws, or "no failure".
template <class Body>
std::string message_of(const Body& body) {
  try {
    body();
  } catch (const glorext::Failure& failure) {
    return failure.what();
  }
  return "no failure";
}

inline bool mentions(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
