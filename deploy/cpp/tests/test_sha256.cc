// SHA-256 against the examples of FIPS 180-4 and around the block boundary.
#include <doctest/doctest.h>

#include <string>

#include "sha256.h"

namespace {

std::string digest(const std::string& text) { return glorext::sha256_hex(text.data(), text.size()); }

}  // namespace

TEST_CASE("the published examples") {
  CHECK(digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(digest(std::string(1000000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("lengths at which the padding needs a second block") {
  CHECK(digest(std::string(55, 'x')) == "d5e285683cd4efc02d021a5c62014694958901005d6f71e89e0989fac77e4072");
  CHECK(digest(std::string(56, 'x')) == "04c26261370ee7541549d16dee320c723e3fd14671e66a099afe0a377c16888e");
  CHECK(digest(std::string(64, 'x')) == "7ce100971f64e7001e8fe5a51973ecdfe1ced42befe7ee8d5fd6219506b5393c");
}

TEST_CASE("the system's library and the own code agree") {
  std::string data(3 << 20, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * i >> 7);
  for (const size_t size : {data.size(), data.size() - 1, size_t{1} << 20})
    CHECK(glorext::sha256_hex(data.data(), size) == glorext::own_sha256_hex(data.data(), size));
  CHECK(glorext::own_sha256_hex(std::string(1000000, 'a').data(), 1000000) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}
