// SHA-256 (FIPS 180-4).
#pragma once

#include <cstddef>
#include <string>

namespace glorext {

// 64 lower-case hex digits.
std::string sha256_hex(const void* data, size_t size);

// The same without the system's libcrypto.
std::string own_sha256_hex(const void* data, size_t size);

}  // namespace glorext
