/*
 * Palette transfer between two photographs. The pixels of each are samples of a colour distribution in three
 * dimensions; the map from one to the other is learnt from them, and then recolours the source picture pixel by pixel
 * and is baked into look-up tables that any grading program or engine can load.
 *
 * Two readings of the same model:
 *   The conditional mean (recoloured.png, and the tables) is the average of all colours that a pixel could get: no grain,
 *   and a slightly calmer palette. It is a plain function of the colour.
 *   One-step generation (drawn.png) draws a colour for every pixel, in one pass of the generator. Together the pixels get
 *   the target's palette, and noise of the order of sigma is part of that: it looks like film grain, on skin most of all.
 *
 * What the settings give:
 *   --divergence balanced, the default: the shares of colours are the target's. A night sky that fills half of the target
 *   takes half of the source, so dark targets make dark pictures.
 *   kl, softplus: shares may differ at the price --tau, so pixels stay nearer to their own brightness and the palette
 *   further from the target's. With a small tau much of a dark target is not used at all. chi2 leaves out what is far.
 *   --pair writes shares.png, kl beside balanced.
 *   --sigma: how much pixels of one colour may come apart. A smaller one gives less grain in drawn.png, and a mean that
 *   differs less from the draws; a larger one blurs the palette.
 *   --space rgb measures distances in sRGB, where dark colours lie close together.
 *
 * Oklab spreads out the darkest few levels of 8 bits: from 0 to 1 it is a fifteenth of the way to white. A shadow of one
 * level would be a single point there, which has to go to one place or be torn apart by noise. Trainings therefore see each
 * level as all colours that are rounded to it.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cube.h"
#include "folder.h"
#include "hald.h"
#include "jpeg.h"
#include "meter.h"
#include "oklab.h"
#include "options.h"
#include "picture.h"
#include "random.h"
#include "sheet.h"

enum {
    PIECE_ROWS = 8192 /* pixels handed over per call */
};

typedef struct {
    const char *source, *target, *out, *space, *divergence, *model;
    uint64_t steps, seed, lut_size, hald_level;
    double sigma, tau;
    bool lut_only, pair;
} Settings;

static const char *const SPACES[] = {"oklab", "rgb"};
static const char *const DIVERGENCES[] = {"balanced", "kl", "chi2", "softplus"}; /* as SFEUOT_DIVERGENCE_* are numbered */

/* The space whose distances are the cost: Oklab unless plain sRGB is asked for. */
typedef struct {
    bool oklab;
} Space;

static void space_from_srgb(Space space, const float srgb[3], float coordinates[3])
{
    if (space.oklab) {
        oklab_from_srgb(srgb, coordinates);
    } else {
        memcpy(coordinates, srgb, 3 * sizeof *srgb);
    }
}

static void space_to_srgb(Space space, const float coordinates[3], float srgb[3])
{
    if (space.oklab) {
        oklab_to_srgb(coordinates, srgb);
        return;
    }
    for (int c = 0; c < 3; c++) {
        srgb[c] = coordinates[c] < 0 ? 0 : coordinates[c] > 1 ? 1 : coordinates[c];
    }
}

/* Room for `rows` colours of 3 floats, or NULL with a sentence printed. */
static float *allocate_colours(size_t rows)
{
    float *colours = rows <= SIZE_MAX / 3 / sizeof *colours ? malloc(rows * 3 * sizeof *colours) : NULL;
    if (!colours) {
        fprintf(stderr, "There is no memory for %zu colours.\n", rows);
    }
    return colours;
}

/*
 * The picture's pixels as rows x 3 coordinates. A number of 8 bits stands for all that are rounded to it. With a `random` one
 * of these is drawn: so many pixels of one colour, as in shadows, are no single point that has to go to one place.
 */
static float *colours_of(const Picture *picture, Space space, Random *random)
{
    size_t pixels = picture_pixels(picture);
    float *colours = allocate_colours(pixels);
    for (size_t i = 0; colours && i < pixels; i++) {
        float srgb[3];
        for (int c = 0; c < 3; c++) {
            double level = picture->rgb[3 * i + c] + (random ? random_uniform(random) - 0.5 : 0);
            srgb[c] = (float)fmin(fmax(level / 255, 0), 1);
        }
        space_from_srgb(space, srgb, colours + 3 * i);
    }
    return colours;
}

