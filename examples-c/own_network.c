/*
 * Networks of one's own: trains an unbalanced problem in the plane with a perceptron that is written out in plain C
 * (common/mlp.c), by the library's calls for the bridge and the losses, and beside it the library's own trainer on the same
 * problem. What both come to is printed. SfeuotProblem in sfeuot.h has the formulas.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "mlp.h"
#include "options.h"
#include "random.h"

enum { D = 2, MODES = 5, SAMPLES = 20000, TEST = 2048, COMPONENTS = 8, SOURCES = 32, ROWS = SOURCES * COMPONENTS };
enum { RAW = 2 * D, OUTPUTS = COMPONENTS * (RAW + 1) };

static const double SIGMA = 0.5, TAU = 1;

/* Mean numbers of the last tenth of a training, and how far what it generates is from the target. */
typedef struct {
    double dual, potential, action, density_ratio, distance;
} Outcome;

/* Adds the numbers of one of `count` steps. */
static void add(Outcome *outcome, double dual, double potential, double action, double ratio, uint64_t count)
{
    outcome->dual += dual / (double)count;
    outcome->potential += potential / (double)count;
    outcome->action += action / (double)count;
    outcome->density_ratio += ratio / (double)count;
}

/* A standard normal source, and five clusters around it, of which one has a tenth of the others' mass. */
static void draw(Random *random, bool target, float *x, size_t rows)
{
    for (size_t i = 0; i < rows; i++) {
        int mode = (int)(random_uniform(random) * (MODES - 1 + 0.1));
        double angle = 6.283185307179586 * mode / MODES;
        x[D * i] = (float)(target ? 2 * cos(angle) + 0.3 * random_normal(random) : random_normal(random));
        x[D * i + 1] = (float)(target ? 2 * sin(angle) + 0.3 * random_normal(random) : random_normal(random));
    }
}

/* Rows of `all`, drawn with replacement. */
static void take(Random *random, const float *all, float *x, size_t rows)
{
    for (size_t i = 0; i < rows; i++) {
        memcpy(x + D * i, all + D * (random_bits(random) % SAMPLES), D * sizeof *x);
    }
}

/* The squared energy distance between two sets of TEST points. */
static double energy_distance(const float *x, const float *y)
{
    double between = 0, within = 0;
    for (size_t i = 0; i < TEST; i++) {
        for (size_t j = 0; j < TEST; j++) {
            between += hypot(x[2 * i] - y[2 * j], x[2 * i + 1] - y[2 * j + 1]);
            within += hypot(x[2 * i] - x[2 * j], x[2 * i + 1] - x[2 * j + 1]);
            within += hypot(y[2 * i] - y[2 * j], y[2 * i + 1] - y[2 * j + 1]);
        }
    }
    return (2 * between - within) / ((double)TEST * TEST);
}

/* Arrays of one batch, as the calls take them. */
typedef struct {
    float x0[SOURCES * D], y[ROWS * D], times[ROWS];
    float end[ROWS * D], state[ROWS * D], drift[ROWS * D], gradient[ROWS * D], direction[ROWS * D];
} Batch;

/* A tensor over plain numbers. The shape has to live as long as it. */
static SfeuotTensor tensor(const float *data, const int64_t *count)
{
    SfeuotTensor tensor;
    sfeuot_tensor_init(&tensor);
    tensor.data = data;
    tensor.rank = 1;
    tensor.shape = count;
    return tensor;
}

/* Everything that a training with networks of one's own keeps. */
typedef struct {
    SfeuotProblem *problem;
    Mlp value, generator;
    MlpTape at_ends, at_states, of_generator;
    Batch batch;
    Random random;
    uint64_t seed;
} Own;

/* Puts points with their times into the input of V. */
static void value_inputs(float *input, const float *points, const float *times, size_t each, size_t rows)
{
    for (size_t r = 0; r < rows; r++) {
        memcpy(input + (D + 1) * r, points + D * r, D * sizeof *input);
        input[(D + 1) * r + D] = times ? times[r / each] : 1;
    }
}

/* Evaluates V at the states with its gradient. */
static void evaluate_states(Own *own, size_t each)
{
    Batch *batch = &own->batch;
    MlpTape *tape = &own->at_states;
    value_inputs(tape->unit[0], batch->state, batch->times, each, ROWS);
    mlp_forward(&own->value, tape, ROWS);
    for (size_t r = 0; r < ROWS; r++) {
        tape->delta[own->value.layers][r] = 1;
    }
    mlp_backward(&own->value, tape, false);
    for (size_t r = 0; r < ROWS; r++) {
        memcpy(batch->gradient + D * r, tape->delta[0] + (D + 1) * r, D * sizeof *batch->gradient);
    }
}

