// What the two halves of the stand-in for AscendCL share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace stand_in {

// `error`; the next aclGetRecentErrMsg says `why`.
int failed(int error, const std::string& why);

// An error of AscendCL where this thread has no context, else 0.
int require_context();

// `size` bytes of the card's memory for `owner`; an error where there is no room.
int take(const void* owner, size_t size);
void give_back(const void* owner);

}  // namespace stand_in
