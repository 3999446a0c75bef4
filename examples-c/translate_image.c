/*
 * Turns pictures into ones of another kind, with a model that train_images made of two sets.
 *   translate_image --model model.safetensors --input cat.png --output dog.png
 *   translate_image --model model.safetensors --input cats --output dogs       every picture of a folder
 *   ffmpeg -i in.mp4 -vf scale=64:64 -f rawvideo -pix_fmt rgb24 - |
 *       translate_image --model model.safetensors --raw 64x64 |
 *       ffmpeg -f rawvideo -pix_fmt rgb24 -s 64x64 -i - out.mp4
 *
 * Every picture gets the same noise. So one picture becomes the same alone, in a folder and as a frame, and what is drawn
 * does not flicker from frame to frame. Another --seed draws other noise.
 *
 * The library reads and writes the bytes of a picture where they are: a tensor says how they lie.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif

#include "check.h"
#include "folder.h"
#include "images.h"
#include "jpeg.h"
#include "options.h"
#include "picture.h"
#include "resample.h"

typedef struct {
    const char *model, *input, *output, *raw;
    uint64_t seed, latents;
    bool mean, resize;
} Settings;

/* A model at work, and the size of its pictures. */
typedef struct {
    const Settings *settings;
    SfeuotContext *context;
    SfeuotModel *model;
    SfeuotSession *session;
    uint32_t rank, channels, width, height;
} Translator;

/* The sizes of the model's pictures, which are {channels, height, width} or, for grey ones, {height, width}. */
static bool read_shape(Translator *translator)
{
    int64_t shape[SFEUOT_MAX_RANK];
    SfeuotModelInfo info;
    bool read = false;

    TRY(sfeuot_model_info_init, &info);
    TRY(sfeuot_model_info, translator->model, &info);
    TRY(sfeuot_model_sample_shape, translator->model, SFEUOT_MAX_RANK, shape);
    const int64_t *sides = shape + (info.sample_rank == 3);
    int64_t channels = info.sample_rank == 3 ? shape[0] : 1;
    if (info.sample_rank < 2 || info.sample_rank > 3 || (channels != 1 && channels != 3)) {
        fprintf(stderr, "%s is no model of grey or RGB pictures: its samples have %" PRIu32 " axes and %" PRIu64
                " numbers. Train one with train_images --source FOLDER --target FOLDER.\n",
                translator->settings->model, info.sample_rank, info.dimension);
        goto done;
    }
    translator->rank = info.sample_rank;
    translator->channels = (uint32_t)channels;
    translator->height = (uint32_t)sides[0];
    translator->width = (uint32_t)sides[1];
    read = true;

done:
    return read;
}

static void translator_close(Translator *translator)
{
    sfeuot_session_release(translator->session);
    sfeuot_model_release(translator->model);
    sfeuot_context_release(translator->context);
}

static bool translator_open(const Settings *settings, Translator *translator)
{
    *translator = (Translator){.settings = settings};
    TRY(sfeuot_context_create, NULL, &translator->context);
    TRY(sfeuot_model_load, translator->context, settings->model, &translator->model);
    TRY(sfeuot_session_create, translator->model, &translator->session);
    if (read_shape(translator)) {
        return true;
    }

done:
    translator_close(translator);
    return false;
}

/* Makes the picture as large as the model's, or says why it is not translated. `name` is a path, or that of a frame. */
static bool fit(const Translator *translator, const char *name, Picture *picture)
{
    Picture fitted = {0, 0, NULL};
    if (picture->width == translator->width && picture->height == translator->height) {
        return true;
    }
    if (!translator->settings->resize) {
        fprintf(stderr, "%s has %u x %u pixels, but the model's pictures have %u x %u; --resize makes it that large.\n",
                name, (unsigned)picture->width, (unsigned)picture->height, (unsigned)translator->width,
                (unsigned)translator->height);
        return false;
    }
    if (!picture_create(translator->width, translator->height, &fitted)) {
        return false;
    }
    resample_middle(picture->rgb, (ByteLayout){picture->width, picture->height, 3, 1}, 3, fitted.rgb,
                    (ByteLayout){fitted.width, fitted.height, 3, 1});
    picture_free(picture);
    *picture = fitted;
    return true;
}

