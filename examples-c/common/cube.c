#include "cube.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool cube_write(const char *path, const char *title, const Cube *cube)
{
    size_t entries = (size_t)cube->size * cube->size * cube->size;
    FILE *file = fopen(path, "w");
    if (!file) {
        fprintf(stderr, "%s cannot be written: %s.\n", path, strerror(errno));
        return false;
    }
    fprintf(file, "TITLE \"%s\"\nLUT_3D_SIZE %u\n", title, (unsigned)cube->size);
    fprintf(file, "DOMAIN_MIN 0.0 0.0 0.0\nDOMAIN_MAX 1.0 1.0 1.0\n");
    for (size_t i = 0; i < entries; i++) {
        const float *colour = cube->colours + 3 * i;
        fprintf(file, "%.6f %.6f %.6f\n", colour[0], colour[1], colour[2]);
    }
    bool failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed) {
        fprintf(stderr, "%s cannot be written: %s.\n", path, strerror(errno));
        return false;
    }
    return true;
}
