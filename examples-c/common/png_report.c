#include "png_report.h"

#include <stdio.h>

void png_report_error(png_structp png, png_const_charp message)
{
    fprintf(stderr, "%s: libpng reports: %s\n", (const char *)png_get_error_ptr(png), message);
    png_longjmp(png, 1);
}

void png_pass_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}
