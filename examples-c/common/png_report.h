/* What libpng says, for files that are read and written alike. Only errors are told, and end the work by a jump. */
#ifndef EXAMPLES_PNG_REPORT_H
#define EXAMPLES_PNG_REPORT_H

#include <png.h>

/* The pointer that libpng is given with these is the file's path. */
void png_report_error(png_structp png, png_const_charp message);
void png_pass_warning(png_structp png, png_const_charp message);

#endif
