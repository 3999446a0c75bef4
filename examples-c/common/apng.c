#include "apng.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

static void put16(uint8_t *bytes, uint32_t value)
{
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
}

static void put32(uint8_t *bytes, uint32_t value)
{
    put16(bytes, value >> 16);
    put16(bytes + 2, value);
}

/* A chunk is its length, its type, its data, and a checksum of type and data. */
static void write_chunk(FILE *file, const char type[5], const uint8_t *data, size_t size)
{
    uint8_t word[4];
    put32(word, (uint32_t)size);
    fwrite(word, 1, 4, file);
    fwrite(type, 1, 4, file);
    uLong checksum = crc32(0, (const Bytef *)type, 4);
    if (size) {
        fwrite(data, 1, size, file);
        checksum = crc32(checksum, data, (uInt)size);
    }
    put32(word, (uint32_t)checksum);
    fwrite(word, 1, 4, file);
}

/* Each byte less the one above it (PNG's filter 2), so that smooth and black areas compress well. */
static void filter(const Picture *frame, uint8_t *raw)
{
    size_t stride = (size_t)3 * frame->width;
    for (size_t y = 0; y < frame->height; y++) {
        const uint8_t *row = frame->rgb + stride * y;
        *raw++ = 2;
        for (size_t i = 0; i < stride; i++) {
            *raw++ = (uint8_t)(row[i] - (y ? row[i - stride] : 0));
        }
    }
}

static void write_header(FILE *file, const Picture *frame, uint32_t count)
{
    static const uint8_t signature[8] = {137, 'P', 'N', 'G', '\r', '\n', 26, '\n'};
    uint8_t header[13] = {0};
    uint8_t animation[8] = {0}; /* 0 repetitions: for ever */
    fwrite(signature, 1, sizeof signature, file);
    put32(header, frame->width);
    put32(header + 4, frame->height);
    header[8] = 8; /* bits */
    header[9] = 2; /* RGB */
    write_chunk(file, "IHDR", header, sizeof header);
    put32(animation, count);
    write_chunk(file, "acTL", animation, sizeof animation);
}

static void write_control(FILE *file, const Picture *frame, uint32_t sequence, uint32_t milliseconds)
{
    uint8_t control[26] = {0};
    put32(control, sequence);
    put32(control + 4, frame->width);
    put32(control + 8, frame->height);
    put16(control + 20, milliseconds);
    put16(control + 22, 1000);
    write_chunk(file, "fcTL", control, sizeof control);
}

bool apng_write(const char *path, const Picture *frames, const uint16_t *milliseconds, uint32_t count)
{
    size_t raw_size = ((size_t)3 * frames->width + 1) * frames->height;
    uLong bound = compressBound((uLong)raw_size);
    uint8_t *raw = malloc(raw_size);
    uint8_t *packed = malloc(4 + bound); /* the first 4 bytes hold a frame's sequence number */
    FILE *file = raw && packed ? fopen(path, "wb") : NULL;
    bool written = false;

    if (!raw || !packed) {
        fprintf(stderr, "%s: there is no memory for a frame.\n", path);
    } else if (!file) {
        fprintf(stderr, "%s cannot be written: %s.\n", path, strerror(errno));
    } else {
        uint32_t sequence = 0;
        written = true;
        write_header(file, frames, count);
        for (uint32_t i = 0; i < count && written; i++) {
            uLong size = bound;
            filter(&frames[i], raw);
            written = compress2(packed + 4, &size, raw, (uLong)raw_size, 9) == Z_OK;
            write_control(file, &frames[i], sequence++, milliseconds[i]);
            /* The first frame is the still picture too, which carries no sequence number. */
            if (i == 0) {
                write_chunk(file, "IDAT", packed + 4, size);
            } else {
                put32(packed, sequence++);
                write_chunk(file, "fdAT", packed, 4 + size);
            }
        }
        write_chunk(file, "IEND", NULL, 0);
        written = written && !ferror(file);
        if (fclose(file) != 0 || !written) {
            fprintf(stderr, "%s cannot be written: %s.\n", path, strerror(errno));
            written = false;
        }
    }
    free(packed);
    free(raw);
    return written;
}
