#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void show_help(const char *program, const char *summary, const Option *options, size_t count)
{
    size_t longest = 0;
    printf("Usage: %s [--option value] ...\n%s\n\n", program, summary);
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(options[i].name);
        longest = length > longest ? length : longest;
    }
    for (size_t i = 0; i < count; i++) {
        const void *value = options[i].value;
        printf("  %-*s  %s", (int)longest, options[i].name, options[i].help);
        if (options[i].kind == OPTION_TEXT && *(const char *const *)value) {
            printf(" (default %s)", *(const char *const *)value);
        } else if (options[i].kind == OPTION_COUNT) {
            printf(" (default %" PRIu64 ")", *(const uint64_t *)value);
        } else if (options[i].kind == OPTION_REAL && *(const double *)value > 0) {
            printf(" (default %g)", *(const double *)value);
        }
        putchar('\n');
    }
}

static bool read_value(const Option *option, const char *text)
{
    char *end = NULL;
    bool bounded = option->most > 0;
    errno = 0;
    if (option->kind == OPTION_TEXT) {
        *(const char **)option->value = text;
        return true;
    }
    if (option->kind == OPTION_COUNT) {
        uint64_t count = strtoull(text, &end, 10);
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
    bool is_number = end != text && *end == '\0' && isfinite(real);
    if (bounded && (!is_number || real < option->least || real > option->most)) {
        fprintf(stderr, "%s is \"%s\"; it must be a number from %g to %g.\n", option->name, text, option->least,
                option->most);
        return false;
    }
    if (!bounded && (!is_number || real <= 0)) {
        fprintf(stderr, "%s is \"%s\"; it must be a finite number above 0.\n", option->name, text);
        return false;
    }
    *(double *)option->value = real;
    return true;
}

OptionsResult options_read(int argc, char **argv, const char *summary, const Option *options, size_t count)
{
    for (int i = 1; i < argc; i++) {
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
        if (found->kind == OPTION_FLAG) {
            *(bool *)found->value = true;
            continue;
        }
        if (++i == argc) {
            fprintf(stderr, "%s needs a value; --help lists the options.\n", found->name);
            return OPTIONS_REFUSED;
        }
        if (!read_value(found, argv[i])) {
            return OPTIONS_REFUSED;
        }
    }
    return OPTIONS_READ;
}

bool option_choice(const char *name, const char *text, const char *const *words, size_t count, size_t *chosen)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, words[i]) == 0) {
            *chosen = i;
            return true;
        }
    }
    fprintf(stderr, "%s is \"%s\"; it must be ", name, text);
    for (size_t i = 0; i < count; i++) {
        fprintf(stderr, "%s%s", i == 0 ? "" : i + 1 < count ? ", " : " or ", words[i]);
    }
    fputs(".\n", stderr);
    return false;
}
