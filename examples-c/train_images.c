/*
 * A generator of pictures, trained with convolutional networks.
 *   train_images                                        draws soft coloured shapes out of noise; needs no download
 *   train_images --target FOLDER|FILE                   the same for pictures of yours
 *   train_images --source FOLDER|FILE --target ...      turns pictures of one set into ones like those of the other
 *
 * Without a source, pictures are made from the target's mean picture and noise about it that is no wider than the target
 * itself: convolutional networks see the source as it is, and what is wider has to be undone by them. Between two sets
 * the generator adds to the source picture, and the cost, half the squared distance of pictures, decides what stays.
 *
 * Pictures are held in memory, or decoded beside the steps with --stream, which takes folders larger than that.
 *
 * Every few seconds it writes a grid of what the generator makes, out of the same noise or source pictures each time.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "folder.h"
#include "gallery.h"
#include "images.h"
#include "meter.h"
#include "options.h"
#include "problem.h"
#include "thread.h"

enum { TRIAL_MILLISECONDS = 3000 /* to measure how long a step takes */ };

static const char *const PRESETS[] = {"auto", "tiny", "small", "base"};
static const int32_t KINDS[] = {SFEUOT_NETWORK_CONV, SFEUOT_NETWORK_CONV_TINY, SFEUOT_NETWORK_CONV_SMALL,
                                SFEUOT_NETWORK_CONV_BASE};

static const char *const UPSAMPLINGS[] = {"nearest", "bilinear"};
static const int32_t UPSAMPLING_CODES[] = {SFEUOT_UPSAMPLING_NEAREST, SFEUOT_UPSAMPLING_BILINEAR};

static const char *const DIVERGENCES[] = {"balanced", "kl", "chi2", "softplus"};
static const int32_t DIVERGENCE_CODES[] = {SFEUOT_DIVERGENCE_BALANCED, SFEUOT_DIVERGENCE_KL, SFEUOT_DIVERGENCE_CHI2,
                                           SFEUOT_DIVERGENCE_SOFTPLUS};

static const char *const NOISES[] = {"white", "pictures"};

typedef struct {
    const char *source, *target, *out, *checkpoint, *preset, *upsampling, *divergence, *noise;
    uint64_t size, steps, batch, latents, norm_groups, heads, crop, decoders, seed;
    double minutes, sigma, tau, generator_rate, value_rate, penalty, ema, noise_width, seconds;
    bool flip, stream;
} Settings;

/* The choices among words that the settings hold. */
typedef struct {
    size_t preset, upsampling, divergence, noise;
} Choices;

/* What is written in a pause between two steps. */
typedef struct {
    Gallery gallery;
    const char *checkpoint; /* NULL for none */
    char grid[PATH_CAPACITY], target[PATH_CAPACITY], model[PATH_CAPACITY];
    bool failed; /* a sentence has been printed */
} Results;

static bool between_sets(const Settings *settings)
{
    return settings->source != NULL;
}

static bool read_problem(const Settings *settings, const Choices *choices, Problem *problem)
{
    ProblemSettings sides = {.source = settings->source,
                             .target = settings->target,
                             .size = (uint32_t)settings->size,
                             .flip = settings->flip,
                             .crop = (uint32_t)settings->crop,
                             .white = choices->noise == 0,
                             .noise_width = settings->noise_width,
                             .stream = settings->stream,
                             .decoders = (uint32_t)settings->decoders,
                             .batch = (size_t)settings->batch};
    return problem_read(&sides, problem);
}

