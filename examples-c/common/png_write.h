/* RGB pictures as PNG files, row by row. */
#ifndef EXAMPLES_PNG_WRITE_H
#define EXAMPLES_PNG_WRITE_H

#include <stdbool.h>
#include <stdint.h>

/* Fills the bytes of row y, counted from the top; channels of 16 bits have their larger byte first. */
typedef void PngRow(const void *from, uint32_t y, unsigned char *bytes);

/* Writes a picture with `depth` bits a channel, 8 or 16. Prints a sentence and returns false on failure. */
bool png_write(const char *path, uint32_t width, uint32_t height, int depth, PngRow *row, const void *from);

#endif