/* Passes the generator for a fresh batch of source samples, and gives them times and bridges. */
static bool begin(Own *own, int32_t half, uint64_t step, const float *source)
{
    const int64_t sources = SOURCES * D, points = ROWS * D, outputs = SOURCES * OUTPUTS;
    Batch *batch = &own->batch;
    take(&own->random, source, batch->x0, SOURCES);
    memcpy(own->of_generator.unit[0], batch->x0, sizeof batch->x0);
    mlp_forward(&own->generator, &own->of_generator, SOURCES);
    SfeuotTensor x0 = tensor(batch->x0, &sources);
    SfeuotTensor given = tensor(own->of_generator.unit[own->generator.layers], &outputs);
    SfeuotTensor end = tensor(batch->end, &points);
    SfeuotTensor state = tensor(batch->state, &points);
    SfeuotTensor drift = tensor(batch->drift, &points);
    return succeeded(sfeuot_bridge_times(own->problem, half, SOURCES, own->seed, step, 0, batch->times)) &&
           succeeded(sfeuot_bridge_sample(own->problem, half, &x0, &given, batch->times, own->seed, step, 0, &end,
                                          &state, &drift));
}

static bool value_half(Own *own, uint64_t step, const float *source, const float *target, SfeuotValueLoss *loss)
{
    const int64_t rows = ROWS, points = ROWS * D;
    Batch *batch = &own->batch;
    if (!begin(own, SFEUOT_HALF_VALUE, step, source)) {
        return false;
    }
    take(&own->random, target, batch->y, ROWS);

    MlpTape *ends = &own->at_ends;
    size_t last = own->value.layers;
    value_inputs(ends->unit[0], batch->end, NULL, 1, ROWS);
    value_inputs(ends->unit[0] + (D + 1) * ROWS, batch->y, NULL, 1, ROWS);
    mlp_forward(&own->value, ends, 2 * ROWS);
    evaluate_states(own, 1);

    SfeuotTensor generated = tensor(ends->unit[last], &rows), at_target = tensor(ends->unit[last] + ROWS, &rows);
    SfeuotTensor g = tensor(batch->gradient, &points), drift = tensor(batch->drift, &points);
    SfeuotTensor by_generated = tensor(ends->delta[last], &rows), by_target = tensor(ends->delta[last] + ROWS, &rows);
    SfeuotTensor direction = tensor(batch->direction, &points);
    if (!succeeded(sfeuot_value_loss(own->problem, &generated, &at_target, &g, &drift, &by_generated, &by_target,
                                     &direction, loss))) {
        return false;
    }
    mlp_backward(&own->value, ends, true);
    for (size_t r = 0; r < ROWS; r++) {
        memcpy(own->at_states.tangent[0] + (D + 1) * r, batch->direction + D * r, D * sizeof(float));
        own->at_states.tangent[0][(D + 1) * r + D] = 0;
    }
    mlp_backward_directional(&own->value, &own->at_states);
    return true;
}

static bool generator_half(Own *own, uint64_t step, const float *source)
{
    const int64_t sources = SOURCES * D, rows = ROWS, points = ROWS * D, outputs = SOURCES * OUTPUTS;
    Batch *batch = &own->batch;
    if (!begin(own, SFEUOT_HALF_GENERATOR, step, source)) {
        return false;
    }
    evaluate_states(own, COMPONENTS);
    size_t last = own->generator.layers;
    SfeuotTensor x0 = tensor(batch->x0, &sources), given = tensor(own->of_generator.unit[last], &outputs);
    SfeuotTensor state = tensor(batch->state, &points), g = tensor(batch->gradient, &points);
    SfeuotTensor v = tensor(own->at_states.unit[own->value.layers], &rows);
    SfeuotTensor by_outputs = tensor(own->of_generator.delta[last], &outputs);
    if (!succeeded(sfeuot_generator_loss(own->problem, &x0, &given, batch->times, &state, &v, &g, &by_outputs,
                                         NULL))) {
        return false;
    }
    mlp_backward(&own->generator, &own->of_generator, true);
    return true;
}

