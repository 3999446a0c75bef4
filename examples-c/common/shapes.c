#include "shapes.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "random.h"

enum { KINDS = 4, PICTURES = 4096 };

static const char *const NAMES[KINDS] = {"discs", "squares", "triangles", "rings"};

/* Lengths are in sides of the picture. */
typedef struct {
    int kind;
    double x, y, radius, angle;
    float shape[3], top[3], bottom[3]; /* colours from 0 to 1; those of the background at its top and bottom */
} Scene;

/* The kind of this name, KINDS for "shapes", or -1. */
static int kind_of(const char *name)
{
    for (int kind = 0; kind < KINDS; kind++) {
        if (strcmp(name, NAMES[kind]) == 0) {
            return kind;
        }
    }
    return strcmp(name, "shapes") == 0 ? KINDS : -1;
}

bool shapes_are(const char *name)
{
    return kind_of(name) >= 0;
}

/* A colour from its hue (in turns), saturation and value. */
static void colour(double hue, double saturation, double value, float rgb[3])
{
    for (int c = 0; c < 3; c++) {
        double turns = hue + (3 - c) / 3.0;
        double distance = fabs(6 * (turns - floor(turns)) - 3); /* 3 at the channel's own hue, 0 opposite of it */
        double pure = fmin(fmax(distance - 1, 0), 1);
        rgb[c] = (float)(value * (1 - saturation + saturation * pure));
    }
}

static Scene draw_scene(int kind, Random *random)
{
    Scene scene;
    double hue = random_uniform(random);
    scene.kind = kind < KINDS ? kind : (int)(KINDS * random_uniform(random));
    scene.radius = 0.20 + 0.14 * random_uniform(random);
    /* Inside of the picture, edges included. */
    scene.x = scene.radius + (1 - 2 * scene.radius) * random_uniform(random);
    scene.y = scene.radius + (1 - 2 * scene.radius) * random_uniform(random);
    scene.angle = 6.283185307179586 * random_uniform(random);
    colour(hue, 0.75, 0.95, scene.shape);
    /* The background has the opposite hue. */
    colour(hue + 0.5, 0.6, 0.30, scene.top);
    colour(hue + 0.6, 0.6, 0.12, scene.bottom);
    return scene;
}

/* Distance of a place from the edge of the shape, below 0 inside. Corners are those of straight edges drawn on. */
static double edge_distance(const Scene *scene, double x, double y)
{
    double u = x - scene->x, v = y - scene->y;
    double radius = hypot(u, v), cosine = cos(scene->angle), sine = sin(scene->angle);
    double across = cosine * u + sine * v, along = cosine * v - sine * u;
    switch (scene->kind) {
    case 0:
        return radius - scene->radius;
    case 1:
        return fmax(fabs(across), fabs(along)) - scene->radius * 0.7071;
    case 2:
        return fmax(-along, 0.5 * along + 0.8660 * fabs(across)) - scene->radius * 0.5;
    default:
        return fabs(radius - scene->radius * 0.72) - scene->radius * 0.28;
    }
}

static void paint(const Scene *scene, uint32_t size, uint8_t *pixels)
{
    double soft = 1.5 / size; /* width of an edge */
    for (int c = 0; c < 3; c++) {
        for (uint32_t v = 0; v < size; v++) {
            double y = (v + 0.5) / size;
            double background = scene->top[c] + y * (scene->bottom[c] - scene->top[c]);
            for (uint32_t u = 0; u < size; u++) {
                double inside = 0.5 - edge_distance(scene, (u + 0.5) / size, y) / soft;
                inside = fmin(fmax(inside, 0), 1);
                *pixels++ = (uint8_t)(255 * (background + inside * (scene->shape[c] - background)) + 0.5);
            }
        }
    }
}

bool shapes_draw(const char *name, uint32_t size, Images *images)
{
    int kind = kind_of(name);
    Random random = {(uint64_t)kind};
    if (!images_create(PICTURES, 3, size, images)) {
        return false;
    }
    for (size_t i = 0; i < images->count; i++) {
        Scene scene = draw_scene(kind, &random);
        paint(&scene, size, images->pixels + i * images_numbers(images));
    }
    return true;
}
