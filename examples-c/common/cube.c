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

void cube_apply(const Cube *cube, const Picture *from, Picture *to)
{
    size_t stride[3] = {3, (size_t)3 * cube->size, (size_t)3 * cube->size * cube->size};
    for (size_t i = 0; i < picture_pixels(from); i++) {
        size_t corner = 0;
        float fraction[3];
        for (int c = 0; c < 3; c++) {
            float at = (float)from->rgb[3 * i + c] / 255.0f * (float)(cube->size - 1);
            uint32_t cell = (uint32_t)at;
            cell = cell > cube->size - 2 ? cube->size - 2 : cell;
            fraction[c] = at - (float)cell;
            corner += cell * stride[c];
        }
        float sum[3] = {0, 0, 0};
        for (int vertex = 0; vertex < 8; vertex++) {
            const float *colour = cube->colours + corner;
            float weight = 1;
            for (int c = 0; c < 3; c++) {
                bool far = vertex >> c & 1;
                weight *= far ? fraction[c] : 1 - fraction[c];
                colour += far ? stride[c] : 0;
            }
            for (int c = 0; c < 3; c++) {
                sum[c] += weight * colour[c];
            }
        }
        for (int c = 0; c < 3; c++) {
            to->rgb[3 * i + c] = (uint8_t)(255 * sum[c] + 0.5f);
        }
    }
}
