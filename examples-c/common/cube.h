/* Three-dimensional colour look-up tables in the Adobe .cube format, which grading programs and engines read. */
#ifndef EXAMPLES_CUBE_H
#define EXAMPLES_CUBE_H

#include <stdbool.h>
#include <stdint.h>

/* size^3 colours in 0..1, red running fastest: entry (r, g, b) starts at 3 * (r + size * (g + size * b)). */
typedef struct {
    uint32_t size; /* 2 to 256, as the format allows */
    const float *colours;
} Cube;

/* Prints a sentence and returns false on failure. */
bool cube_write(const char *path, const char *title, const Cube *cube);

#endif
