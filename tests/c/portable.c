/* What one system writes another one reads: `portable write FOLDER` trains, and keeps the model and its answers;
 * `portable read FOLDER` loads that model, trains the same again, and finds the same answers to rounding. */
#include <math.h>

#include "check.h"

#define ANSWERS 16

/* A short training of samples that are the same on every system. */
static SfeuotModel *trained(SfeuotContext *context) {
    static Side source, target;
    SfeuotTrainerConfig config;
    SfeuotTrainer *trainer = NULL;
    SfeuotModel *model = NULL;

    side_init(&source, 0.0f);
    side_init(&target, 2.0f);
    config_small(&config);
    config.latent_dimension = 0;
    config.hidden_width = 32;
    OK(sfeuot_trainer_create(context, &config, &source.data, &target.data, &trainer));
    OK(sfeuot_trainer_step(trainer, 20, NULL));
    OK(sfeuot_trainer_model(trainer, &model));
    sfeuot_trainer_release(trainer);
    return model;
}

/* Draws, conditional means and density ratios of some points. */
static void answer(SfeuotModel *model, float answers[5 * ANSWERS]) {
    float x[ANSWERS][DIMENSION];
    SfeuotSession *session = NULL;
    int i;

    for (i = 0; i < ANSWERS; i++) {
        x[i][0] = (float)i / ANSWERS;
        x[i][1] = 1.0f - (float)(i * i) / (ANSWERS * ANSWERS);
    }
    OK(sfeuot_session_create(model, &session));
    OK(sfeuot_session_generate(session, x[0], ANSWERS, 7, 0, answers));
    OK(sfeuot_session_conditional_mean(session, x[0], ANSWERS, 1, 1, 0, answers + 2 * ANSWERS));
    OK(sfeuot_session_density_ratio(session, x[0], ANSWERS, answers + 4 * ANSWERS));
    sfeuot_session_release(session);
}

static void compare(const float *found, const float *kept) {
    int i;
    for (i = 0; i < 5 * ANSWERS; i++)
        if (!(fabsf(found[i] - kept[i]) <= 1e-5f * (1.0f + fabsf(kept[i])))) {
            fprintf(stderr, "answer %d is %.9g, where %.9g was written\n", i, found[i], kept[i]);
            exit(1);
        }
}

int main(int argc, char **argv) {
    SfeuotContext *context = context_on_cpu();
    SfeuotModel *here, *loaded = NULL;
    float answers[5 * ANSWERS], kept[5 * ANSWERS];
    char model[512], numbers[512];
    FILE *file;
    int writes, reads;

    writes = argc == 3 && strcmp(argv[1], "write") == 0;
    reads = argc == 3 && strcmp(argv[1], "read") == 0;
    CHECK((writes || reads) && strlen(argv[2]) < sizeof model - 32);
    sprintf(model, "%s/portable.sfeuot", argv[2]);
    sprintf(numbers, "%s/portable.txt", argv[2]);
    here = trained(context);
    answer(here, answers);
    if (writes) {
        int i;
        OK(sfeuot_model_save(here, model));
        CHECK((file = fopen(numbers, "w")) != NULL);
        for (i = 0; i < 5 * ANSWERS; i++)
            fprintf(file, "%.9g\n", answers[i]);
    } else {
        int i;
        CHECK((file = fopen(numbers, "r")) != NULL);
        for (i = 0; i < 5 * ANSWERS; i++)
            CHECK(fscanf(file, "%f", &kept[i]) == 1);
        compare(answers, kept);
        OK(sfeuot_model_load(context, model, &loaded));
        answer(loaded, answers);
        compare(answers, kept);
        sfeuot_model_release(loaded);
    }
    CHECK(fclose(file) == 0);
    sfeuot_model_release(here);
    sfeuot_context_release(context);
    return 0;
}
