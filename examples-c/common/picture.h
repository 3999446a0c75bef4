/* 8-bit RGB pictures, read and written as PNG. */
#ifndef EXAMPLES_PICTURE_H
#define EXAMPLES_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Rows from top to bottom, 3 bytes a pixel, no padding. All zero is an empty picture. */
typedef struct {
    uint32_t width;
    uint32_t height;
    uint8_t *rgb;
} Picture;

/* Each prints a sentence and returns false on failure; the picture is then left empty or as it was. */
bool picture_create(uint32_t width, uint32_t height, Picture *picture);
bool picture_read_png(const char *path, Picture *picture);
bool picture_write_png(const char *path, const Picture *picture);

void picture_free(Picture *picture);

static inline size_t picture_pixels(const Picture *picture)
{
    return (size_t)picture->width * picture->height;
}

/* Draws `from`, scaled by bilinear interpolation to width x height, with its top left corner at (x, y) of `to`. */
void picture_place(const Picture *from, Picture *to, uint32_t x, uint32_t y, uint32_t width, uint32_t height);

#ifdef __cplusplus
}
#endif

#endif
