/* Pictures in JPEG files, where CMake found libjpeg. */
#ifndef EXAMPLES_JPEG_H
#define EXAMPLES_JPEG_H

#include "picture.h"

/* Whether the file begins as a JPEG file does. */
bool jpeg_begins(const char *path);

/* Prints a sentence and returns false on failure, and without libjpeg always. */
bool picture_read_jpeg(const char *path, Picture *picture);

/* Reads a PNG or a JPEG file, whichever it is. */
bool picture_read(const char *path, Picture *picture);

#endif
