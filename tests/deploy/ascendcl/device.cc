// A stand-in for AscendCL over plain memory: cards, contexts and buffers. There is no card and no compiler, so it shows
// only what the host side of a program does with the answers.
//   STAND_IN_CARDS   number of cards, 1 without it; "error" for a driver that does not answer
//   STAND_IN_CHIP    the chip's name; none without it
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int kInternalError = 507000;  // ACL_ERROR_RT_INTERNAL_ERROR
constexpr int kInvalidDevice = 107001;  // ACL_ERROR_RT_INVALID_DEVICEID
constexpr int kInvalidParam = 100000;   // ACL_ERROR_INVALID_PARAM
constexpr int kBadAllocation = 200000;  // ACL_ERROR_BAD_ALLOC
constexpr int kRunsOnHost = 1;          // ACL_HOST

int allocate(void** memory, size_t size) {
  *memory = std::malloc(size == 0 ? 1 : size);
  return *memory == nullptr ? kBadAllocation : 0;
}

}  // namespace

extern "C" {

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
  return error != 0 ? error : static_cast<uint32_t>(device) < count ? 0 : kInvalidDevice;
}
int aclrtResetDevice(int) { return 0; }
int aclrtCreateContext(void** context, int) { return allocate(context, 1); }
int aclrtDestroyContext(void* context) {
  std::free(context);
  return 0;
}
int aclrtSetCurrentContext(void*) { return 0; }
int aclrtGetRunMode(int* mode) {
  *mode = kRunsOnHost;
  return 0;
}

int aclrtMalloc(void** memory, size_t size, int) { return allocate(memory, size); }
int aclrtMallocHost(void** memory, size_t size) { return allocate(memory, size); }
int aclrtFree(void* memory) {
  std::free(memory);
  return 0;
}
int aclrtFreeHost(void* memory) { return aclrtFree(memory); }
int aclrtMemcpy(void* target, size_t room, const void* source, size_t size, int) {
  if (size > room) return kInvalidParam;
  std::memcpy(target, source, size);
  return 0;
}

const char* aclGetRecentErrMsg() { return "the stand-in for AscendCL"; }

}  // extern "C"
