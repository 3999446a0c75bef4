#include "resample.h"

#include <math.h>

/* fmin and fmax look for NaN as well, and take longer than all else here. */
static inline double lesser(double a, double b)
{
    return a < b ? a : b;
}

static inline double greater(double a, double b)
{
    return a > b ? a : b;
}

/* The mean of a channel over an area from (x, y). Pixels at its edges count in part. */
static uint8_t area_mean(const uint8_t *channel, ByteLayout layout, double x, double y, double width, double height)
{
    double sum = 0;
    for (uint32_t v = (uint32_t)y; v < y + height; v++) {
        double tall = lesser(v + 1, y + height) - greater(v, y);
        for (uint32_t u = (uint32_t)x; u < x + width; u++) {
            double wide = lesser(u + 1, x + width) - greater(u, x);
            sum += tall * wide * channel[layout.pixel * ((size_t)layout.width * v + u)];
        }
    }
    return (uint8_t)(sum / (width * height) + 0.5);
}

void resample_middle(const uint8_t *from, ByteLayout from_layout, uint32_t channels, uint8_t *to, ByteLayout to_layout)
{
    /* The part has whole pixels; the longer side of the picture loses some at both of its ends. */
    uint32_t width = from_layout.width, height = from_layout.height;
    uint64_t wide = (uint64_t)width * to_layout.height, tall = (uint64_t)height * to_layout.width;
    if (wide > tall) {
        width = (uint32_t)fmax((double)(tall / to_layout.height), 1);
    } else {
        height = (uint32_t)fmax((double)(wide / to_layout.width), 1);
    }
    const uint8_t *corner = from + from_layout.pixel * ((size_t)from_layout.width * ((from_layout.height - height) / 2) +
                                                        (from_layout.width - width) / 2);
    double across = (double)width / to_layout.width, down = (double)height / to_layout.height;
    for (uint32_t c = 0; c < channels; c++) {
        for (uint32_t v = 0; v < to_layout.height; v++) {
            for (uint32_t u = 0; u < to_layout.width; u++) {
                /* A hair less than the area, so that rounding reaches for no pixel beyond the part. */
                to[to_layout.channel * c + to_layout.pixel * ((size_t)to_layout.width * v + u)] =
                    area_mean(corner + from_layout.channel * c, from_layout, u * across, v * down,
                              across * (1 - 1e-9), down * (1 - 1e-9));
            }
        }
    }
}
