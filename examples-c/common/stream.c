#include "stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"

enum { MOST_SAMPLES = 4096 };

static const size_t MOST_BYTES = (size_t)256 << 20; /* of the sample, and of the ring */

enum { EMPTY, READY, FAILED }; /* states of a slot; it is empty while a picture is decoded into it */

static size_t picture_bytes(const Stream *stream)
{
    return 3 * (size_t)stream->size * stream->size;
}

/* Random numbers of a purpose and a number in the stream. */
static Random random_of(const Stream *stream, uint64_t purpose, uint64_t number)
{
    Random first = {stream->seed ^ purpose << 56};
    Random second = {random_bits(&first) ^ number * 0xd1342543de82ef95u};
    return (Random){random_bits(&second)}; /* neighbours begin far from each other */
}

/* Puts the files into the order of an epoch, by Fisher and Yates. */
static void shuffle(Stream *stream, uint64_t epoch)
{
    Random random = random_of(stream, 1, epoch);
    for (size_t i = 0; i < stream->files.count; i++) {
        stream->order[i] = i;
    }
    for (size_t left = stream->files.count; left > 1; left--) {
        size_t at = (size_t)((double)left * random_uniform(&random));
        size_t *picked = stream->order + (at < left ? at : left - 1);
        size_t file = *picked;
        *picked = stream->order[left - 1];
        stream->order[left - 1] = file;
    }
    stream->epoch = epoch;
}

/* The file of a picture of the epochs. Inside the monitor once threads run. */
static const char *file_of(Stream *stream, uint64_t number)
{
    uint64_t epoch = number / stream->files.count;
    if (epoch != stream->epoch) {
        shuffle(stream, epoch);
    }
    return stream->files.paths[stream->order[number % stream->files.count]];
}

static bool read_picture(const Stream *stream, const char *path, uint8_t *planes)
{
    if (!images_read_file(path, stream->size, planes)) {
        return false;
    }
    if (stream->sample->channels == 1 && !images_grey(planes, stream->size)) {
        fprintf(stderr,
                "%s has colours, but the %zu pictures that were looked at before the training have none; with --stream the "
                "pictures of a folder have to be all grey where these are.\n",
                path, stream->sample->count);
        return false;
    }
    return true;
}

/* The body of a thread. */
static void decode(void *argument)
{
    Stream *stream = argument;
    monitor_enter(&stream->monitor);
    for (;;) {
        while (!stream->ending && stream->begun == stream->taken + stream->slots) {
            monitor_wait(&stream->monitor);
        }
        if (stream->ending) {
            break;
        }
        uint64_t number = stream->begun++;
        const char *path = file_of(stream, number);
        size_t slot = number % stream->slots;
        monitor_leave(&stream->monitor);
        bool read = read_picture(stream, path, stream->pixels + slot * picture_bytes(stream));
        monitor_enter(&stream->monitor);
        stream->states[slot] = read ? READY : FAILED;
        stream->ending |= !read;
        if (number == stream->taken || !read) {
            monitor_wake(&stream->monitor);
        }
    }
    monitor_leave(&stream->monitor);
}

static bool start(Stream *stream)
{
    stream->begun = stream->taken = stream->next > stream->opening ? stream->next - stream->opening : 0;
    stream->ending = false;
    memset(stream->states, EMPTY, stream->slots);
    while (stream->started < stream->decoders &&
           thread_start(&stream->threads[stream->started], decode, stream)) {
        stream->started++;
    }
    if (stream->started == 0) {
        fputs("The system starts no thread to decode pictures on.\n", stderr);
    }
    return stream->started > 0;
}

static void stop(Stream *stream)
{
    if (stream->started == 0) {
        return;
    }
    monitor_enter(&stream->monitor);
    stream->ending = true;
    monitor_wake(&stream->monitor);
    monitor_leave(&stream->monitor);
    while (stream->started > 0) {
        thread_join(&stream->threads[--stream->started]);
    }
}

/* Reads the files that the first epoch begins with. */
static bool read_sample(Stream *stream, Images *sample)
{
    size_t fit = MOST_BYTES / picture_bytes(stream);
    size_t count = fit > MOST_SAMPLES ? MOST_SAMPLES : fit;
    count = count < stream->files.count ? count : stream->files.count;
    PathList first = {malloc(count * sizeof *first.paths), count};
    if (!first.paths) {
        fputs("There is no memory for the names of a sample of pictures.\n", stderr);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        first.paths[i] = stream->files.paths[stream->order[i]];
    }
    bool read = images_read_files(&first, stream->size, stream->decoders, sample);
    free(first.paths); /* the names are those of the whole list */
    return read;
}

