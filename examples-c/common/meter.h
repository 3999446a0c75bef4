/* A training run with one line of progress, which Ctrl-C ends in good order. */
#ifndef EXAMPLES_METER_H
#define EXAMPLES_METER_H

#include <stdint.h>

#include "sfeuot.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Runs `steps` steps with a meter on stderr: percent, the dual objective, steps per second, time left. On a terminal the
 * line is rewritten in place; elsewhere only the last one is written. Returns the status of sfeuot_trainer_run, which is
 * SFEUOT_ERROR_CANCELLED after Ctrl-C; a second Ctrl-C ends the program at once.
 */
int32_t train_with_meter(SfeuotTrainer *trainer, uint64_t steps, const char *label);

/* Is called between two steps. Any status but SFEUOT_OK ends the training. */
typedef int32_t (*MeterPause)(void *userdata, SfeuotTrainer *trainer);

/* As train_with_meter, and calls `pause` after the first step, then about every `seconds`, and after the last step. */
int32_t train_with_pauses(SfeuotTrainer *trainer, uint64_t steps, const char *label, double seconds, MeterPause pause,
                          void *userdata);

#ifdef __cplusplus
}
#endif

#endif
