#include "gallery.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "picture.h"

enum {
    SIDE = 8,       /* pictures in a column or row */
    GAP = 2,        /* pixels around the pictures */
    LEAST_SIZE = 64 /* pixels to enlarge small pictures to */
};

static size_t numbers_of(const Gallery *gallery)
{
    return (size_t)gallery->channels * gallery->size * gallery->size;
}

bool gallery_open(const Images *images, const Noise *noise, uint64_t seed, Gallery *gallery)
{
    const Images *set = images ? images : noise->images;
    size_t rows = images ? SIDE * SIDE / 2 : SIDE * SIDE;
    *gallery = (Gallery){images != NULL, rows, set->channels, set->size, seed, NULL, NULL};
    size_t numbers = numbers_of(gallery);
    gallery->sources = malloc(rows * numbers * sizeof *gallery->sources);
    gallery->generated = malloc(rows * numbers * sizeof *gallery->generated);
    if (!gallery->sources || !gallery->generated) {
        fprintf(stderr, "There is no memory for %zu pictures to show.\n", rows);
        gallery_close(gallery);
        return false;
    }
    if (images) {
        images_pick(images, rows, gallery->sources);
        return true;
    }
    Noise other = *noise;
    other.seed = ~noise->seed;
    noise_draw(&other, gallery->sources, rows, numbers);
    return true;
}

void gallery_close(Gallery *gallery)
{
    free(gallery->generated);
    free(gallery->sources);
    gallery->generated = gallery->sources = NULL;
}

/* Draws a picture of numbers, each as a square of `zoom` pixels, with its top left corner at (x, y) of the sheet. */
static void draw(const Gallery *gallery, const float *numbers, uint32_t zoom, uint32_t x, uint32_t y, Picture *sheet)
{
    uint32_t size = gallery->size;
    size_t plane = (size_t)size * size;
    for (uint32_t v = 0; v < size * zoom; v++) {
        uint8_t *rgb = sheet->rgb + 3 * ((size_t)sheet->width * (y + v) + x);
        for (uint32_t u = 0; u < size * zoom; u++) {
            for (uint32_t c = 0; c < 3; c++) {
                size_t channel = gallery->channels == 3 ? c : 0;
                float number = numbers[plane * channel + (size_t)size * (v / zoom) + u / zoom];
                *rgb++ = (uint8_t)((fminf(fmaxf(number, -1), 1) + 1) * 127.5f + 0.5f);
            }
        }
    }
}

/* Column by column; with pairs, columns of sources and of what was made of them by turns. */
static void draw_all(const Gallery *gallery, uint32_t zoom, Picture *sheet)
{
    uint32_t step = gallery->size * zoom + GAP;
    size_t numbers = numbers_of(gallery);
    memset(sheet->rgb, 255, 3 * picture_pixels(sheet));
    for (size_t i = 0; i < gallery->rows; i++) {
        uint32_t column = (uint32_t)(i / SIDE) * (gallery->pairs ? 2 : 1);
        uint32_t x = GAP + step * column, y = GAP + step * (uint32_t)(i % SIDE);
        if (gallery->pairs) {
            draw(gallery, gallery->sources + i * numbers, zoom, x, y, sheet);
            x += step;
        }
        draw(gallery, gallery->generated + i * numbers, zoom, x, y, sheet);
    }
}

/* Writes what lies in `generated`. */
static bool write_sheet(const Gallery *gallery, const char *path)
{
    uint32_t zoom = gallery->size < LEAST_SIZE ? LEAST_SIZE / gallery->size : 1;
    uint32_t side = GAP + SIDE * (gallery->size * zoom + GAP);
    Picture sheet = {0, 0, NULL};
    if (!picture_create(side, side, &sheet)) {
        return false;
    }
    draw_all(gallery, zoom, &sheet);
    bool written = picture_write_png(path, &sheet);
    picture_free(&sheet);
    return written;
}

bool gallery_write(const Gallery *gallery, SfeuotSession *session, const char *path)
{
    TRY(sfeuot_session_generate, session, gallery->sources, gallery->rows, gallery->seed, 0, gallery->generated);
    return write_sheet(gallery, path);

done:
    return false;
}

bool gallery_write_set(const Images *images, const char *path)
{
    Gallery gallery = {false, SIDE * SIDE, images->channels, images->size, 0, NULL, NULL};
    gallery.generated = malloc(gallery.rows * numbers_of(&gallery) * sizeof *gallery.generated);
    if (!gallery.generated) {
        fprintf(stderr, "There is no memory for %zu pictures to show.\n", gallery.rows);
        return false;
    }
    images_pick(images, gallery.rows, gallery.generated);
    bool written = write_sheet(&gallery, path);
    gallery_close(&gallery);
    return written;
}
