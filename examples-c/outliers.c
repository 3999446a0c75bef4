/*
 * Why unbalanced: a target with 5 % outliers, transported to with both marginals fixed and with the target side relaxed
 * by a Kullback-Leibler term. Both problems have a known solution, printed beside what was learnt.
 *
 * It shows both ways of handing over data: the source is a callback that draws fresh samples for every batch, the
 * target an array.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "meter.h"
#include "options.h"
#include "random.h"

enum { MODES = 3, TARGET_ROWS = 50000, TEST_ROWS = 100000 };

typedef struct {
    double weight, mean, deviation;
} Mode;

static const Mode TARGET[MODES] = {{0.70, -2, 0.4}, {0.25, 2, 0.4}, {0.05, 6, 0.2}};

typedef struct {
    const char *name;
    int32_t divergence;
    double mass[MODES]; /* where the mass ends up in the exact solution for a source N(0, 1), sigma^2 = 0.3, tau = 1 */
} Problem;

static const Problem PROBLEMS[] = {
    {"balanced", SFEUOT_DIVERGENCE_BALANCED, {0.7000, 0.2500, 0.0500}},
    {"KL", SFEUOT_DIVERGENCE_KL, {0.5825, 0.4164, 0.0011}},
};

/* SfeuotSampleCallback: rows x dimension standard normal numbers. */
static int32_t draw_source(void *userdata, float *batch, uint64_t rows, uint64_t dimension)
{
    for (uint64_t i = 0; i < rows * dimension; i++) {
        batch[i] = (float)random_normal(userdata);
    }
    return 0;
}

static void draw_target(Random *random, float *samples, size_t rows)
{
    for (size_t i = 0; i < rows; i++) {
        double u = random_uniform(random);
        int mode = u < TARGET[0].weight ? 0 : u < TARGET[0].weight + TARGET[1].weight ? 1 : 2;
        samples[i] = (float)(TARGET[mode].mean + TARGET[mode].deviation * random_normal(random));
    }
}

static int nearest_mode(float x)
{
    int best = 0;
    for (int mode = 1; mode < MODES; mode++) {
        best = fabs(x - TARGET[mode].mean) < fabs(x - TARGET[best].mean) ? mode : best;
    }
    return best;
}

/* What is measured: the share of generated samples per mode, and the density ratio averaged over the target's. */
typedef struct {
    double mass[MODES], ratio[MODES];
} Outcome;

static bool measure(SfeuotSession *session, uint64_t seed, const float *target, Outcome *outcome)
{
    Random random = {seed + 1};
    double counts[MODES] = {0};
    bool measured = false;
    float *source = malloc(TEST_ROWS * sizeof *source);
    float *generated = malloc(TEST_ROWS * sizeof *generated);
    float *ratio = malloc(TARGET_ROWS * sizeof *ratio);
    if (!source || !generated || !ratio) {
        fputs("There is no memory for the test samples.\n", stderr);
        goto done;
    }

    draw_source(&random, source, TEST_ROWS, 1);
    TRY(sfeuot_session_generate, session, source, TEST_ROWS, seed, 0, generated);
    TRY(sfeuot_session_density_ratio, session, target, TARGET_ROWS, ratio);
    *outcome = (Outcome){{0}, {0}};
    for (size_t i = 0; i < TEST_ROWS; i++) {
        outcome->mass[nearest_mode(generated[i])] += 1.0 / TEST_ROWS;
    }
    for (size_t i = 0; i < TARGET_ROWS; i++) {
        outcome->ratio[nearest_mode(target[i])] += ratio[i];
        counts[nearest_mode(target[i])] += 1;
    }
    for (int mode = 0; mode < MODES; mode++) {
        outcome->ratio[mode] /= counts[mode];
    }
    measured = true;

done:
    free(ratio);
    free(generated);
    free(source);
    return measured;
}

