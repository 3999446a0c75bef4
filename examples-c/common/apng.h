/* Animated PNG: what any browser plays, and a plain PNG of the first frame to everything else. */
#ifndef EXAMPLES_APNG_H
#define EXAMPLES_APNG_H

#include "picture.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Writes `count` frames of equal size, frame i shown for milliseconds[i] (1 to 65535), repeated for ever. Prints a
 * sentence and returns false on failure.
 */
bool apng_write(const char *path, const Picture *frames, const uint16_t *milliseconds, uint32_t count);

#ifdef __cplusplus
}
#endif

#endif
