#include "hald.h"

#include <stdio.h>

#include "png_write.h"

/* The picture's side is the number of colours in one of its rows. */
typedef struct {
    const Cube *cube;
    uint32_t side;
} Hald;

static void write_row(const void *from, uint32_t y, unsigned char *bytes)
{
    const Hald *hald = (const Hald *)from;
    size_t numbers = (size_t)3 * hald->side;
    const float *colours = hald->cube->colours + numbers * y;
    for (size_t i = 0; i < numbers; i++) {
        float kept = colours[i] < 0 ? 0 : colours[i] > 1 ? 1 : colours[i];
        unsigned value = (unsigned)(65535 * kept + 0.5f);
        bytes[2 * i] = (unsigned char)(value >> 8);
        bytes[2 * i + 1] = (unsigned char)(value & 255);
    }
}

bool hald_write(const char *path, const Cube *cube)
{
    uint32_t level = 0;
    while (level * level < cube->size) {
        level++;
    }
    if (level * level != cube->size) {
        fprintf(stderr, "%s: a HALD picture has a table whose side is a square, and %u is none.\n", path,
                (unsigned)cube->size);
        return false;
    }
    Hald hald = {.cube = cube, .side = level * level * level};
    return png_write(path, hald.side, hald.side, 16, write_row, &hald);
}
