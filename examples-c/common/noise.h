/* A source of noise for pictures: the mean picture of a set and noise about it. */
#ifndef EXAMPLES_NOISE_H
#define EXAMPLES_NOISE_H

#include <stdbool.h>
#include <stdint.h>

#include "images.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const Images *images; /* not owned */
    float *mean;
    double deviation; /* of each number */
    double width;     /* the deviation in spreads of the set's pixels */
    bool white;       /* whether the numbers of a picture are independent */
    uint64_t seed;
    uint64_t next;    /* number of the next sample: it alone decides which noise a sample gets */
    uint64_t batches; /* to be passed over before the next one, as large as that */
} Noise;

/*
 * White noise adds independent numbers to the mean picture. Noise that is not white has the covariance of the pictures
 * times width^2: a sum of some of them, less the mean, with random signs and sizes. The pictures have to live as long.
 * Prints a sentence and returns false on failure.
 */
bool noise_create(const Images *images, bool white, double width, uint64_t seed, Noise *noise);

void noise_free(Noise *noise);

/* SfeuotSampleCallback; userdata is a Noise. */
int32_t noise_draw(void *userdata, float *batch, uint64_t rows, uint64_t dimension);

#ifdef __cplusplus
}
#endif

#endif
