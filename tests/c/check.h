/* What the C tests share: checks that print the place and the library's sentence, and end the program. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sfeuot.h"

#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, sfeuot_last_error()); \
            exit(1);                                                                           \
        }                                                                                      \
    } while (0)

#define OK(call) CHECK((call) == SFEUOT_OK)

/* The call is refused with this status and a sentence that holds this text. */
#define REFUSED(status, text, call)                       \
    do {                                                  \
        CHECK((call) == (status));                        \
        CHECK(strstr(sfeuot_last_error(), text) != NULL); \
    } while (0)

#define ROWS 32
#define DIMENSION 2

/* One side of a problem: ROWS points around (centre, centre). */
typedef struct Side {
    float values[ROWS][DIMENSION];
    int64_t shape[2];
    SfeuotTensor tensor;
    SfeuotData data;
} Side;

static void side_init(Side *side, float centre) {
    int i, j;
    for (i = 0; i < ROWS; i++)
        for (j = 0; j < DIMENSION; j++)
            side->values[i][j] = centre + (float)((i * 7 + j * 13) % ROWS) / ROWS;
    side->shape[0] = ROWS;
    side->shape[1] = DIMENSION;
    OK(sfeuot_tensor_init(&side->tensor));
    side->tensor.data = side->values;
    side->tensor.rank = 2;
    side->tensor.shape = side->shape;
    OK(sfeuot_data_init(&side->data));
    side->data.samples = &side->tensor;
}

/* Settings small enough to train at once. */
static void config_small(SfeuotTrainerConfig *config) {
    OK(sfeuot_trainer_config_init(config));
    config->sigma = 0.5;
    config->hidden_width = 8;
    config->hidden_layers = 2;
    config->latent_dimension = 2;
    config->batch_sources = 4;
    config->components = 2;
}

static SfeuotContext *context_on_cpu(void) {
    SfeuotContextConfig config;
    SfeuotContext *context = NULL;
    OK(sfeuot_context_config_init(&config));
    config.device = SFEUOT_DEVICE_CPU;
    config.threads = 1;
    OK(sfeuot_context_create(&config, &context));
    CHECK(context != NULL);
    return context;
}

#endif
