/* libglorext for C, and for every language that can call C. See glorext/classifier.h for what each part means. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "glorext/export.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct glorext_classifier glorext_classifier;

typedef struct {
  int64_t index;
  const char* label; /* valid until the classifier is closed */
  double probability;
} glorext_answer;

/* Why the last call on this thread failed; "" when it did not. Valid until the next call on this thread. */
GLOREXT_API const char* glorext_error(void);

/* NULL on failure. `device`: NULL for "cpu". `workers`: 0 chooses. Close it with glorext_close. */
GLOREXT_API glorext_classifier* glorext_open(const char* model, const char* device, int device_id, int workers);
GLOREXT_API void glorext_close(glorext_classifier* classifier);

GLOREXT_API int64_t glorext_classes(const glorext_classifier* classifier);
GLOREXT_API int glorext_size(const glorext_classifier* classifier);
GLOREXT_API int glorext_workers(const glorext_classifier* classifier);

/* Each writes at most `room` answers (five are known), best first, and returns how many; -1 on failure. */
GLOREXT_API int glorext_classify_file(const glorext_classifier* classifier, const char* path, glorext_answer* answers,
                                      int room);
GLOREXT_API int glorext_classify_bytes(const glorext_classifier* classifier, const void* data, size_t size,
                                       glorext_answer* answers, int room);
GLOREXT_API int glorext_classify_image(const glorext_classifier* classifier, const uint8_t* rgb, int width, int height,
                                       size_t stride, glorext_answer* answers, int room);
GLOREXT_API int glorext_classify_tensor(const glorext_classifier* classifier, const float* values, size_t count,
                                        glorext_answer* answers, int room);

#ifdef __cplusplus
}
#endif