/* Puts the brightness of each pixel into its first byte, for models of grey pictures. */
static void to_grey(Picture *picture)
{
    for (size_t i = 0; i < picture_pixels(picture); i++) {
        uint8_t *rgb = picture->rgb + 3 * i;
        rgb[0] = (uint8_t)(0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] + 0.5);
    }
}

static void from_grey(Picture *picture)
{
    for (size_t i = 0; i < picture_pixels(picture); i++) {
        uint8_t *rgb = picture->rgb + 3 * i;
        rgb[1] = rgb[2] = rgb[0];
    }
}

/* Translates a picture in its own memory. */
static bool translate(const Translator *translator, const char *name, Picture *picture)
{
    const Settings *settings = translator->settings;
    SfeuotTensor pixels;
    bool translated = false;

    if (!fit(translator, name, picture)) {
        return false;
    }
    if (translator->channels == 1) {
        to_grey(picture);
    }
    /* One picture of the shape {channels, height, width}, whose channels lie beside each other in 3 bytes a pixel. */
    int64_t shape[4] = {1, translator->channels, picture->height, picture->width};
    int64_t strides[4] = {0, 1, 3 * (int64_t)picture->width, 3};
    /* Grey pictures may lack the axis of channels, whose one index then counts the one picture. */
    size_t skipped = 3 - translator->rank;
    TRY(sfeuot_tensor_init, &pixels);
    pixels.dtype = SFEUOT_DTYPE_U8;
    pixels.data = picture->rgb;
    pixels.rank = 4 - (uint32_t)skipped;
    pixels.shape = shape + skipped;
    pixels.strides = strides + skipped;
    pixels.scale = IMAGES_SCALE;
    pixels.offset = IMAGES_OFFSET;
    if (settings->mean) {
        TRY(sfeuot_session_conditional_mean_tensor, translator->session, &pixels, (uint32_t)settings->latents,
            settings->seed, 0, &pixels);
    } else {
        TRY(sfeuot_session_generate_tensor, translator->session, &pixels, settings->seed, 0, &pixels);
    }
    if (translator->channels == 1) {
        from_grey(picture);
    }
    translated = true;

done:
    return translated;
}

static bool translate_file(const Translator *translator, const char *from, const char *to)
{
    Picture picture = {0, 0, NULL};
    bool done = picture_read(from, &picture) && translate(translator, from, &picture) &&
                picture_write_png(to, &picture);
    picture_free(&picture);
    if (done) {
        printf("%s\n", to);
    }
    return done;
}

static bool translate_folder(const Translator *translator, const char *from, const char *to)
{
    PathList list;
    char path[PATH_CAPACITY];
    bool done = folder_list_pictures(from, &list) && folder_make(to);
    for (size_t i = 0; done && i < list.count; i++) {
        const char *name = strrchr(list.paths[i], '/') + 1; /* folder_list_pictures put it behind the folder */
        /* What is written is a PNG file. As cat.png may lie beside it, cat.jpg becomes cat.jpg.png. */
        char file[PATH_CAPACITY + 4];
        snprintf(file, sizeof file, "%s%s", name, name_ends_with(name, ".png") ? "" : ".png");
        done = folder_path(to, file, path) && translate_file(translator, list.paths[i], path);
    }
    path_list_free(&list);
    return done;
}

/* Reads a number of pixels, and returns what follows it; NULL where there is none from 1 to 65536. */
static const char *read_side(const char *text, uint32_t *side)
{
    char *end = NULL;
    unsigned long pixels = *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : 0;
    *side = (uint32_t)pixels;
    return pixels >= 1 && pixels <= 65536 ? end : NULL;
}

static bool read_frame_size(const char *text, uint32_t *width, uint32_t *height)
{
    const char *rest = read_side(text, width);
    rest = rest && *rest == 'x' ? read_side(rest + 1, height) : NULL;
    if (!rest || *rest != '\0') {
        fprintf(stderr, "--raw is \"%s\"; it must be WIDTHxHEIGHT in pixels, such as 64x64.\n", text);
        return false;
    }
    return true;
}

