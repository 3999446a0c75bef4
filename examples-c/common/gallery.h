/* A picture of what a generator of pictures makes, out of the same sources each time. */
#ifndef EXAMPLES_GALLERY_H
#define EXAMPLES_GALLERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "images.h"
#include "noise.h"
#include "sfeuot.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    bool pairs; /* whether sources are shown, each left of what was made of it */
    size_t rows;
    uint32_t channels, size; /* of a picture */
    uint64_t seed;
    float *sources, *generated; /* rows x channels x size x size numbers each */
} Gallery;

/*
 * Chooses the sources: pictures that are evenly spread over the set or, where that is NULL, samples of the noise that no
 * training sees. Prints a sentence and returns false on failure.
 */
bool gallery_open(const Images *images, const Noise *noise, uint64_t seed, Gallery *gallery);

void gallery_close(Gallery *gallery);

/* Generates, and writes 8 x 8 pictures as PNG. Prints a sentence and returns false on failure. */
bool gallery_write(const Gallery *gallery, SfeuotSession *session, const char *path);

/* Writes 8 x 8 pictures of a set, to see beside what is generated. Prints a sentence and returns false on failure. */
bool gallery_write_set(const Images *images, const char *path);

#ifdef __cplusplus
}
#endif

#endif