static bool make_trainer(const Settings *settings, const Choices *choices, Problem *problem, uint64_t steps,
                         SfeuotContext *context, SfeuotTrainer **trainer)
{
    SfeuotTrainerConfig config;
    SfeuotNetwork value, generator;
    bool made = false;

    TRY(sfeuot_network_init, &value);
    value.kind = KINDS[choices->preset];
    generator = value;
    generator.upsampling = UPSAMPLING_CODES[choices->upsampling];
    generator.norm_groups = (uint32_t)settings->norm_groups;
    generator.attention_heads = (uint32_t)settings->heads;
    generator.residual = between_sets(settings);
    generator.low = (float)IMAGES_OFFSET; /* black and white, which many pixels are */
    generator.high = (float)(IMAGES_OFFSET + 255 * IMAGES_SCALE);

    TRY(sfeuot_trainer_config_init, &config);
    config.value_network = &value;
    config.generator_network = &generator;
    config.deterministic = 1; /* these three are what convolutional networks need */
    config.components = 1;
    config.latent_dimension = (uint32_t)settings->latents;
    config.divergence = DIVERGENCE_CODES[choices->divergence];
    config.sigma = settings->sigma;
    config.tau = settings->tau;
    config.batch_sources = (uint32_t)settings->batch;
    config.generator_learning_rate = settings->generator_rate;
    config.value_learning_rate = settings->value_rate;
    /* Between sets a steep value network can make speckles along every edge. From noise a penalty makes pictures worse. */
    config.gradient_penalty = settings->penalty >= 0 ? settings->penalty : between_sets(settings) ? 0.01 : 0;
    config.ema_decay = settings->ema;
    config.decay_steps = steps;
    config.decay_floor = 0.05;
    config.seed = settings->seed;

    problem_rewind(problem);
    TRY(sfeuot_trainer_create, context, &config, &problem->data[0], &problem->data[1], trainer);
    made = true;

done:
    return made;
}

/* How many steps fit into the minutes, by the speed of a few steps that are thrown away. */
static bool count_steps(const Settings *settings, const Choices *choices, Problem *problem, SfeuotContext *context,
                        uint64_t *steps)
{
    SfeuotTrainer *trainer = NULL;
    SfeuotMetrics metrics;
    bool counted = false;

    TRY(sfeuot_metrics_init, &metrics);
    if (!make_trainer(settings, choices, problem, 0, context, &trainer)) {
        goto done;
    }
    TRY(sfeuot_trainer_step, trainer, 1, NULL); /* the first one is slower */
    TRY(sfeuot_trainer_run_for, trainer, TRIAL_MILLISECONDS, NULL, &metrics);
    double fit = settings->minutes * 60 * metrics.steps_per_second;
    *steps = fit < 1 ? 1 : fit < 1e9 ? (uint64_t)fit : (uint64_t)1e9;
    counted = true;

done:
    sfeuot_trainer_release(trainer);
    return counted;
}

/*
 * Goes on from the checkpoint where there is one, and begins otherwise. `left` becomes the number of steps to take. A
 * checkpoint keeps its settings, and the steps of the command line count those that it has behind it.
 */
static bool begin(const Settings *settings, const Choices *choices, Problem *problem, SfeuotContext *context,
                  SfeuotTrainer **trainer, uint64_t *left)
{
    SfeuotMetrics metrics;
    bool resumed = settings->checkpoint && file_exists(settings->checkpoint);
    bool begun = false;

    *left = settings->steps;
    if (settings->minutes > 0 && !count_steps(settings, choices, problem, context, left)) {
        return false;
    }
    if (!resumed) {
        return make_trainer(settings, choices, problem, *left, context, trainer);
    }
    TRY(sfeuot_trainer_load, context, settings->checkpoint, &problem->data[0], &problem->data[1], trainer);
    TRY(sfeuot_metrics_init, &metrics);
    TRY(sfeuot_trainer_metrics, *trainer, &metrics);
    problem_go_on(problem, metrics.step);
    if (settings->minutes <= 0) {
        if (metrics.step >= settings->steps) {
            fprintf(stderr, "%s has %" PRIu64 " steps behind it; --steps has to be more than that to go on.\n",
                    settings->checkpoint, metrics.step);
            goto done;
        }
        *left = settings->steps - metrics.step;
    }
    printf("%s goes on after %" PRIu64 " steps.\n", settings->checkpoint, metrics.step);
    begun = true;

done:
    return begun;
}

