/*
 * Palette transfer between two photographs. The pixels of each are samples of a colour distribution in three
 * dimensions; the map from one to the other is learnt from them, and then recolours the source picture pixel by pixel
 * and is baked into a look-up table that any grading program or engine can load.
 *
 * Two readings of the same model are shown side by side:
 *   one-step generation draws a colour for every pixel, in one pass of the generator. Together the pixels get the
 *   target's palette, and noise of the order of sigma is part of that: it looks like film grain.
 *   The conditional mean is the average of all colours a pixel could get: no grain, a slightly calmer palette. Being
 *   a plain function of the colour it fits a look-up table.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cube.h"
#include "folder.h"
#include "meter.h"
#include "oklab.h"
#include "options.h"
#include "picture.h"

enum {
    PIECE_ROWS = 8192, /* pixels handed over per call */
    PANEL_GAP = 8      /* pixels between the pictures of the contact sheet */
};

typedef struct {
    const char *source, *target, *out, *space;
    uint64_t steps, seed, lut_size;
    double sigma, tau;
} Settings;

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

/* The picture's pixels as rows x 3 coordinates. */
static float *colours_of(const Picture *picture, Space space)
{
    size_t pixels = picture_pixels(picture);
    float *colours = allocate_colours(pixels);
    for (size_t i = 0; colours && i < pixels; i++) {
        float srgb[3];
        for (int c = 0; c < 3; c++) {
            srgb[c] = (float)picture->rgb[3 * i + c] / 255.0f;
        }
        space_from_srgb(space, srgb, colours + 3 * i);
    }
    return colours;
}

