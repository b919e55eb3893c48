// A stand-in for AscendCL over plain memory: cards, contexts and buffers. There is no card and no compiler, so it shows
// only what the host side of a program does with the answers; whoever asks is told so (`glorext_stand_in`).
//   STAND_IN_CARDS    number of cards, 1 without it; "error" for a driver that does not answer
//   STAND_IN_CHIP     the chip's name; none without it
//   STAND_IN_MEMORY   bytes of a card; without it there is no end
#include "device.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

namespace stand_in {
namespace {

constexpr int kInternalError = 507000;  // ACL_ERROR_RT_INTERNAL_ERROR
constexpr int kInvalidDevice = 107001;  // ACL_ERROR_RT_INVALID_DEVICEID
constexpr int kNoContext = 107002;      // ACL_ERROR_RT_CONTEXT_NULL
constexpr int kInvalidParam = 100000;   // ACL_ERROR_INVALID_PARAM
constexpr int kOutOfMemory = 207001;    // ACL_ERROR_RT_MEMORY_ALLOCATION
constexpr int kRunsOnHost = 1;          // ACL_HOST

std::mutex mutex;
std::map<const void*, size_t> on_card;  // what was allocated there
size_t taken = 0;
std::string message;
// A context belongs to the thread that made it current: without one, a card does nothing.
thread_local const void* current = nullptr;
const char default_context = 0;

}  // namespace

int failed(int error, const std::string& why) {
  const std::lock_guard<std::mutex> lock(mutex);
  message = why;
  return error;
}

int require_context() { return current == nullptr ? failed(kNoContext, "EZ9999: no context in this thread") : 0; }

int take(const void* owner, size_t size) {
  const char* const most = std::getenv("STAND_IN_MEMORY");
  {
    const std::lock_guard<std::mutex> lock(mutex);
    if (most == nullptr || taken + size <= std::strtoull(most, nullptr, 10)) {
      on_card[owner] = size;
      taken += size;
      return 0;
    }
  }
  return failed(kOutOfMemory, "EL0004: failed to allocate memory,\n        " + std::to_string(size) + " bytes");
}

void give_back(const void* owner) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = on_card.find(owner);
  if (found == on_card.end()) return;
  taken -= found->second;
  on_card.erase(found);
}

}  // namespace stand_in

using namespace stand_in;

extern "C" {

const char* glorext_stand_in() { return "AscendCL stand-in, not a card"; }

int aclInit(const char*) { return 0; }
int aclFinalize() { return 0; }

int aclrtGetDeviceCount(uint32_t* count) {
  const char* const cards = std::getenv("STAND_IN_CARDS");
  if (cards != nullptr && std::strcmp(cards, "error") == 0) return kInternalError;
  *count = cards == nullptr ? 1 : static_cast<uint32_t>(std::atoi(cards));
  return 0;
}

const char* aclrtGetSocName() { return std::getenv("STAND_IN_CHIP"); }

int aclrtSetDevice(int device) {
  uint32_t count = 0;
  const int error = aclrtGetDeviceCount(&count);
  if (error != 0) return error;
  if (static_cast<uint32_t>(device) >= count) return kInvalidDevice;
  current = &default_context;
  return 0;
}
int aclrtResetDevice(int) { return 0; }
int aclrtCreateContext(void** context, int) {
  current = *context = std::malloc(1);
  return *context == nullptr ? kOutOfMemory : 0;
}
int aclrtDestroyContext(void* context) {
  if (current == context) current = nullptr;
  std::free(context);
  return 0;
}
int aclrtSetCurrentContext(void* context) {
  current = context;
  return 0;
}
int aclrtGetRunMode(int* mode) {
  *mode = kRunsOnHost;
  return 0;
}

int aclrtMallocHost(void** memory, size_t size) {
  *memory = std::malloc(size == 0 ? 1 : size);
  return *memory == nullptr ? kOutOfMemory : 0;
}
int aclrtMalloc(void** memory, size_t size, int) {
  int error = require_context();
  if (error == 0) error = aclrtMallocHost(memory, size);
  if (error == 0 && (error = take(*memory, size)) != 0) std::free(*memory);
  return error;
}
int aclrtFreeHost(void* memory) {
  std::free(memory);
  return 0;
}
int aclrtFree(void* memory) {
  give_back(memory);
  return aclrtFreeHost(memory);
}
int aclrtMemcpy(void* target, size_t room, const void* source, size_t size, int) {
  if (size > room) return kInvalidParam;
  if (const int error = require_context()) return error;
  std::memcpy(target, source, size);
  return 0;
}

const char* aclGetRecentErrMsg() {
  static thread_local std::string said;
  const std::lock_guard<std::mutex> lock(mutex);
  said.swap(message);
  message.clear();
  return said.empty() ? nullptr : said.c_str();
}

}  // extern "C"
