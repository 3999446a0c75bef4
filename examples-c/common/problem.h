/* What a training of pictures goes between: two sets of pictures, or noise and a set. */
#ifndef EXAMPLES_PROBLEM_H
#define EXAMPLES_PROBLEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "images.h"
#include "noise.h"
#include "sfeuot.h"
#include "stream.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *source, *target; /* names for images_read; a source of NULL is noise */
    uint32_t size;
    bool flip;
    uint32_t crop;
    bool white; /* noise */
    double noise_width;
    bool stream;       /* whether both are folders, whose pictures are decoded beside the training */
    uint32_t decoders; /* threads that decode the files of a folder */
    size_t batch;      /* source pictures of a step */
} ProblemSettings;

/* Both sides. From noise there are no pictures of the source, and between two sets there is no noise. All zero is none. */
typedef struct {
    Images source, target; /* a sample of each stream, else all pictures */
    Noise noise;
    Stream streams[2];
    SfeuotTensor tensors[2];
    int64_t shapes[2][4];
    SfeuotData data[2]; /* source and target, for a trainer */
} Problem;

/* Fills an empty problem, which then stays where it is in memory. Prints a sentence and returns false on failure. */
bool problem_read(const ProblemSettings *settings, Problem *problem);

void problem_free(Problem *problem);

/* Makes noise and streams begin, for a new trainer. */
void problem_rewind(Problem *problem);

/* Makes noise and streams go on where a training with so many steps behind it left them. */
void problem_go_on(Problem *problem, uint64_t steps);

/* Pictures of the target. */
size_t problem_pictures(const Problem *problem);

#ifdef __cplusplus
}
#endif

#endif