static bool create_ring(const StreamSettings *settings, Stream *stream)
{
    size_t fit = MOST_BYTES / picture_bytes(stream);
    stream->slots = settings->ahead < fit ? settings->ahead : fit;
    stream->pixels = malloc(stream->slots * picture_bytes(stream));
    stream->states = malloc(stream->slots);
    stream->order = malloc(stream->files.count * sizeof *stream->order);
    if (!stream->pixels || !stream->states || !stream->order || !monitor_create(&stream->monitor)) {
        fprintf(stderr, "There is no memory to decode %zu of %zu pictures ahead.\n", stream->slots, stream->files.count);
        free(stream->pixels);
        free(stream->states);
        free(stream->order);
        return false;
    }
    return true;
}

bool stream_open(const StreamSettings *settings, Stream *stream, Images *sample)
{
    PathList files;
    if (!folder_list_pictures(settings->folder, &files)) {
        return false;
    }
    *stream = (Stream){.files = files,
                       .sample = sample,
                       .size = settings->size,
                       .decoders = settings->decoders,
                       .seed = settings->seed,
                       .opening = settings->opening,
                       .flip = settings->flip,
                       .crop = settings->crop};
    if (!create_ring(settings, stream)) {
        path_list_free(&files);
        *stream = (Stream){.sample = NULL};
        return false;
    }
    shuffle(stream, 0);
    if (!read_sample(stream, sample)) {
        stream_close(stream);
        return false;
    }
    return true;
}

void stream_move(Stream *stream, uint64_t next, uint64_t batches)
{
    stop(stream);
    stream->next = next;
    stream->batches = batches;
}

void stream_close(Stream *stream)
{
    if (!stream->sample) {
        return;
    }
    stop(stream);
    monitor_free(&stream->monitor);
    path_list_free(&stream->files);
    free(stream->pixels);
    free(stream->states);
    free(stream->order);
    *stream = (Stream){.sample = NULL};
}

/* From -crop to crop. */
static int64_t distance(const Stream *stream, Random *random)
{
    return (int64_t)((2.0 * stream->crop + 1) * random_uniform(random)) - (int64_t)stream->crop;
}

static uint32_t moved(uint32_t at, int64_t by, uint32_t size)
{
    int64_t place = (int64_t)at + by;
    return place < 0 ? 0 : place < (int64_t)size ? (uint32_t)place : size - 1;
}

/* Writes a picture as numbers, mirrored and moved by what its number in the stream says. Pixels of the edge are repeated. */
static void write_numbers(const Stream *stream, const uint8_t *pixels, float *numbers)
{
    Random random = random_of(stream, 2, stream->next);
    bool mirrored = random_bits(&random) >> 63 && stream->flip;
    int64_t right = distance(stream, &random), down = distance(stream, &random);
    uint32_t size = stream->size;
    for (uint32_t c = 0; c < stream->sample->channels; c++) {
        for (uint32_t v = 0; v < size; v++) {
            const uint8_t *row = pixels + (size_t)size * ((size_t)size * c + moved(v, down, size));
            for (uint32_t u = 0; u < size; u++) {
                uint32_t column = moved(mirrored ? size - 1 - u : u, right, size);
                *numbers++ = (float)(row[column] * IMAGES_SCALE + IMAGES_OFFSET);
            }
        }
    }
}

/* Waits for the next picture of the epochs. Returns NULL where it cannot be read. */
static const uint8_t *take(Stream *stream)
{
    size_t slot = stream->taken % stream->slots;
    monitor_enter(&stream->monitor);
    if (stream->states[slot] == EMPTY) {
        monitor_wake(&stream->monitor); /* decoders have room by now */
    }
    while (stream->states[slot] == EMPTY) {
        monitor_wait(&stream->monitor);
    }
    bool ready = stream->states[slot] == READY;
    monitor_leave(&stream->monitor);
    return ready ? stream->pixels + slot * picture_bytes(stream) : NULL;
}

/* Gives the slot of what was taken back. Decoders hear of it when all of a batch is taken. */
static void give_back(Stream *stream, bool last)
{
    monitor_enter(&stream->monitor);
    stream->states[stream->taken++ % stream->slots] = EMPTY;
    if (last) {
        monitor_wake(&stream->monitor);
    }
    monitor_leave(&stream->monitor);
}

int32_t stream_draw(void *userdata, float *batch, uint64_t rows, uint64_t dimension)
{
    Stream *stream = userdata;
    const Images *sample = stream->sample;
    stream->next += stream->batches * rows;
    stream->batches = 0;
    if (stream->started == 0 && !start(stream)) {
        return 1;
    }
    for (uint64_t i = 0; i < rows; i++, batch += dimension, stream->next++) {
        if (stream->next < stream->opening) {
            write_numbers(stream, sample->pixels + stream->next % sample->count * dimension, batch);
            continue;
        }
        const uint8_t *pixels = take(stream);
        if (!pixels) {
            return 1;
        }
        write_numbers(stream, pixels, batch);
        give_back(stream, i + 1 == rows);
    }
    return 0;
}