/* Draws x1 for TEST source samples. */
static bool generate(Own *own, const float *source, float *generated)
{
    for (size_t from = 0; from + SOURCES <= TEST; from += SOURCES) {
        const int64_t sources = SOURCES * D, points = ROWS * D, outputs = SOURCES * OUTPUTS;
        Batch *batch = &own->batch;
        memcpy(batch->x0, source + D * from, sizeof batch->x0);
        memcpy(own->of_generator.unit[0], batch->x0, sizeof batch->x0);
        mlp_forward(&own->generator, &own->of_generator, SOURCES);
        SfeuotTensor x0 = tensor(batch->x0, &sources), end = tensor(batch->end, &points);
        SfeuotTensor given = tensor(own->of_generator.unit[own->generator.layers], &outputs);
        memset(batch->times, 0, sizeof batch->times);
        if (!succeeded(sfeuot_bridge_sample(own->problem, SFEUOT_HALF_VALUE, &x0, &given, batch->times, own->seed + 1,
                                            0, from, &end, NULL, NULL))) {
            return false;
        }
        /* One of each source sample's rows is enough, another one from sample to sample: row k draws its component from
         * the k-th part of the cumulated probabilities. */
        for (size_t i = 0; i < SOURCES; i++) {
            size_t row = i * COMPONENTS + (from + i) * 5 % COMPONENTS;
            memcpy(generated + D * (from + i), batch->end + D * row, D * sizeof *generated);
        }
    }
    return true;
}

static double rate_factor(uint64_t step, uint64_t steps)
{
    return 0.02 + 0.98 * 0.5 * (1 + cos(3.141592653589793 * (double)step / (double)steps));
}

static bool train_own(SfeuotContext *context, uint64_t steps, uint64_t seed, size_t width, const float *source,
                      const float *target, const float *test, float *generated, Outcome *outcome)
{
    SfeuotProblemConfig config;
    bool trained = false;
    Own *own = calloc(1, sizeof *own);
    if (!own) {
        fputs("There is no memory for a batch.\n", stderr);
        return false;
    }
    own->seed = seed;
    own->random.state = seed + 17;
    TRY(sfeuot_problem_config_init, &config);
    config.sigma_units = SFEUOT_SIGMA_DATA_UNITS;
    config.sigma = SIGMA;
    config.tau = TAU;
    config.dimension = D;
    config.components = COMPONENTS;
    TRY(sfeuot_problem_create, context, &config, &own->problem);
    if (!mlp_create(&own->value, D + 1, width, 3, 1, 0.1f, &own->random) ||
        !mlp_create(&own->generator, D, width, 3, OUTPUTS, 0.1f, &own->random) ||
        !mlp_tape_create(&own->at_ends, &own->value, 2 * ROWS) ||
        !mlp_tape_create(&own->at_states, &own->value, ROWS) ||
        !mlp_tape_create(&own->of_generator, &own->generator, SOURCES)) {
        fputs("There is no memory for the networks.\n", stderr);
        goto done;
    }
    /* Components begin a little apart, with deviations near sigma: s = sigma / 2 exp(l). */
    float *biases = own->generator.weights + own->generator.parameters - OUTPUTS;
    for (size_t k = 0; k < COMPONENTS; k++) {
        for (size_t j = 0; j < D; j++) {
            biases[RAW * k + j] = (float)(0.3 * SIGMA * random_normal(&own->random));
            biases[RAW * k + D + j] = 0.64f;
        }
    }

    uint64_t tail = steps / 10 > 0 ? steps / 10 : 1;
    for (uint64_t step = 0; step < steps; step++) {
        SfeuotValueLoss loss;
        double rate = rate_factor(step, steps);
        TRY(sfeuot_value_loss_init, &loss);
        if (!value_half(own, step, source, target, &loss)) {
            goto done;
        }
        mlp_step(&own->value, step + 1, 1e-3 * rate);
        if (!generator_half(own, step, source)) {
            goto done;
        }
        mlp_step(&own->generator, step + 1, 2e-3 * rate);
        if (step + tail >= steps) {
            add(outcome, loss.dual, loss.potential, loss.action, loss.density_ratio_mean, tail);
        }
    }
    trained = generate(own, test, generated);

done:
    mlp_tape_destroy(&own->of_generator);
    mlp_tape_destroy(&own->at_states);
    mlp_tape_destroy(&own->at_ends);
    mlp_destroy(&own->generator);
    mlp_destroy(&own->value);
    sfeuot_problem_release(own->problem);
    free(own);
    return trained;
}

