#include "plugin.h"

#include <math.h>

#include "check.h"

SfeuotTrainer *plugin_start(void) {
    SfeuotContextConfig context_config;
    SfeuotContext *context = NULL;
    SfeuotTrainerConfig config;
    SfeuotTrainer *trainer = NULL;
    Side source, target;

    OK(sfeuot_context_config_init(&context_config));
    context_config.device = SFEUOT_DEVICE_CPU;
    context_config.threads = 2;
    OK(sfeuot_context_create(&context_config, &context));
    config_small(&config);
    side_init(&source, 0.0f);
    side_init(&target, 1.0f);
    OK(sfeuot_trainer_create(context, &config, &source.data, &target.data, &trainer));
    /* The trainer holds on to it. */
    OK(sfeuot_context_release(context));
    return trainer;
}

uint64_t plugin_train(SfeuotTrainer *trainer) {
    SfeuotMetrics metrics;
    OK(sfeuot_metrics_init(&metrics));
    OK(sfeuot_trainer_step(trainer, 10, &metrics));
    return metrics.step;
}

void plugin_finish(SfeuotTrainer *trainer) {
    SfeuotModel *model = NULL;
    SfeuotSession *session = NULL;
    const float x0[DIMENSION] = { 0.5f, 0.5f };
    float x1[DIMENSION] = { NAN, NAN };

    OK(sfeuot_trainer_model(trainer, &model));
    OK(sfeuot_session_create(model, &session));
    OK(sfeuot_session_generate(session, x0, 1, 7, 0, x1));
    CHECK(isfinite(x1[0]) && isfinite(x1[1]));
    OK(sfeuot_session_release(session));
    OK(sfeuot_model_release(model));
    OK(sfeuot_trainer_release(trainer));
}
