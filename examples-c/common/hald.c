#include "hald.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

/* What must survive libpng's long jump, outside the function that calls setjmp. */
typedef struct {
    const char *path;
    FILE *file;
    png_structp png;
    png_infop info;
    png_bytep row;
    const Cube *cube;
    uint32_t side;
} Writer;

static void on_error(png_structp png, png_const_charp message)
{
    const Writer *writer = (const Writer *)png_get_error_ptr(png);
    fprintf(stderr, "%s: libpng reports: %s\n", writer->path, message);
    png_longjmp(png, 1);
}

static bool encode(Writer *writer)
{
    if (setjmp(png_jmpbuf(writer->png))) {
        return false;
    }
    png_init_io(writer->png, writer->file);
    png_set_IHDR(writer->png, writer->info, writer->side, writer->side, 16, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_sRGB(writer->png, writer->info, PNG_sRGB_INTENT_PERCEPTUAL);
    png_write_info(writer->png, writer->info);
    size_t numbers = (size_t)3 * writer->side;
    for (uint32_t y = 0; y < writer->side; y++) {
        const float *colours = writer->cube->colours + numbers * y;
        for (size_t i = 0; i < numbers; i++) {
            float kept = colours[i] < 0 ? 0 : colours[i] > 1 ? 1 : colours[i];
            unsigned value = (unsigned)(65535 * kept + 0.5f);
            writer->row[2 * i] = (png_byte)(value >> 8); /* the larger byte first */
            writer->row[2 * i + 1] = (png_byte)(value & 255);
        }
        png_write_row(writer->png, writer->row);
    }
    png_write_end(writer->png, NULL);
    return true;
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
    Writer writer = {.path = path, .cube = cube, .side = level * level * level};
    bool written = false;

    writer.row = malloc((size_t)6 * writer.side);
    writer.file = fopen(path, "wb");
    if (!writer.row || !writer.file) {
        fprintf(stderr, "%s cannot be written: %s.\n", path, strerror(errno));
        free(writer.row);
        if (writer.file) {
            fclose(writer.file);
        }
        return false;
    }
    writer.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &writer, on_error, NULL);
    writer.info = writer.png ? png_create_info_struct(writer.png) : NULL;
    if (writer.info) {
        written = encode(&writer);
    } else {
        fprintf(stderr, "%s: libpng cannot be started.\n", path);
    }
    png_destroy_write_struct(&writer.png, &writer.info);
    free(writer.row);
    /* A full disk may show only when the last bytes are flushed. */
    if (fclose(writer.file) != 0 && written) {
        fprintf(stderr, "%s cannot be written: %s.\n", path, strerror(errno));
        written = false;
    }
    return written;
}
