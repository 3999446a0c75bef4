/* Pictures of another size. */
#ifndef EXAMPLES_RESAMPLE_H
#define EXAMPLES_RESAMPLE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of a picture, and how many bytes lie between neighbours. Rows follow each other without gaps. */
typedef struct {
    uint32_t width, height;
    size_t pixel, channel; /* from one pixel of a row to the next, and from one channel of a pixel to the next */
} ByteLayout;

/*
 * Makes a picture of the largest part in the middle of another one that has the proportions of `to`. Each pixel becomes
 * the mean of the area that it covers, so 28 pixels become 16 by areas of 1.75.
 */
void resample_middle(const uint8_t *from, ByteLayout from_layout, uint32_t channels, uint8_t *to, ByteLayout to_layout);

#ifdef __cplusplus
}
#endif

#endif