/* Writes the grid, the model and the checkpoint of the moment. A MeterPause. */
static int32_t write_results(void *userdata, SfeuotTrainer *trainer)
{
    Results *results = userdata;
    SfeuotModel *model = NULL;
    SfeuotSession *session = NULL;
    results->failed = true;

    TRY(sfeuot_trainer_model, trainer, &model);
    TRY(sfeuot_session_create, model, &session);
    if (!gallery_write(&results->gallery, session, results->grid)) {
        goto done;
    }
    TRY(sfeuot_model_save, model, results->model);
    if (results->checkpoint) {
        TRY(sfeuot_trainer_save, trainer, results->checkpoint);
    }
    results->failed = false;

done:
    sfeuot_session_release(session);
    sfeuot_model_release(model);
    return results->failed ? SFEUOT_ERROR_IO : SFEUOT_OK;
}

/* Takes the steps. Ctrl-C ends them in good order: what was learnt until then is written. */
static bool train(const Settings *settings, SfeuotTrainer *trainer, uint64_t steps, Results *results)
{
    int32_t status = train_with_pauses(trainer, steps, "Learning to draw", settings->seconds, write_results, results);
    if (status == SFEUOT_ERROR_CANCELLED) {
        write_results(results, trainer);
    } else if (!results->failed && !succeeded(status)) {
        return false;
    }
    if (!results->failed) {
        printf("%s  %s\n", results->grid,
               results->gallery.pairs ? "source pictures, each left of what was made of it" : "generated pictures");
        printf("%s  pictures of the target, to compare\n", results->target);
        printf("%s  the model\n", results->model);
    }
    return !results->failed;
}

static bool run(const Settings *settings, const Choices *choices)
{
    Problem problem = {.noise = {.next = 0}};
    Results results = {.checkpoint = settings->checkpoint};
    SfeuotContextConfig config;
    SfeuotContext *context = NULL;
    SfeuotTrainer *trainer = NULL;
    uint64_t steps;
    bool done = false;

    if (!read_problem(settings, choices, &problem) ||
        !gallery_open(between_sets(settings) ? &problem.source : NULL, &problem.noise, settings->seed,
                      &results.gallery) ||
        !folder_path(settings->out, "grid.png", results.grid) ||
        !folder_path(settings->out, "target.png", results.target) ||
        !folder_path(settings->out, "model.safetensors", results.model)) {
        goto done;
    }
    TRY(sfeuot_context_config_init, &config);
    TRY(sfeuot_context_create, &config, &context);
    if (begin(settings, choices, &problem, context, &trainer, &steps) &&
        folder_make(settings->out) && /* after all that may be refused, before the work */
        gallery_write_set(&problem.target, results.target)) {
        printf("%zu pictures of %u x %u x %u, steps to take: %" PRIu64 "\n", problem_pictures(&problem),
               (unsigned)problem.target.channels, (unsigned)problem.target.size, (unsigned)problem.target.size, steps);
        fflush(stdout);
        done = train(settings, trainer, steps, &results);
    }

done:
    sfeuot_trainer_release(trainer);
    sfeuot_context_release(context);
    gallery_close(&results.gallery);
    problem_free(&problem);
    return done;
}

