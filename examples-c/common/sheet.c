#include "sheet.h"

#include <stdio.h>
#include <string.h>

enum {
    GAP = 8,             /* pixels between two pictures */
    MOST_SIDE = 100000   /* pixels of a sheet's side */
};

/* The width of a picture that is as high as the rows. */
static double scaled_width(const Picture *picture, uint32_t height)
{
    return (double)picture->width * height / picture->height;
}

bool sheet_draw(const Picture *const pictures[][2], uint32_t rows, Picture *sheet)
{
    uint32_t height = pictures[0][0]->height;
    double widths[2] = {1, 1}; /* of the widest picture of each column */
    for (uint32_t row = 0; row < rows; row++) {
        for (int column = 0; column < 2; column++) {
            double width = scaled_width(pictures[row][column], height);
            widths[column] = width > widths[column] ? width : widths[column];
        }
    }
    double high = (double)rows * (height + GAP) - GAP;
    if (widths[0] + widths[1] + GAP > MOST_SIDE || high > MOST_SIDE) {
        fprintf(stderr, "A sheet of these pictures would be larger than %d pixels.\n", MOST_SIDE);
        return false;
    }
    uint32_t right = (uint32_t)(widths[0] + 0.5) + GAP;
    if (!picture_create(right + (uint32_t)(widths[1] + 0.5), (uint32_t)high, sheet)) {
        return false;
    }
    memset(sheet->rgb, 255, 3 * picture_pixels(sheet));
    for (uint32_t row = 0; row < rows; row++) {
        for (int column = 0; column < 2; column++) {
            uint32_t width = (uint32_t)(scaled_width(pictures[row][column], height) + 0.5);
            picture_place(pictures[row][column], sheet, column ? right : 0, row * (height + GAP), width ? width : 1, height);
        }
    }
    return true;
}