/* Translates frames of RGB bytes from stdin to stdout until there are no more. */
static bool translate_frames(const Translator *translator, uint32_t width, uint32_t height)
{
    uint64_t frames = 0;
    bool done = true, more = true;
#ifdef _WIN32
    _setmode(_fileno(stdin), _O_BINARY);
    _setmode(_fileno(stdout), _O_BINARY);
#endif
    while (done && more) {
        Picture frame = {0, 0, NULL};
        char name[32];
        snprintf(name, sizeof name, "Frame %" PRIu64, frames);
        done = picture_create(width, height, &frame);
        size_t bytes = done ? 3 * picture_pixels(&frame) : 0;
        size_t read = done ? fread(frame.rgb, 1, bytes, stdin) : 0;
        more = read == bytes;
        if (done && !more && (read > 0 || ferror(stdin))) {
            fprintf(stderr, "%s ends after %zu of %zu bytes; --raw %s has 3 bytes for each pixel.\n", name, read, bytes,
                    translator->settings->raw);
            done = false;
        } else if (done && more) {
            done = translate(translator, name, &frame);
            bytes = 3 * picture_pixels(&frame);
            if (done && (fwrite(frame.rgb, 1, bytes, stdout) != bytes || fflush(stdout) != 0)) {
                fprintf(stderr, "%s cannot be written to stdout.\n", name);
                done = false;
            }
            frames += done;
        }
        picture_free(&frame);
    }
    if (done) {
        fprintf(stderr, "%" PRIu64 " frames of %u x %u pixels\n", frames, (unsigned)translator->width,
                (unsigned)translator->height);
    }
    return done;
}

/* Refuses command lines that say too little or too much. */
static bool check(const Settings *settings)
{
    if (!settings->model) {
        fputs("--model is missing; it names a model.safetensors that train_images wrote.\n", stderr);
        return false;
    }
    if (settings->raw ? settings->input || settings->output : !settings->input || !settings->output) {
        fputs("Give both --input and --output, or --raw alone.\n", stderr);
        return false;
    }
    if (!settings->raw && strcmp(settings->input, settings->output) == 0) {
        fprintf(stderr, "--output is %s, as --input is; name another one, so that the pictures stay.\n",
                settings->output);
        return false;
    }
    return true;
}

static bool run(const Settings *settings)
{
    Translator translator;
    uint32_t width = 0, height = 0;
    if (!check(settings) || (settings->raw && !read_frame_size(settings->raw, &width, &height)) ||
        !translator_open(settings, &translator)) {
        return false;
    }
    bool done = settings->raw                      ? translate_frames(&translator, width, height)
                : folder_exists(settings->input) ? translate_folder(&translator, settings->input, settings->output)
                                                 : translate_file(&translator, settings->input, settings->output);
    translator_close(&translator);
    return done;
}

int main(int argc, char **argv)
{
    Settings settings = {.latents = 32};
    const Option options[] = {
        {"--model", OPTION_TEXT, &settings.model, "model.safetensors of train_images with a --source", 0, 0},
        {"--input", OPTION_TEXT, &settings.input, "picture, PNG or JPEG, or a folder of them", 0, 0},
        {"--output", OPTION_TEXT, &settings.output, "where to write it, or them", 0, 0},
        {"--raw", OPTION_TEXT, &settings.raw, "WIDTHxHEIGHT: frames of RGB bytes from stdin to stdout", 0, 0},
        {"--resize", OPTION_FLAG, &settings.resize,
         "make pictures of another size as large as the model's: the middle of each, by means of areas", 0, 0},
        {"--mean", OPTION_FLAG, &settings.mean, "the mean of what may be drawn, which is smoother", 0, 0},
        {"--latents", OPTION_COUNT, &settings.latents, "draws that --mean averages", 1, 1 << 24},
        {"--seed", OPTION_COUNT, &settings.seed, "seed of what is drawn", 0, 0},
    };
    switch (options_read(argc, argv, "Turns pictures into ones of another kind.", options,
                         sizeof options / sizeof *options)) {
    case OPTIONS_HELP_SHOWN:
        return EXIT_SUCCESS;
    case OPTIONS_REFUSED:
        return EXIT_FAILURE;
    case OPTIONS_READ:
        break;
    }
    return run(&settings) ? EXIT_SUCCESS : EXIT_FAILURE;
}
