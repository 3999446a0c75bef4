/* Pictures side by side on white. */
#ifndef EXAMPLES_SHEET_H
#define EXAMPLES_SHEET_H

#include "picture.h"

/* Draws rows of two pictures each, all as high as the first one. Prints a sentence and returns false on failure. */
bool sheet_draw(const Picture *const pictures[][2], uint32_t rows, Picture *sheet);

#endif
