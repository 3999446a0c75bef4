#include "problem.h"

#include <stdio.h>

#include "check.h"
#include "folder.h"

enum {
    STATISTICS_ROWS = 4096, /* samples that a new trainer asks a callback for, before the first step */
    /* Not those of the command line, so that a resumed training meets the same noise and the same order of pictures. */
    NOISE_SEED = 0,
    STREAM_SEED = 1
};

/* What each step takes of the source and of the target. */
static const uint64_t BATCHES[2] = {2, 1};

/* Makes an array of pictures one side of the problem. */
static bool describe_pictures(const ProblemSettings *settings, const Images *images, SfeuotTensor *tensor,
                              int64_t shape[4], SfeuotData *data)
{
    TRY(sfeuot_tensor_init, tensor);
    tensor->dtype = SFEUOT_DTYPE_U8;
    tensor->data = images->pixels;
    tensor->rank = 4;
    tensor->shape = shape;
    tensor->scale = IMAGES_SCALE;
    tensor->offset = IMAGES_OFFSET;
    TRY(sfeuot_data_init, data);
    data->samples = tensor;
    data->flip = settings->flip;
    data->crop = settings->crop;
    return true;

done:
    return false;
}

/* Makes a callback that draws pictures one side. */
static bool describe_callback(SfeuotSampleCallback callback, void *userdata, const int64_t shape[4], SfeuotData *data)
{
    TRY(sfeuot_data_init, data);
    data->sample_callback = callback;
    data->sample_userdata = userdata;
    data->sample_rank = 3;
    data->sample_shape = shape + 1;
    return true;

done:
    return false;
}

static bool describe_side(const ProblemSettings *settings, const Images *images, int side, Problem *problem)
{
    int64_t *shape = problem->shapes[side];
    shape[0] = (int64_t)images->count;
    shape[1] = images->channels;
    shape[2] = shape[3] = images->size;
    return settings->stream
               ? describe_callback(stream_draw, &problem->streams[side], shape, &problem->data[side])
               : describe_pictures(settings, images, &problem->tensors[side], shape, &problem->data[side]);
}

static bool read_set(const ProblemSettings *settings, int side, Problem *problem)
{
    const char *name = side == 0 ? settings->source : settings->target;
    Images *images = side == 0 ? &problem->source : &problem->target;
    if (!settings->stream) {
        return images_read(name, settings->size, settings->decoders, images);
    }
    StreamSettings stream = {.folder = name,
                             .size = settings->size,
                             .decoders = settings->decoders,
                             .ahead = 2 * settings->batch,
                             .seed = STREAM_SEED + (uint64_t)side,
                             .opening = STATISTICS_ROWS,
                             .flip = settings->flip,
                             .crop = settings->crop};
    return stream_open(&stream, &problem->streams[side], images);
}

static bool is_folder(const char *option, const char *name)
{
    if (folder_exists(name)) {
        return true;
    }
    fprintf(stderr, "%s is \"%s\"; with --stream it must be a folder of PNG or JPEG pictures.\n", option, name);
    return false;
}

/* What the library and images_read say by themselves of pictures that are held. */
static bool can_stream(const ProblemSettings *settings)
{
    if (settings->crop >= settings->size) {
        fprintf(stderr, "--crop is %u; it must be less than --size, which is %u.\n", (unsigned)settings->crop,
                (unsigned)settings->size);
        return false;
    }
    return is_folder("--target", settings->target) && (!settings->source || is_folder("--source", settings->source));
}

bool problem_read(const ProblemSettings *settings, Problem *problem)
{
    bool pairs = settings->source != NULL;
    if ((settings->stream && !can_stream(settings)) || !read_set(settings, 1, problem) ||
        (pairs && (!read_set(settings, 0, problem) || !images_match(&problem->source, &problem->target))) ||
        !describe_side(settings, &problem->target, 1, problem)) {
        return false;
    }
    if (pairs) {
        return describe_side(settings, &problem->source, 0, problem);
    }
    return noise_create(&problem->target, settings->white, settings->noise_width, NOISE_SEED, &problem->noise) &&
           describe_callback(noise_draw, &problem->noise, problem->shapes[1], &problem->data[0]);
}

void problem_free(Problem *problem)
{
    stream_close(&problem->streams[0]);
    stream_close(&problem->streams[1]);
    images_free(&problem->source);
    images_free(&problem->target);
    noise_free(&problem->noise);
}

/* Goes to where a trainer has taken its statistics, if it has, and so many steps. */
static void move(Problem *problem, uint64_t first, uint64_t steps)
{
    problem->noise.next = first;
    problem->noise.batches = BATCHES[0] * steps;
    for (int side = 0; side < 2; side++) {
        stream_move(&problem->streams[side], first, BATCHES[side] * steps);
    }
}

void problem_rewind(Problem *problem)
{
    move(problem, 0, 0);
}

void problem_go_on(Problem *problem, uint64_t steps)
{
    move(problem, STATISTICS_ROWS, steps);
}

size_t problem_pictures(const Problem *problem)
{
    size_t files = problem->streams[1].files.count;
    return files > 0 ? files : problem->target.count;
}