/* Trains on all pixels of both pictures; on success `session` is ready to recolour. */
static bool learn(const Settings *settings, const float *source, size_t source_rows, const float *target,
                  size_t target_rows, SfeuotSession **session)
{
    SfeuotContext *context = NULL;
    SfeuotTrainer *trainer = NULL;
    SfeuotModel *model = NULL;
    SfeuotTrainerConfig config;
    SfeuotData data[2];
    bool learnt = false;

    TRY(sfeuot_data_init, &data[0]);
    TRY(sfeuot_data_init, &data[1]);
    TRY(sfeuot_data_set_rows, &data[0], source, source_rows, 3);
    TRY(sfeuot_data_set_rows, &data[1], target, target_rows, 3);

    TRY(sfeuot_trainer_config_init, &config);
    config.divergence = SFEUOT_DIVERGENCE_KL;
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
 * One-step generation for every pixel. The pixels go through in pieces, as a renderer with tiles would do it;
 * first_row numbers the noise, so that the result does not depend on the size of the pieces.
 */
static bool recolour(SfeuotSession *session, const Settings *settings, Space space, const float *colours,
                     Picture *picture)
{
    float generated[PIECE_ROWS * 3];
    size_t pixels = picture_pixels(picture);
    for (size_t first = 0; first < pixels; first += PIECE_ROWS) {
        size_t rows = pixels - first < PIECE_ROWS ? pixels - first : PIECE_ROWS;
        TRY(sfeuot_session_generate, session, colours + 3 * first, rows, settings->seed, first, generated);
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

/* The conditional mean on a grid of size^3 sRGB colours, back in sRGB; NULL on failure. */
static float *bake(SfeuotSession *session, const Settings *settings, Space space)
{
    uint32_t size = (uint32_t)settings->lut_size;
    size_t entries = (size_t)size * size * size;
    float *grid = allocate_colours(entries);
    float *mean = allocate_colours(entries);
    if (!grid || !mean) {
        goto done;
    }
    for (size_t i = 0; i < entries; i++) {
        float last = (float)(size - 1);
        float srgb[3] = {(float)(i % size) / last, (float)(i / size % size) / last,
                         (float)(i / size / size) / last};
        space_from_srgb(space, srgb, grid + 3 * i);
    }
    TRY(sfeuot_session_conditional_mean, session, grid, entries, 1, settings->seed, 0, mean);
    for (size_t i = 0; i < entries; i++) {
        space_to_srgb(space, mean + 3 * i, grid + 3 * i);
    }
    free(mean);
    return grid;

done:
    free(mean);
    free(grid);
    return NULL;
}

/*
 *   source               palette
 *   one-step generation  conditional mean
 * all as high as the source.
 */
static bool draw_sheet(const Picture *source, const Picture *target, const Picture *sampled, const Picture *averaged,
                       Picture *sheet)
{
    uint32_t width = source->width, height = source->height;
    double scaled = (double)target->width * height / target->height;
    if (scaled < 1 || fmax(scaled, width) + width + PANEL_GAP > 100000) {
        fprintf(stderr, "A contact sheet of these two pictures would be too wide.\n");
        return false;
    }
    uint32_t palette_width = (uint32_t)(scaled + 0.5);
    uint32_t right = width + PANEL_GAP, below = height + PANEL_GAP;
    if (!picture_create(right + (palette_width > width ? palette_width : width), below + height, sheet)) {
        return false;
    }
    memset(sheet->rgb, 255, 3 * picture_pixels(sheet));
    picture_place(source, sheet, 0, 0, width, height);
    picture_place(target, sheet, right, 0, palette_width, height);
    picture_place(sampled, sheet, 0, below, width, height);
    picture_place(averaged, sheet, right, below, width, height);
    return true;
}

static bool write_results(const Settings *settings, const Cube *cube, const Picture *recoloured, const Picture *sheet)
{
    char picture_path[PATH_CAPACITY], sheet_path[PATH_CAPACITY], cube_path[PATH_CAPACITY];
    if (!folder_path(settings->out, "recoloured.png", picture_path) ||
        !folder_path(settings->out, "contact_sheet.png", sheet_path) ||
        !folder_path(settings->out, "palette.cube", cube_path) || !picture_write_png(picture_path, recoloured) ||
        !picture_write_png(sheet_path, sheet) || !cube_write(cube_path, "Palette transfer by libsfeuot", cube)) {
        return false;
    }
    printf("%s  one-step generation, %u x %u\n", picture_path, (unsigned)recoloured->width,
           (unsigned)recoloured->height);
    printf("%s  source, palette; one-step generation, conditional mean\n", sheet_path);
    printf("%s  conditional mean as a table, %u^3\n", cube_path, (unsigned)cube->size);
    return true;
}

static bool transfer(const Settings *settings)
{
    Space space = {strcmp(settings->space, "oklab") == 0};
    Picture source = {0, 0, NULL}, target = {0, 0, NULL};
    Picture sampled = {0, 0, NULL}, averaged = {0, 0, NULL}, sheet = {0, 0, NULL};
    float *source_colours = NULL, *target_colours = NULL, *table = NULL;
    SfeuotSession *session = NULL;
    bool written = false;

    if (picture_read_png(settings->source, &source) && picture_read_png(settings->target, &target) &&
        (source_colours = colours_of(&source, space)) && (target_colours = colours_of(&target, space)) &&
        folder_make(settings->out) && /* before the work rather than after it */
        learn(settings, source_colours, picture_pixels(&source), target_colours, picture_pixels(&target), &session) &&
        picture_create(source.width, source.height, &sampled) &&
        recolour(session, settings, space, source_colours, &sampled) && (table = bake(session, settings, space)) &&
        picture_create(source.width, source.height, &averaged)) {
        Cube cube = {(uint32_t)settings->lut_size, table};
        /* Through the table rather than the session: the sheet shows what a program that loads the file will get. */
        cube_apply(&cube, &source, &averaged);
        written = draw_sheet(&source, &target, &sampled, &averaged, &sheet) &&
                  write_results(settings, &cube, &sampled, &sheet);
    }

    sfeuot_session_release(session);
    free(table);
    free(target_colours);
    free(source_colours);
    picture_free(&sheet);
    picture_free(&averaged);
    picture_free(&sampled);
    picture_free(&target);
    picture_free(&source);
    return written;
}

int main(int argc, char **argv)
{
    static const char *const spaces[] = {"oklab", "rgb"};
    size_t space;
    Settings settings = {.source = EXAMPLES_IMAGES "/coffee.png",
                         .target = EXAMPLES_IMAGES "/rocket.png",
                         .out = "out",
                         .space = "oklab",
                         .steps = 4000,
                         .lut_size = 33,
                         .sigma = 0.08,
                         .tau = 2};
    const Option options[] = {
        {"--source", OPTION_TEXT, &settings.source, "PNG picture to recolour", 0, 0},
        {"--target", OPTION_TEXT, &settings.target, "PNG picture whose palette to take", 0, 0},
        {"--out", OPTION_TEXT, &settings.out, "folder to write into", 0, 0},
        {"--steps", OPTION_COUNT, &settings.steps, "training steps", 1, 1e9},
        {"--sigma", OPTION_REAL, &settings.sigma, "noise, as a multiple of the colours' spread", 0, 0},
        {"--tau", OPTION_REAL, &settings.tau, "how strictly the palette is matched, in squared spreads", 0, 0},
        {"--lut-size", OPTION_COUNT, &settings.lut_size, "entries of the look-up table per channel", 2, 256},
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
    if (!option_choice("--space", settings.space, spaces, sizeof spaces / sizeof *spaces, &space)) {
        return EXIT_FAILURE;
    }
    return transfer(&settings) ? EXIT_SUCCESS : EXIT_FAILURE;
}
