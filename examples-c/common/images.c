#include "images.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "idx.h"
#include "jpeg.h"
#include "parallel.h"
#include "picture.h"
#include "resample.h"
#include "shapes.h"

bool images_create(size_t count, uint32_t channels, uint32_t size, Images *images)
{
    size_t numbers = (size_t)channels * size * size;
    uint8_t *pixels = count && numbers && count <= SIZE_MAX / numbers ? malloc(count * numbers) : NULL;
    if (!pixels) {
        fprintf(stderr, "There is no memory for %zu pictures of %u x %u pixels.\n", count, (unsigned)size,
                (unsigned)size);
        return false;
    }
    *images = (Images){count, channels, size, pixels};
    return true;
}

void images_free(Images *images)
{
    free(images->pixels);
    *images = (Images){0, 0, 0, NULL};
}

static bool can_shrink(const char *path, uint32_t width, uint32_t height, uint32_t size)
{
    if (width >= size && height >= size) {
        return true;
    }
    fprintf(stderr, "%s has %u x %u pixels, but --size is %u; pictures are made smaller only.\n", path,
            (unsigned)width, (unsigned)height, (unsigned)size);
    return false;
}

/* The middle square of a picture, whose channels lie pixel by pixel, as planes of size x size. */
static void shrink(const uint8_t *from, uint32_t channels, uint32_t width, uint32_t height, uint32_t size, uint8_t *to)
{
    resample_middle(from, (ByteLayout){width, height, channels, 1}, channels, to,
                    (ByteLayout){size, size, 1, (size_t)size * size});
}

static bool read_idx(const char *path, uint32_t size, Images *images)
{
    Idx idx;
    uint8_t *picture = NULL;
    bool read = false;

    if (!idx_open(path, &idx)) {
        return false;
    }
    if (can_shrink(path, idx.width, idx.height, size) && images_create(idx.count, 1, size, images)) {
        picture = malloc((size_t)idx.width * idx.height);
        read = picture != NULL;
        if (!read) {
            fprintf(stderr, "%s: there is no memory for a picture.\n", path);
        }
    }
    for (size_t i = 0; read && i < images->count; i++) {
        read = idx_next(&idx, picture);
        if (read) {
            shrink(picture, 1, idx.width, idx.height, size, images->pixels + i * images_numbers(images));
        }
    }
    free(picture);
    idx_close(&idx);
    return read;
}

bool images_grey(const uint8_t *planes, uint32_t size)
{
    size_t plane = (size_t)size * size;
    return memcmp(planes, planes + plane, plane) == 0 && memcmp(planes, planes + 2 * plane, plane) == 0;
}

/* Takes one channel of each picture, where all have three equal ones. */
static void drop_equal_channels(Images *images)
{
    size_t plane = (size_t)images->size * images->size;
    for (size_t i = 0; i < images->count; i++) {
        if (!images_grey(images->pixels + 3 * plane * i, images->size)) {
            return;
        }
    }
    for (size_t i = 1; i < images->count; i++) {
        memcpy(images->pixels + plane * i, images->pixels + 3 * plane * i, plane);
    }
    images->channels = 1;
}

bool images_read_file(const char *path, uint32_t size, uint8_t *planes)
{
    Picture picture = {0, 0, NULL};
    bool read = picture_read(path, &picture) && can_shrink(path, picture.width, picture.height, size);
    if (read) {
        shrink(picture.rgb, 3, picture.width, picture.height, size, planes);
    }
    picture_free(&picture);
    return read;
}

/* Files, and the set that they become. */
typedef struct {
    const PathList *list;
    Images *images;
} Reading;

/* A ParallelBody. */
static bool read_one(void *userdata, size_t i)
{
    const Reading *reading = userdata;
    const Images *images = reading->images;
    return images_read_file(reading->list->paths[i], images->size, images->pixels + i * images_numbers(images));
}

bool images_read_files(const PathList *list, uint32_t size, uint32_t decoders, Images *images)
{
    Images found = {0, 0, 0, NULL};
    Reading reading = {list, &found};
    if (!images_create(list->count, 3, size, &found) || !parallel_for(list->count, decoders, read_one, &reading)) {
        images_free(&found);
        return false;
    }
    drop_equal_channels(&found);
    *images = found;
    return true;
}

static bool read_folder(const char *folder, uint32_t size, uint32_t decoders, Images *images)
{
    PathList list;
    bool read = folder_list_pictures(folder, &list) && images_read_files(&list, size, decoders, images);
    path_list_free(&list);
    return read;
}

bool images_read(const char *name, uint32_t size, uint32_t decoders, Images *images)
{
    Images found = {0, 0, 0, NULL};
    bool read = shapes_are(name)      ? shapes_draw(name, size, &found)
                : folder_exists(name) ? read_folder(name, size, decoders, &found)
                                      : read_idx(name, size, &found);
    if (!read) {
        images_free(&found);
        return false;
    }
    *images = found;
    return true;
}

bool images_match(Images *one, Images *other)
{
    Images *grey = one->channels < other->channels ? one : other;
    Images coloured;
    if (one->channels == other->channels) {
        return true;
    }
    if (!images_create(grey->count, 3, grey->size, &coloured)) {
        return false;
    }
    size_t plane = images_numbers(grey);
    for (size_t i = 0; i < 3 * grey->count; i++) {
        memcpy(coloured.pixels + plane * i, grey->pixels + plane * (i / 3), plane);
    }
    images_free(grey);
    *grey = coloured;
    return true;
}

double images_mean(const Images *images, float *mean)
{
    size_t numbers = images_numbers(images);
    double variance = 0;
    for (size_t j = 0; j < numbers; j++) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < images->count; i++) {
            double number = images->pixels[i * numbers + j] * IMAGES_SCALE + IMAGES_OFFSET;
            sum += number;
            squares += number * number;
        }
        double centre = sum / (double)images->count;
        mean[j] = (float)centre;
        variance += fmax(squares / (double)images->count - centre * centre, 0) / (double)numbers;
    }
    return sqrt(variance);
}

void images_pick(const Images *images, size_t rows, float *numbers)
{
    size_t length = images_numbers(images);
    for (size_t i = 0; i < rows; i++) {
        size_t picked = images->count < rows ? i % images->count : i * (images->count / rows);
        const uint8_t *pixels = images->pixels + picked * length;
        for (size_t j = 0; j < length; j++) {
            *numbers++ = (float)(pixels[j] * IMAGES_SCALE + IMAGES_OFFSET);
        }
    }
}
