#include "picture.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "png_report.h"
#include "png_write.h"

/*
 * libpng reports errors by a long jump. Everything that must survive the jump lives in this struct, outside the
 * function that calls setjmp, so that no local variable's value is in doubt after it.
 */
typedef struct {
    const char *path;
    FILE *file;
    png_structp png;
    png_infop info;
    png_bytep *rows;
    Picture picture;
} Codec;

bool picture_create(uint32_t width, uint32_t height, Picture *picture)
{
    uint8_t *rgb = width && height && width <= SIZE_MAX / 3 / height ? calloc((size_t)width * height, 3) : NULL;
    if (!rgb) {
        fprintf(stderr, "There is no memory for a picture of %u x %u pixels.\n", (unsigned)width, (unsigned)height);
        return false;
    }
    *picture = (Picture){width, height, rgb};
    return true;
}

void picture_free(Picture *picture)
{
    free(picture->rgb);
    *picture = (Picture){0, 0, NULL};
}

static bool point_rows(Codec *codec)
{
    codec->rows = malloc(codec->picture.height * sizeof *codec->rows);
    if (!codec->rows) {
        fprintf(stderr, "%s: there is no memory for %u rows.\n", codec->path, (unsigned)codec->picture.height);
        return false;
    }
    for (uint32_t y = 0; y < codec->picture.height; y++) {
        codec->rows[y] = codec->picture.rgb + (size_t)3 * codec->picture.width * y;
    }
    return true;
}

static bool decode(Codec *codec)
{
    if (setjmp(png_jmpbuf(codec->png))) {
        return false;
    }
    png_init_io(codec->png, codec->file);
    png_read_info(codec->png, codec->info);
    /* Whatever the file holds, ask for 8-bit RGB. */
    png_set_expand(codec->png);
    png_set_scale_16(codec->png);
    png_set_strip_alpha(codec->png);
    png_set_gray_to_rgb(codec->png);
    png_set_interlace_handling(codec->png);
    png_read_update_info(codec->png, codec->info);
    if (!picture_create(png_get_image_width(codec->png, codec->info), png_get_image_height(codec->png, codec->info),
                        &codec->picture) ||
        !point_rows(codec)) {
        return false;
    }
    png_read_image(codec->png, codec->rows);
    png_read_end(codec->png, NULL);
    return true;
}

bool picture_read_png(const char *path, Picture *picture)
{
    Codec codec = {.path = path};
    unsigned char signature[8];
    bool read = false;

    codec.file = fopen(path, "rb");
    if (!codec.file) {
        fprintf(stderr, "%s cannot be opened: %s.\n", path, strerror(errno));
        return false;
    }
    if (fread(signature, 1, sizeof signature, codec.file) != sizeof signature ||
        png_sig_cmp(signature, 0, sizeof signature) != 0) {
        fprintf(stderr, "%s is not a PNG file.\n", path);
        fclose(codec.file);
        return false;
    }
    rewind(codec.file);

    codec.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, (void *)path, png_report_error, png_pass_warning);
    codec.info = codec.png ? png_create_info_struct(codec.png) : NULL;
    if (codec.info) {
        read = decode(&codec);
    } else {
        fprintf(stderr, "%s: libpng cannot be started.\n", path);
    }
    png_destroy_read_struct(&codec.png, &codec.info, NULL);
    free(codec.rows);
    fclose(codec.file);
    if (!read) {
        picture_free(&codec.picture);
        return false;
    }
    *picture = codec.picture;
    return true;
}

static void write_row(const void *from, uint32_t y, unsigned char *bytes)
{
    const Picture *picture = (const Picture *)from;
    size_t row = (size_t)3 * picture->width;
    memcpy(bytes, picture->rgb + row * y, row);
}

bool picture_write_png(const char *path, const Picture *picture)
{
    return png_write(path, picture->width, picture->height, 8, write_row, picture);
}

void picture_place(const Picture *from, Picture *to, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
    for (uint32_t v = 0; v < height && y + v < to->height; v++) {
        double row = fmin(fmax((v + 0.5) * from->height / height - 0.5, 0.0), from->height - 1.0);
        uint32_t top = (uint32_t)row;
        uint32_t bottom = top + 1 < from->height ? top + 1 : top;
        for (uint32_t u = 0; u < width && x + u < to->width; u++) {
            double column = fmin(fmax((u + 0.5) * from->width / width - 0.5, 0.0), from->width - 1.0);
            uint32_t left = (uint32_t)column;
            uint32_t right = left + 1 < from->width ? left + 1 : left;
            for (int c = 0; c < 3; c++) {
                const uint8_t *upper = from->rgb + (size_t)3 * from->width * top + c;
                const uint8_t *lower = from->rgb + (size_t)3 * from->width * bottom + c;
                double above = upper[3 * left] + (column - left) * (upper[3 * right] - upper[3 * left]);
                double below = lower[3 * left] + (column - left) * (lower[3 * right] - lower[3 * left]);
                to->rgb[3 * ((size_t)to->width * (y + v) + x + u) + c] =
                    (uint8_t)(above + (row - top) * (below - above) + 0.5);
            }
        }
    }
}
