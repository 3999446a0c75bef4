#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void show_help(const char *program, const char *summary, const Option *options, size_t count)
{
    printf("Usage: %s [--option value] ...\n%s\n\n", program, summary);
    for (size_t i = 0; i < count; i++) {
        printf("  %-12s %s (default ", options[i].name, options[i].help);
        switch (options[i].kind) {
        case OPTION_TEXT:
            printf("%s)\n", *(const char **)options[i].value);
            break;
        case OPTION_COUNT:
            printf("%" PRIu64 ")\n", *(uint64_t *)options[i].value);
            break;
        case OPTION_REAL:
            printf("%g)\n", *(double *)options[i].value);
            break;
        }
    }
}

static bool read_value(const Option *option, const char *text)
{
    char *end = NULL;
    errno = 0;
    if (option->kind == OPTION_TEXT) {
        *(const char **)option->value = text;
        return true;
    }
    if (option->kind == OPTION_COUNT) {
        uint64_t count = strtoull(text, &end, 10);
        bool bounded = option->most > 0;
        /* strtoull takes "-1" for a large number, so ask for a digit first. */
        if (isdigit((unsigned char)text[0]) && *end == '\0' && errno == 0 &&
            (!bounded || ((double)count >= option->least && (double)count <= option->most))) {
            *(uint64_t *)option->value = count;
            return true;
        }
        if (bounded) {
            fprintf(stderr, "%s is \"%s\"; it must be a whole number from %.0f to %.0f.\n", option->name, text,
                    option->least, option->most);
        } else {
            fprintf(stderr, "%s is \"%s\"; it must be a whole number of at most 64 bits.\n", option->name, text);
        }
        return false;
    }
    double real = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(real) || real <= 0) {
        fprintf(stderr, "%s is \"%s\"; it must be a finite number above 0.\n", option->name, text);
        return false;
    }
    *(double *)option->value = real;
    return true;
}

OptionsResult options_read(int argc, char **argv, const char *summary, const Option *options, size_t count)
{
    for (int i = 1; i < argc; i += 2) {
        const Option *found = NULL;
        if (strcmp(argv[i], "--help") == 0) {
            show_help(argv[0], summary, options, count);
            return OPTIONS_HELP_SHOWN;
        }
        for (size_t j = 0; j < count; j++) {
            if (strcmp(argv[i], options[j].name) == 0) {
                found = &options[j];
            }
        }
        if (!found) {
            fprintf(stderr, "%s is not an option of this program; --help lists them.\n", argv[i]);
            return OPTIONS_REFUSED;
        }
        if (i + 1 == argc) {
            fprintf(stderr, "%s needs a value; --help lists the options.\n", argv[i]);
            return OPTIONS_REFUSED;
        }
        if (!read_value(found, argv[i + 1])) {
            return OPTIONS_REFUSED;
        }
    }
    return OPTIONS_READ;
}
