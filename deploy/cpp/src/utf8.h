// UTF-8: which bytes form a character, and a character's bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace glorext {

// Bytes of the well-formed character that begins at text[at] (1 to 4), 0 if none does.
size_t utf8_length(const std::string& text, size_t at);

// Appends one code point; for half of a surrogate pair, which UTF-8 cannot hold, three bytes that are not UTF-8.
void append_utf8(std::string& out, uint32_t code);

}  // namespace glorext
