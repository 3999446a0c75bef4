#include <stdio.h>
#include <stdlib.h>
#include "sfeuot.h"
#define CHECK(call) do { if ((call) != SFEUOT_OK) { fprintf(stderr, "%s\n", sfeuot_last_error()); exit(1); } } while (0)

int main(void)
{
    static float points[2][512][2]; /* a unit square, and one twice as large, 5 to the right */
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < 512; i++)
            for (int k = 0; k < 2; k++)
                points[side][i][k] = (float)rand() / (float)RAND_MAX * (side ? 2.0f : 1.0f) + (side && k == 0 ? 5.0f : 0.0f);
    SfeuotData data[2];
    for (int side = 0; side < 2; side++) {
        CHECK(sfeuot_data_init(&data[side]));
        CHECK(sfeuot_data_set_rows(&data[side], points[side][0], 512, 2)); /* rows of 2 numbers */
    }
    SfeuotTrainerConfig config;
    CHECK(sfeuot_trainer_config_init(&config));
    config.sigma = 0.05; /* times the common scale of the samples */
    config.divergence = SFEUOT_DIVERGENCE_BALANCED;

    SfeuotContext *context; SfeuotTrainer *trainer; SfeuotModel *model; SfeuotSession *session;
    CHECK(sfeuot_context_create(NULL, &context));
    CHECK(sfeuot_trainer_create(context, &config, &data[0], &data[1], &trainer));
    CHECK(sfeuot_trainer_step(trainer, 1000, NULL));
    CHECK(sfeuot_trainer_model(trainer, &model));
    CHECK(sfeuot_session_create(model, &session));

    const float x0[2] = {0.25f, 0.75f};
    float x1[2];
    CHECK(sfeuot_session_generate(session, x0, 1, 7, 0, x1)); /* one row, seed 7, row number 0 */
    printf("(%.2f, %.2f) -> (%.2f, %.2f)\n", x0[0], x0[1], x1[0], x1[1]);
    sfeuot_session_release(session), sfeuot_model_release(model);
    sfeuot_trainer_release(trainer), sfeuot_context_release(context);
    return 0;
}
