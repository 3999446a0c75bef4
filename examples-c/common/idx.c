#include "idx.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <zlib.h>

enum {
    BYTES = 8,        /* the element type of pictures */
    MAX_SIDE = 16384, /* so that a picture is less than 2^31 bytes */
};

static bool read_bytes(Idx *idx, uint8_t *bytes, uint32_t size)
{
    return gzread(idx->file, bytes, size) == (int)size;
}

static uint32_t word(const uint8_t bytes[4])
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

bool idx_open(const char *path, Idx *idx)
{
    uint8_t header[16]; /* two zeros, element type, count of axes, and the size of each axis */
    *idx = (Idx){.path = path};
    errno = 0;
    /* gzopen reads files that are not packed as they are. */
    idx->file = gzopen(path, "rb");
    if (!idx->file) {
        fprintf(stderr, "%s cannot be opened: %s.\n", path, errno ? strerror(errno) : "there is no memory");
        return false;
    }
    gzbuffer(idx->file, 1 << 16);
    if (!read_bytes(idx, header, sizeof header) || header[0] != 0 || header[1] != 0) {
        fprintf(stderr, "%s is not an IDX file.\n", path);
        idx_close(idx);
        return false;
    }
    if (header[2] != BYTES || header[3] != 3) {
        fprintf(stderr, "%s holds no pictures: they have elements of type 8 on 3 axes, not of type %d on %d.\n", path,
                header[2], header[3]);
        idx_close(idx);
        return false;
    }
    idx->count = word(header + 4);
    idx->height = word(header + 8);
    idx->width = word(header + 12);
    if (!idx->count || !idx->height || !idx->width || idx->height > MAX_SIDE || idx->width > MAX_SIDE) {
        fprintf(stderr, "%s announces %u pictures of %u x %u pixels; sides must be from 1 to %d.\n", path,
                (unsigned)idx->count, (unsigned)idx->width, (unsigned)idx->height, MAX_SIDE);
        idx_close(idx);
        return false;
    }
    return true;
}

bool idx_next(Idx *idx, uint8_t *pixels)
{
    if (!read_bytes(idx, pixels, idx->height * idx->width)) {
        fprintf(stderr, "%s is damaged or cut short: picture %u of %u cannot be read.\n", idx->path,
                (unsigned)idx->read + 1, (unsigned)idx->count);
        return false;
    }
    idx->read++;
    return true;
}

void idx_close(Idx *idx)
{
    if (idx->file) {
        gzclose(idx->file);
    }
    idx->file = NULL;
}