static bool train_library(SfeuotContext *context, uint64_t steps, uint64_t seed, size_t width, const float *source,
                          const float *target, const float *test, float *generated, Outcome *outcome)
{
    const int64_t shape[2] = {SAMPLES, D};
    const float *points[2] = {source, target};
    SfeuotTensor samples[2];
    SfeuotData sides[2];
    SfeuotTrainerConfig config;
    SfeuotMetrics metrics;
    SfeuotTrainer *trainer = NULL;
    SfeuotModel *model = NULL;
    SfeuotSession *session = NULL;
    bool trained = false;
    for (int side = 0; side < 2; side++) {
        TRY(sfeuot_tensor_init, &samples[side]);
        samples[side].data = points[side];
        samples[side].rank = 2;
        samples[side].shape = shape;
        TRY(sfeuot_data_init, &sides[side]);
        sides[side].samples = &samples[side];
    }
    TRY(sfeuot_trainer_config_init, &config);
    config.sigma_units = SFEUOT_SIGMA_DATA_UNITS;
    config.sigma = SIGMA;
    config.tau = TAU;
    config.hidden_width = (uint32_t)width;
    config.batch_sources = SOURCES;
    config.components = COMPONENTS;
    config.decay_steps = steps;
    config.seed = seed;
    TRY(sfeuot_metrics_init, &metrics);
    TRY(sfeuot_trainer_create, context, &config, &sides[0], &sides[1], &trainer);
    uint64_t tail = steps / 10 > 0 ? steps / 10 : 1;
    if (steps > tail) {
        TRY(sfeuot_trainer_step, trainer, steps - tail, NULL);
    }
    for (uint64_t step = 0; step < tail; step++) {
        TRY(sfeuot_trainer_step, trainer, 1, &metrics);
        add(outcome, metrics.dual, metrics.potential, metrics.action, metrics.density_ratio_mean, tail);
    }
    TRY(sfeuot_trainer_model, trainer, &model);
    TRY(sfeuot_session_create, model, &session);
    TRY(sfeuot_session_generate, session, test, TEST, seed, 0, generated);
    trained = true;

done:
    sfeuot_session_release(session);
    sfeuot_model_release(model);
    sfeuot_trainer_release(trainer);
    return trained;
}

static void print_row(const char *name, const Outcome *outcome)
{
    printf("%-22s %9.4f %9.4f %9.4f %9.4f %9.4f\n", name, outcome->dual, outcome->potential, outcome->action,
           outcome->density_ratio, outcome->distance);
}

int main(int argc, char **argv)
{
    uint64_t steps = 4000, seed = 0, width = 64;
    const Option options[] = {
        {"--steps", OPTION_COUNT, &steps, "training steps of each", 1, 1e9},
        {"--width", OPTION_COUNT, &width, "units of each of the three hidden layers", 1, 4096},
        {"--seed", OPTION_COUNT, &seed, "seed of all randomness", 0, 0},
    };
    const char *summary = "An unbalanced problem, trained with a network in plain C and with the library's own.";
    OptionsResult result = options_read(argc, argv, summary, options, sizeof options / sizeof *options);
    if (result != OPTIONS_READ) {
        return result == OPTIONS_HELP_SHOWN ? EXIT_SUCCESS : EXIT_FAILURE;
    }

    SfeuotContextConfig config;
    SfeuotContext *context = NULL;
    Outcome own = {0, 0, 0, 0, 0}, library = {0, 0, 0, 0, 0};
    Random random = {~seed};
    int status = EXIT_FAILURE;
    float *source = malloc(2 * SAMPLES * D * sizeof *source), *test = malloc(3 * TEST * D * sizeof *test);
    if (!source || !test) {
        fputs("There is no memory for the samples.\n", stderr);
        goto done;
    }
    float *target = source + SAMPLES * D, *generated = test + TEST * D, *held = test + 2 * TEST * D;
    draw(&random, false, source, SAMPLES);
    draw(&random, true, target, SAMPLES);
    draw(&random, false, test, TEST);
    draw(&random, true, held, TEST);

    /* The arrays of the calls are in host memory here. */
    TRY(sfeuot_context_config_init, &config);
    config.device = SFEUOT_DEVICE_CPU;
    TRY(sfeuot_context_create, &config, &context);
    if (!train_own(context, steps, seed, width, source, target, test, generated, &own)) {
        goto done;
    }
    own.distance = energy_distance(generated, held);
    if (!train_library(context, steps, seed, width, source, target, test, generated, &library)) {
        goto done;
    }
    library.distance = energy_distance(generated, held);
    printf("%-22s %9s %9s %9s %9s %9s\n", "", "dual", "potential", "action", "ratio", "distance");
    print_row("network of one's own", &own);
    print_row("the library's", &library);
    status = EXIT_SUCCESS;

done:
    sfeuot_context_release(context);
    free(test);
    free(source);
    return status;
}
