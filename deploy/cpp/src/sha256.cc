// SHA-256 after FIPS 180-4; kept here so that the machine with the card needs no crypto library, and by the system's
// libcrypto where there is one, since that has the processor's own instructions for it.
#include "sha256.h"

#include <dlfcn.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace glorext {
namespace {

constexpr size_t kBlock = 64;
constexpr size_t kDigest = 32;
constexpr size_t kWorthALibrary = 1 << 20;

// Section 4.2.2: the first 32 bits of the fractional parts of the cube roots of the first 64 primes.
constexpr std::array<uint32_t, 64> kRound = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

void compress(std::array<uint32_t, 8>& state, const unsigned char* block) {
  std::array<uint32_t, 64> w;
  for (size_t t = 0; t < 16; ++t)
    w[t] = static_cast<uint32_t>(block[4 * t]) << 24 | static_cast<uint32_t>(block[4 * t + 1]) << 16 |
           static_cast<uint32_t>(block[4 * t + 2]) << 8 | block[4 * t + 3];
  for (size_t t = 16; t < 64; ++t) {
    const uint32_t s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3;
    const uint32_t s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10;
    w[t] = w[t - 16] + s0 + w[t - 7] + s1;
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (size_t t = 0; t < 64; ++t) {
    const uint32_t big1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const uint32_t t1 = h + big1 + ((e & f) ^ (~e & g)) + kRound[t] + w[t];
    const uint32_t big0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const uint32_t t2 = big0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + t1;
    d = c;
    c = b;
    b = a;
    a = t1 + t2;
  }
  const std::array<uint32_t, 8> add = {a, b, c, d, e, f, g, h};
  for (size_t i = 0; i < 8; ++i) state[i] += add[i];
}

// EVP_Digest and EVP_sha256 of OpenSSL 1.1 and 3.
using Digest = int (*)(const void*, size_t, unsigned char*, unsigned*, const void*, void*);
using Algorithm = const void* (*)();

struct Crypto {
  Digest digest = nullptr;
  Algorithm sha256 = nullptr;
};

const Crypto& crypto() {
  static const Crypto found = [] {
    for (const char* name : {"libcrypto.so.3", "libcrypto.so.1.1"}) {
      void* const library = ::dlopen(name, RTLD_LAZY | RTLD_LOCAL);
      if (library == nullptr) continue;
      const Crypto made = {reinterpret_cast<Digest>(::dlsym(library, "EVP_Digest")),
                           reinterpret_cast<Algorithm>(::dlsym(library, "EVP_sha256"))};
      if (made.digest != nullptr && made.sha256 != nullptr) return made;
    }
    return Crypto{};
  }();
  return found;
}

std::string hex_of(const unsigned char* bytes) {
  std::string hex;
  char pair[3];
  for (size_t i = 0; i < kDigest; ++i) {
    std::snprintf(pair, sizeof pair, "%02x", bytes[i]);
    hex += pair;
  }
  return hex;
}

}  // namespace

std::string sha256_hex(const void* data, size_t size) {
  std::array<unsigned char, kDigest> digest;
  unsigned written = 0;
  // Below that size loading the library takes longer.
  if (size >= kWorthALibrary && crypto().digest != nullptr &&
      crypto().digest(data, size, digest.data(), &written, crypto().sha256(), nullptr) == 1 && written == kDigest)
    return hex_of(digest.data());
  return own_sha256_hex(data, size);
}

std::string own_sha256_hex(const void* data, size_t size) {
  std::array<uint32_t, 8> state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  const auto* bytes = static_cast<const unsigned char*>(data);
  const size_t whole = size / kBlock * kBlock;
  for (size_t i = 0; i < whole; i += kBlock) compress(state, bytes + i);

  std::array<unsigned char, 2 * kBlock> tail{};
  const size_t rest = size - whole;
  if (rest > 0) std::memcpy(tail.data(), bytes + whole, rest);
  tail[rest] = 0x80;
  const size_t end = rest + 9 <= kBlock ? kBlock : 2 * kBlock;
  const uint64_t bits = static_cast<uint64_t>(size) * 8;
  for (size_t i = 0; i < 8; ++i) tail[end - 1 - i] = static_cast<unsigned char>(bits >> 8 * i);
  for (size_t i = 0; i < end; i += kBlock) compress(state, tail.data() + i);

  std::array<unsigned char, kDigest> digest;
  for (size_t i = 0; i < kDigest; ++i) digest[i] = static_cast<unsigned char>(state[i / 4] >> (24 - 8 * (i % 4)));
  return hex_of(digest.data());
}

}  // namespace glorext
