#include "png_write.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "png_report.h"

/*
 * libpng reports errors by a long jump. Everything that must survive the jump lives in this struct, outside the
 * function that calls setjmp, so that no local variable's value is in doubt after it.
 */
typedef struct {
    FILE *file;
    png_structp png;
    png_infop info;
    png_bytep bytes;
} Writer;

static bool encode(Writer *writer, uint32_t width, uint32_t height, int depth, PngRow *row, const void *from)
{
    if (setjmp(png_jmpbuf(writer->png))) {
        return false;
    }
    png_init_io(writer->png, writer->file);
    png_set_IHDR(writer->png, writer->info, width, height, depth, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_sRGB(writer->png, writer->info, PNG_sRGB_INTENT_PERCEPTUAL);
    png_write_info(writer->png, writer->info);
    for (uint32_t y = 0; y < height; y++) {
        row(from, y, writer->bytes);
        png_write_row(writer->png, writer->bytes);
    }
    png_write_end(writer->png, NULL);
    return true;
}

bool png_write(const char *path, uint32_t width, uint32_t height, int depth, PngRow *row, const void *from)
{
    Writer writer = {0};
    bool written = false;

    writer.bytes = malloc((size_t)width * 3 * (size_t)(depth / 8));
    if (!writer.bytes) {
        fprintf(stderr, "%s: there is no memory for a row of %u pixels.\n", path, (unsigned)width);
        return false;
    }
    writer.file = fopen(path, "wb");
    if (!writer.file) {
        fprintf(stderr, "%s cannot be written: %s.\n", path, strerror(errno));
        free(writer.bytes);
        return false;
    }
    writer.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, (void *)path, png_report_error, png_pass_warning);
    writer.info = writer.png ? png_create_info_struct(writer.png) : NULL;
    if (writer.info) {
        written = encode(&writer, width, height, depth, row, from);
    } else {
        fprintf(stderr, "%s: libpng cannot be started.\n", path);
    }
    png_destroy_write_struct(&writer.png, &writer.info);
    free(writer.bytes);
    /* A full disk may show only when the last bytes are flushed. */
    if (fclose(writer.file) != 0 && written) {
        fprintf(stderr, "%s cannot be written: %s.\n", path, strerror(errno));
        written = false;
    }
    return written;
}