/* The colours of both pictures, 3 numbers each. */
typedef struct {
    float *source, *target;
    size_t source_rows, target_rows;
} Samples;

/* Trains on all pixels of both pictures; on success `session` is ready to recolour, and the model is in `file` if that is given. */
static bool learn(const Settings *settings, int32_t divergence, const Samples *samples, const char *file,
                  SfeuotSession **session)
{
    SfeuotContext *context = NULL;
    SfeuotTrainer *trainer = NULL;
    SfeuotModel *model = NULL;
    SfeuotTrainerConfig config;
    SfeuotData data[2];
    bool learnt = false;

    TRY(sfeuot_data_init, &data[0]);
    TRY(sfeuot_data_init, &data[1]);
    TRY(sfeuot_data_set_rows, &data[0], samples->source, samples->source_rows, 3);
    TRY(sfeuot_data_set_rows, &data[1], samples->target, samples->target_rows, 3);

    TRY(sfeuot_trainer_config_init, &config);
    config.divergence = divergence;
    config.sigma = settings->sigma;
    config.tau = settings->tau;
    config.sigma_units = SFEUOT_SIGMA_RELATIVE;
    config.hidden_width = 64; /* a map of three numbers wants to be smooth, not intricate */
    config.decay_steps = settings->steps;
    config.seed = settings->seed;

    TRY(sfeuot_context_create, NULL, &context);
    TRY(sfeuot_trainer_create, context, &config, &data[0], &data[1], &trainer);
    TRY(train_with_meter, trainer, settings->steps, "Learning the palette");
    TRY(sfeuot_trainer_model, trainer, &model);
    if (file) {
        TRY(sfeuot_model_save, model, file);
    }
    TRY(sfeuot_session_create, model, session);
    learnt = true;

done:
    /* The session keeps what it needs of the model alive. */
    sfeuot_model_release(model);
    sfeuot_trainer_release(trainer);
    sfeuot_context_release(context);
    return learnt;
}

/*
 * Recolours every pixel: by the mean of what it may become, or by one draw. The pixels go through in pieces, as a renderer
 * with tiles would do it; first_row numbers the noise, so that the result does not depend on the size of the pieces.
 */
static bool recolour(SfeuotSession *session, const Settings *settings, Space space, const float *colours, bool draw,
                     Picture *picture)
{
    float generated[PIECE_ROWS * 3];
    size_t pixels = picture_pixels(picture);
    for (size_t first = 0; first < pixels; first += PIECE_ROWS) {
        size_t rows = pixels - first < PIECE_ROWS ? pixels - first : PIECE_ROWS;
        if (draw) {
            TRY(sfeuot_session_generate, session, colours + 3 * first, rows, settings->seed, first, generated);
        } else {
            TRY(sfeuot_session_conditional_mean, session, colours + 3 * first, rows, 1, settings->seed, first, generated);
        }
        for (size_t i = 0; i < rows; i++) {
            float srgb[3];
            space_to_srgb(space, generated + 3 * i, srgb);
            for (int c = 0; c < 3; c++) {
                picture->rgb[3 * (first + i) + c] = (uint8_t)(255 * srgb[c] + 0.5f);
            }
        }
    }
    return true;

done:
    return false;
}

/* Converts colours where they lie. */
static int32_t convert(Space space, void (*one)(Space, const float *, float *), float *colours, uint64_t rows)
{
    for (uint64_t i = 0; i < rows; i++) {
        float before[3];
        memcpy(before, colours + 3 * i, sizeof before);
        one(space, before, colours + 3 * i);
    }
    return 0;
}

static int32_t grid_to_model(void *userdata, float *colours, uint64_t rows)
{
    return convert(*(const Space *)userdata, space_from_srgb, colours, rows);
}

static int32_t model_to_grid(void *userdata, float *colours, uint64_t rows)
{
    return convert(*(const Space *)userdata, space_to_srgb, colours, rows);
}

/* The conditional mean on a grid of size^3 sRGB colours, back in sRGB; NULL on failure. */
static float *bake(SfeuotSession *session, const Settings *settings, Space space, uint64_t size)
{
    SfeuotLutConfig config;
    float *table = allocate_colours((size_t)(size * size * size));
    if (!table) {
        return NULL;
    }
    TRY(sfeuot_lut_config_init, &config);
    config.size = (uint32_t)size;
    config.seed = settings->seed;
    config.to_model = grid_to_model;
    config.from_model = model_to_grid;
    config.userdata = &space;
    TRY(sfeuot_session_bake_lut, session, &config, table);
    return table;

done:
    free(table);
    return NULL;
}

