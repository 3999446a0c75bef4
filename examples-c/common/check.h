/* One place where the status of a library call is looked at. */
#ifndef EXAMPLES_CHECK_H
#define EXAMPLES_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "sfeuot.h"

/* True for SFEUOT_OK; otherwise prints the library's sentence about what went wrong, which names the call. */
static inline bool succeeded(int32_t status)
{
    if (status == SFEUOT_OK) {
        return true;
    }
    fprintf(stderr, "%s\n", sfeuot_last_error());
    return false;
}

/* For functions that release what they hold under the label `done`, whether they got to their end or not. */
#define TRY(function, ...)                       \
    do {                                         \
        if (!succeeded(function(__VA_ARGS__))) { \
            goto done;                           \
        }                                        \
    } while (0)

#endif
