/* Three-dimensional colour look-up tables as HALD pictures, which ImageMagick, G'MIC and photo editors apply. */
#ifndef EXAMPLES_HALD_H
#define EXAMPLES_HALD_H

#include "cube.h"

/*
 * Writes a table of level^2 entries along each axis as a PNG picture of level^3 x level^3 pixels with 16 bits a channel, in
 * the order of the table. Prints a sentence and returns false on failure, also for a table of another size.
 */
bool hald_write(const char *path, const Cube *cube);

#endif