static bool solve(const Problem *problem, SfeuotContext *context, uint64_t steps, uint64_t seed, const float *target,
                  Outcome *outcome)
{
    SfeuotTrainer *trainer = NULL;
    SfeuotModel *model = NULL;
    SfeuotSession *session = NULL;
    SfeuotTrainerConfig config;
    SfeuotData source_side, target_side;
    Random random = {seed}; /* lives until the trainer is released below */
    bool solved = false;

    TRY(sfeuot_data_init, &source_side);
    TRY(sfeuot_data_set_sampler, &source_side, draw_source, &random, 1);
    TRY(sfeuot_data_init, &target_side);
    TRY(sfeuot_data_set_rows, &target_side, target, TARGET_ROWS, 1);

    TRY(sfeuot_trainer_config_init, &config);
    config.divergence = problem->divergence;
    config.sigma_units = SFEUOT_SIGMA_DATA_UNITS;
    config.sigma = sqrt(0.3);
    config.tau = 1;
    config.hidden_width = 64; /* one dimension needs no more, and bears twice the usual rates and more */
    config.generator_learning_rate = 2e-3;
    config.value_learning_rate = 1e-3;
    config.decay_steps = steps;
    config.seed = seed;

    TRY(sfeuot_trainer_create, context, &config, &source_side, &target_side, &trainer);
    TRY(train_with_meter, trainer, steps, problem->name);
    TRY(sfeuot_trainer_model, trainer, &model);
    TRY(sfeuot_session_create, model, &session);
    solved = measure(session, seed, target, outcome);

done:
    sfeuot_session_release(session);
    sfeuot_model_release(model);
    sfeuot_trainer_release(trainer);
    return solved;
}

static void print_row(const char *divergence, const char *quantity, const double values[MODES])
{
    printf("%-9s %-22s %11.4f %11.4f %11.4f\n", divergence, quantity, values[0], values[1], values[2]);
}

static void print_problem(const Problem *problem, const Outcome *outcome)
{
    double ratio[MODES];
    for (int mode = 0; mode < MODES; mode++) {
        ratio[mode] = problem->mass[mode] / TARGET[mode].weight;
    }
    print_row(problem->name, "mass arriving", outcome->mass);
    print_row("", "  exact", problem->mass);
    print_row("", "mean density ratio", outcome->ratio);
    print_row("", "  exact", ratio);
}

int main(int argc, char **argv)
{
    uint64_t steps = 4000, seed = 0;
    const Option options[] = {
        {"--steps", OPTION_COUNT, &steps, "training steps per problem", 1, 1e9},
        {"--seed", OPTION_COUNT, &seed, "seed of all randomness", 0, 0},
    };
    const char *summary = "Transport to a target with outliers, balanced and with the target side relaxed.";
    OptionsResult result = options_read(argc, argv, summary, options, sizeof options / sizeof *options);
    if (result != OPTIONS_READ) {
        return result == OPTIONS_HELP_SHOWN ? EXIT_SUCCESS : EXIT_FAILURE;
    }

    enum { PROBLEM_COUNT = sizeof PROBLEMS / sizeof *PROBLEMS };
    Outcome outcomes[PROBLEM_COUNT];
    SfeuotContext *context = NULL;
    float *target = malloc(TARGET_ROWS * sizeof *target);
    Random random = {~seed};
    int status = EXIT_FAILURE;
    if (!target) {
        fputs("There is no memory for the target's samples.\n", stderr);
        goto done;
    }
    draw_target(&random, target, TARGET_ROWS);

    TRY(sfeuot_context_create, NULL, &context);
    for (size_t i = 0; i < PROBLEM_COUNT; i++) {
        if (!solve(&PROBLEMS[i], context, steps, seed, target, &outcomes[i])) {
            goto done;
        }
    }
    printf("%-9s %-22s %11s %11s %11s\n", "", "", "at -2", "at 2", "outliers");
    print_row("target", "mass", (double[MODES]){TARGET[0].weight, TARGET[1].weight, TARGET[2].weight});
    for (size_t i = 0; i < PROBLEM_COUNT; i++) {
        print_problem(&PROBLEMS[i], &outcomes[i]);
    }
    status = EXIT_SUCCESS;

done:
    sfeuot_context_release(context);
    free(target);
    return status;
}