/* Bakes and writes the look-up tables. */
static bool write_tables(SfeuotSession *session, const Settings *settings, Space space)
{
    char cube_path[PATH_CAPACITY], hald_path[PATH_CAPACITY];
    uint64_t level = settings->hald_level;
    Cube cube = {(uint32_t)settings->lut_size, NULL}, hald = {(uint32_t)(level * level), NULL};
    float *table = bake(session, settings, space, cube.size);
    float *square = table ? bake(session, settings, space, hald.size) : NULL;
    bool written = false;

    cube.colours = table;
    hald.colours = square;
    if (square && folder_path(settings->out, "palette.cube", cube_path) &&
        folder_path(settings->out, "palette_hald.png", hald_path) &&
        cube_write(cube_path, "Palette transfer by libsfeuot", &cube) && hald_write(hald_path, &hald)) {
        printf("%s  conditional mean as a table, %u^3\n", cube_path, (unsigned)cube.size);
        printf("%s  the same as a HALD picture, %u^3\n", hald_path, (unsigned)hald.size);
        written = true;
    }
    free(square);
    free(table);
    return written;
}

/* Both readings of the model, with what they came from. `averaged` is the mean. */
static bool write_pictures(SfeuotSession *session, const Settings *settings, Space space, const float *colours,
                           const Picture *source, const Picture *target, Picture *averaged)
{
    char mean_path[PATH_CAPACITY], draw_path[PATH_CAPACITY], sheet_path[PATH_CAPACITY];
    Picture drawn = {0, 0, NULL}, sheet = {0, 0, NULL};
    const Picture *const panels[2][2] = {{source, target}, {&drawn, averaged}};
    bool written = picture_create(source->width, source->height, averaged) &&
                   picture_create(source->width, source->height, &drawn) &&
                   recolour(session, settings, space, colours, false, averaged) &&
                   recolour(session, settings, space, colours, true, &drawn) && sheet_draw(panels, 2, &sheet) &&
                   folder_path(settings->out, "recoloured.png", mean_path) &&
                   folder_path(settings->out, "drawn.png", draw_path) &&
                   folder_path(settings->out, "contact_sheet.png", sheet_path) &&
                   picture_write_png(mean_path, averaged) && picture_write_png(draw_path, &drawn) &&
                   picture_write_png(sheet_path, &sheet);
    if (written) {
        printf("%s  conditional mean, %u x %u\n", mean_path, (unsigned)averaged->width, (unsigned)averaged->height);
        printf("%s  one-step generation: a draw for each pixel\n", draw_path);
        printf("%s  source, palette; one-step generation, conditional mean\n", sheet_path);
    }
    picture_free(&sheet);
    picture_free(&drawn);
    return written;
}

/* The mean where shares of the palette may change beside the one where they may not: `averaged` is one of them. */
static bool write_pair(SfeuotSession *other, const Settings *settings, Space space, const float *colours, bool balanced,
                       const Picture *averaged)
{
    char path[PATH_CAPACITY];
    Picture own = {0, 0, NULL}, sheet = {0, 0, NULL};
    const Picture *const panels[1][2] = {{balanced ? &own : averaged, balanced ? averaged : &own}};
    bool written = picture_create(averaged->width, averaged->height, &own) &&
                   recolour(other, settings, space, colours, false, &own) && sheet_draw(panels, 1, &sheet) &&
                   folder_path(settings->out, "shares.png", path) && picture_write_png(path, &sheet);
    if (written) {
        printf("%s  conditional means: %s, balanced\n", path, balanced ? DIVERGENCES[SFEUOT_DIVERGENCE_KL] : settings->divergence);
    }
    picture_free(&sheet);
    picture_free(&own);
    return written;
}

