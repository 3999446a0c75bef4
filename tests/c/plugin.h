/* What tests/c/plugin.c offers: a training in steps, and the end of it. The trainer is a handle of libsfeuot's, so a host may
 * keep it while it reloads the plug-in. */
#ifndef PLUGIN_H
#define PLUGIN_H

#include "sfeuot.h"

SfeuotTrainer *plugin_start(void);
/* Trains, and returns the number of steps done so far. */
uint64_t plugin_train(SfeuotTrainer *trainer);
/* Draws from the trained model, and releases all that is left. */
void plugin_finish(SfeuotTrainer *trainer);

#endif
