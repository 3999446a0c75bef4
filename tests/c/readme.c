#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "sfeuot.h"

#define CHECK(call) do { if ((call) != SFEUOT_OK) { fprintf(stderr, "%s\n", sfeuot_last_error()); exit(1); } } while (0)

int main(void)
{
    static float source[512][2], target[512][2]; /* a unit square, and one twice as large, 5 to the right */
    for (int i = 0; i < 512; i++) {
        source[i][0] = (float)fmod(0.7549 * i, 1), source[i][1] = (float)fmod(0.5698 * i, 1);
        target[i][0] = (float)fmod(1.6180 * i, 2) + 5, target[i][1] = (float)fmod(0.8284 * i, 2);
    }
    const int64_t shape[2] = {512, 2};
    SfeuotTensor samples[2];
    SfeuotData data[2];
    for (int side = 0; side < 2; side++) {
        CHECK(sfeuot_tensor_init(&samples[side]));
        samples[side].data = side == 0 ? source : target;
        samples[side].rank = 2;
        samples[side].shape = shape;
        CHECK(sfeuot_data_init(&data[side]));
        data[side].samples = &samples[side];
    }
    SfeuotTrainerConfig config;
    CHECK(sfeuot_trainer_config_init(&config));
    config.divergence = SFEUOT_DIVERGENCE_BALANCED;
    config.sigma = 0.1; /* in the units of the samples */
    config.hidden_width = 64;

    SfeuotContext *context = NULL;
    SfeuotTrainer *trainer = NULL;
    SfeuotModel *model = NULL;
    SfeuotSession *session = NULL;
    CHECK(sfeuot_context_create(NULL, &context));
    CHECK(sfeuot_trainer_create(context, &config, &data[0], &data[1], &trainer));
    CHECK(sfeuot_trainer_step(trainer, 1000, NULL));
    CHECK(sfeuot_trainer_model(trainer, &model));
    CHECK(sfeuot_session_create(model, &session));

    const float x0[3][2] = {{0.25f, 0.25f}, {0.75f, 0.25f}, {0.25f, 0.75f}};
    float x1[3][2], mean[3][2];
    CHECK(sfeuot_session_generate(session, x0[0], 3, 1, 0, x1[0])); /* 3 rows, seed 1, first row 0 */
    CHECK(sfeuot_session_conditional_mean(session, x0[0], 3, 64, 1, 0, mean[0])); /* of 64 draws a row */
    for (int i = 0; i < 3; i++)
        printf("(%.2f, %.2f) -> (%.2f, %.2f), on average (%.2f, %.2f)\n",
               x0[i][0], x0[i][1], x1[i][0], x1[i][1], mean[i][0], mean[i][1]);

    sfeuot_session_release(session), sfeuot_model_release(model);
    sfeuot_trainer_release(trainer), sfeuot_context_release(context);
    return 0;
}