static bool transfer(const Settings *settings, Space space, int32_t divergence)
{
    Picture source = {0, 0, NULL}, target = {0, 0, NULL}, averaged = {0, 0, NULL};
    Samples samples = {0};
    float *colours = NULL;
    Random random = {settings->seed};
    SfeuotSession *session = NULL, *other = NULL;
    bool balanced = divergence == SFEUOT_DIVERGENCE_BALANCED, written = false;

    if (picture_read(settings->source, &source) && picture_read(settings->target, &target) &&
        (samples.source = colours_of(&source, space, &random)) && (samples.target = colours_of(&target, space, &random)) &&
        (colours = colours_of(&source, space, NULL)) && folder_make(settings->out)) { /* before the work */
        samples.source_rows = picture_pixels(&source);
        samples.target_rows = picture_pixels(&target);
        written = learn(settings, divergence, &samples, settings->model, &session) &&
                  write_tables(session, settings, space) &&
                  (settings->lut_only ||
                   write_pictures(session, settings, space, colours, &source, &target, &averaged));
        if (written && settings->pair && !settings->lut_only) {
            written = learn(settings, balanced ? SFEUOT_DIVERGENCE_KL : SFEUOT_DIVERGENCE_BALANCED, &samples, NULL, &other) &&
                      write_pair(other, settings, space, colours, balanced, &averaged);
        }
    }

    sfeuot_session_release(other);
    sfeuot_session_release(session);
    free(colours);
    free(samples.target);
    free(samples.source);
    picture_free(&averaged);
    picture_free(&target);
    picture_free(&source);
    return written;
}

int main(int argc, char **argv)
{
    size_t space, divergence;
    Settings settings = {.source = EXAMPLES_IMAGES "/coffee.png",
                         .target = EXAMPLES_IMAGES "/rocket.png",
                         .out = "out",
                         .space = "oklab",
                         .divergence = "balanced",
                         .steps = 4000,
                         .lut_size = 33,
                         .hald_level = 6,
                         .sigma = 0.08,
                         .tau = 1};
    const Option options[] = {
        {"--source", OPTION_TEXT, &settings.source, "picture to recolour, PNG or JPEG", 0, 0},
        {"--target", OPTION_TEXT, &settings.target, "picture whose palette to take, PNG or JPEG", 0, 0},
        {"--out", OPTION_TEXT, &settings.out, "folder to write into", 0, 0},
        {"--save-model", OPTION_TEXT, &settings.model, "file to write the trained model to", 0, 0},
        {"--lut-only", OPTION_FLAG, &settings.lut_only, "write the look-up tables and no pictures", 0, 0},
        {"--pair", OPTION_FLAG, &settings.pair, "learn with kl too, or balanced, and write both beside each other", 0, 0},
        {"--steps", OPTION_COUNT, &settings.steps, "training steps", 1, 1e9},
        {"--divergence", OPTION_TEXT, &settings.divergence,
         "how the palette's shares may change: balanced, kl, chi2 or softplus", 0, 0},
        {"--tau", OPTION_REAL, &settings.tau, "price of other shares, in squared spreads for each number; not balanced", 0, 0},
        {"--sigma", OPTION_REAL, &settings.sigma, "noise, as a multiple of the colours' spread", 0, 0},
        {"--lut-size", OPTION_COUNT, &settings.lut_size, "entries of the .cube table per channel", 2, 256},
        {"--hald-level", OPTION_COUNT, &settings.hald_level, "of the HALD picture: its square entries per channel", 2, 16},
        {"--seed", OPTION_COUNT, &settings.seed, "seed of all randomness", 0, 0},
        {"--space", OPTION_TEXT, &settings.space, "where distances are measured: oklab or rgb", 0, 0},
    };
    switch (options_read(argc, argv, "Recolours one photograph with the palette of another.", options,
                         sizeof options / sizeof *options)) {
    case OPTIONS_HELP_SHOWN:
        return EXIT_SUCCESS;
    case OPTIONS_REFUSED:
        return EXIT_FAILURE;
    case OPTIONS_READ:
        break;
    }
    if (!option_choice("--space", settings.space, SPACES, sizeof SPACES / sizeof *SPACES, &space) ||
        !option_choice("--divergence", settings.divergence, DIVERGENCES, sizeof DIVERGENCES / sizeof *DIVERGENCES,
                       &divergence)) {
        return EXIT_FAILURE;
    }
    return transfer(&settings, (Space){space == 0}, (int32_t)divergence) ? EXIT_SUCCESS : EXIT_FAILURE;
}
