/* Sets of small square pictures, as a training takes them. */
#ifndef EXAMPLES_IMAGES_H
#define EXAMPLES_IMAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "folder.h"

#ifdef __cplusplus
extern "C" {
#endif

/* count pictures of the shape {channels, size, size}, one after the other without gaps. All zero is an empty set. */
typedef struct {
    size_t count;
    uint32_t channels; /* 1 for grey pictures, 3 for red, green and blue */
    uint32_t size;
    uint8_t *pixels;
} Images;

/* Each prints a sentence and returns false on failure; the set is then empty or as it was. */
bool images_create(size_t count, uint32_t channels, uint32_t size, Images *images);

/*
 * Reads pictures from a folder of PNG and JPEG files or from an IDX file, or draws them where the name is one of shapes.h. The
 * largest square in the middle of each picture is made size x size pixels, each the mean of the area that it covers; so
 * 28 pixels become 16 by areas of 1.75. Pictures are made smaller only. A folder whose pictures are all grey gives 1
 * channel. Files of a folder are decoded on so many threads; the set is the same for any of them.
 */
bool images_read(const char *name, uint32_t size, uint32_t decoders, Images *images);

/* The same for a list of files. */
bool images_read_files(const PathList *list, uint32_t size, uint32_t decoders, Images *images);

/* Reads one file as three planes of size x size pixels: red, green and blue. May be called on several threads. */
bool images_read_file(const char *path, uint32_t size, uint8_t *planes);

/* Whether the three planes are equal. */
bool images_grey(const uint8_t *planes, uint32_t size);

/* Gives both sets the same channels: a set of grey pictures gets three equal ones beside a set of coloured pictures. */
bool images_match(Images *one, Images *other);

void images_free(Images *images);

/* Numbers of one picture. */
static inline size_t images_numbers(const Images *images)
{
    return (size_t)images->channels * images->size * images->size;
}

/* Bytes from 0 to 255 are numbers from -1 to 1: byte * IMAGES_SCALE + IMAGES_OFFSET. */
#define IMAGES_SCALE (1 / 127.5)
#define IMAGES_OFFSET (-1.0)

/* Writes the mean picture, and returns the root mean square of the pixels' deviations from it. */
double images_mean(const Images *images, float *mean);

/* The numbers of some pictures, evenly spread over the set. Sets with fewer than `rows` are repeated. */
void images_pick(const Images *images, size_t rows, float *numbers);

#ifdef __cplusplus
}
#endif

#endif
