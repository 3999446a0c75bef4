/* Pictures that need no download: one soft coloured shape each, somewhere in front of a dim background. */
#ifndef EXAMPLES_SHAPES_H
#define EXAMPLES_SHAPES_H

#include <stdbool.h>
#include <stdint.h>

#include "images.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whether the name is that of a set: "discs", "squares", "triangles", "rings", or "shapes" for all of them. */
bool shapes_are(const char *name);

/* Draws the set of this name: the same pictures each time. Prints a sentence and returns false on failure. */
bool shapes_draw(const char *name, uint32_t size, Images *images);

#ifdef __cplusplus
}
#endif

#endif