int main(int argc, char **argv)
{
    Settings settings = {.target = "shapes",
                         .out = "out",
                         .preset = "auto",
                         .upsampling = "nearest",
                         .divergence = "softplus",
                         .noise = "pictures",
                         .size = 16,
                         .steps = 4000,
                         .batch = 32,
                         .latents = 32,
                         .decoders = 2,
                         .sigma = 0.3,
                         .tau = 2,
                         .generator_rate = 2e-3,
                         .value_rate = 3.5e-4,
                         .penalty = -1, /* by the kind of source */
                         .ema = 0.998,
                         .noise_width = 0.8,
                         .seconds = 10};
    Choices choices;
    const Option options[] = {
        {"--target", OPTION_TEXT, &settings.target,
         "folder of PNG or JPEG pictures, IDX file (.gz too), or shapes, discs, squares, triangles, rings", 0, 0},
        {"--source", OPTION_TEXT, &settings.source, "pictures to begin with, in place of noise", 0, 0},
        {"--out", OPTION_TEXT, &settings.out, "folder to write into", 0, 0},
        {"--size", OPTION_COUNT, &settings.size, "pixels of a side that pictures are averaged down to", 4, 1024},
        {"--steps", OPTION_COUNT, &settings.steps, "training steps", 1, 1e9},
        {"--minutes", OPTION_REAL, &settings.minutes, "about how long to train, in place of --steps", 0, 0},
        {"--seconds", OPTION_REAL, &settings.seconds, "between two grids", 0, 0},
        {"--checkpoint", OPTION_TEXT, &settings.checkpoint, "file to keep the training in, and to go on from", 0, 0},
        {"--preset", OPTION_TEXT, &settings.preset, "networks: auto, tiny, small or base", 0, 0},
        {"--upsampling", OPTION_TEXT, &settings.upsampling, "of the generator: nearest or bilinear", 0, 0},
        {"--norm-groups", OPTION_COUNT, &settings.norm_groups, "that the generator normalises, 0 for none", 0, 1024},
        {"--attention-heads", OPTION_COUNT, &settings.heads, "of the generator's attention, 0 for none", 0, 16},
        {"--batch", OPTION_COUNT, &settings.batch, "source pictures of a step", 1, 1 << 20},
        {"--latents", OPTION_COUNT, &settings.latents, "numbers of noise that the generator sees", 1, 4096},
        {"--flip", OPTION_FLAG, &settings.flip, "take half of the pictures mirrored, left to right", 0, 0},
        {"--crop", OPTION_COUNT, &settings.crop, "pixels by which pictures are moved at most", 0, 1023},
        {"--stream", OPTION_FLAG, &settings.stream,
         "decode the folders' pictures beside the steps, in place of holding all of them in memory", 0, 0},
        {"--decoders", OPTION_COUNT, &settings.decoders, "threads that decode the pictures of a folder", 1, MOST_THREADS},
        {"--sigma", OPTION_REAL, &settings.sigma, "noise of the coupling, times the pictures' common scale", 0, 0},
        {"--tau", OPTION_REAL, &settings.tau, "price of unmatched pictures, in squared scales for each number", 0, 0},
        {"--divergence", OPTION_TEXT, &settings.divergence, "balanced, kl, chi2 or softplus", 0, 0},
        {"--noise", OPTION_TEXT, &settings.noise, "white, or pictures for their covariance", 0, 0},
        {"--noise-width", OPTION_REAL, &settings.noise_width, "of the source's noise, in spreads of the pixels", 0, 0},
        {"--generator-rate", OPTION_REAL, &settings.generator_rate, "first rate of the generator", 0, 0},
        {"--value-rate", OPTION_REAL, &settings.value_rate, "first rate of the value network", 0, 0},
        {"--gradient-penalty", OPTION_REAL, &settings.penalty,
         "of the value network's slope at the target (default 0.01 with --source, else 0)", 0, 1000},
        {"--ema", OPTION_REAL, &settings.ema, "decay of the averaged weights, below 1", 0, 0},
        {"--seed", OPTION_COUNT, &settings.seed, "seed of the training; a resumed one keeps its own", 0, 0},
    };
    switch (options_read(argc, argv, "Trains a generator of pictures, out of noise or out of other pictures.", options,
                         sizeof options / sizeof *options)) {
    case OPTIONS_HELP_SHOWN:
        return EXIT_SUCCESS;
    case OPTIONS_REFUSED:
        return EXIT_FAILURE;
    case OPTIONS_READ:
        break;
    }
    if (!option_choice("--preset", settings.preset, PRESETS, 4, &choices.preset) ||
        !option_choice("--upsampling", settings.upsampling, UPSAMPLINGS, 2, &choices.upsampling) ||
        !option_choice("--divergence", settings.divergence, DIVERGENCES, 4, &choices.divergence) ||
        !option_choice("--noise", settings.noise, NOISES, 2, &choices.noise)) {
        return EXIT_FAILURE;
    }
    return run(&settings, &choices) ? EXIT_SUCCESS : EXIT_FAILURE;
}
