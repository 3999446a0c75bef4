#include "noise.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"

enum { SUMMANDS = 64 }; /* pictures in a sum that is close to normal */

bool noise_create(const Images *images, bool white, double width, uint64_t seed, Noise *noise)
{
    float *mean = malloc(images_numbers(images) * sizeof *mean);
    if (!mean) {
        fprintf(stderr, "There is no memory for the mean picture.\n");
        return false;
    }
    double spread = images_mean(images, mean);
    *noise = (Noise){images, mean, width * spread, width, white, seed, 0, 0};
    return true;
}

void noise_free(Noise *noise)
{
    free(noise->mean);
    noise->mean = NULL;
}

/* Adds `factor` times a picture of the set, less the mean. */
static void add_picture(const Noise *noise, size_t picture, float factor, float *sample, uint64_t dimension)
{
    const uint8_t *pixels = noise->images->pixels + picture * dimension;
    const float scale = (float)IMAGES_SCALE, offset = (float)IMAGES_OFFSET;
    for (uint64_t j = 0; j < dimension; j++) {
        sample[j] += factor * (pixels[j] * scale + offset - noise->mean[j]);
    }
}

int32_t noise_draw(void *userdata, float *batch, uint64_t rows, uint64_t dimension)
{
    Noise *noise = userdata;
    noise->next += noise->batches * rows;
    noise->batches = 0;
    for (uint64_t i = 0; i < rows; i++) {
        float *sample = batch + i * dimension;
        Random number = {noise->seed ^ noise->next++ * 0xd1342543de82ef95u};
        Random random = {random_bits(&number)}; /* neighbours begin far from each other */
        memcpy(sample, noise->mean, dimension * sizeof *sample);
        if (noise->white) {
            for (uint64_t j = 0; j < dimension; j++) {
                sample[j] += (float)(noise->deviation * random_normal(&random));
            }
            continue;
        }
        for (int k = 0; k < SUMMANDS; k++) {
            size_t picture = (size_t)((double)noise->images->count * random_uniform(&random));
            double factor = noise->width * random_normal(&random) / sqrt(SUMMANDS);
            add_picture(noise, picture, (float)factor, sample, dimension);
        }
    }
    return 0;
}
