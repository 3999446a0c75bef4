/*
 * IDX files, the format of MNIST and of data sets that were made like it: big-endian sizes, then bytes. A file may be
 * packed with gzip.
 */
#ifndef EXAMPLES_IDX_H
#define EXAMPLES_IDX_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An open file of `count` grey pictures. */
typedef struct {
    const char *path; /* not owned */
    void *file;
    uint32_t count, height, width;
    uint32_t read; /* pictures so far */
} Idx;

/* Each prints a sentence and returns false on failure. idx_next fills height x width bytes with the next picture. */
bool idx_open(const char *path, Idx *idx);
bool idx_next(Idx *idx, uint8_t *pixels);

void idx_close(Idx *idx);

#ifdef __cplusplus
}
#endif

#endif
