/* Command lines of the form `program --name value --flag ...`, described by a table. */
#ifndef EXAMPLES_OPTIONS_H
#define EXAMPLES_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    OPTION_TEXT,  /* value points to const char * */
    OPTION_COUNT, /* value points to uint64_t */
    OPTION_REAL,  /* value points to double, which must be finite, and above 0 or within the bounds */
    OPTION_FLAG   /* value points to bool, which the name alone makes true */
} OptionKind;

typedef struct {
    const char *name; /* with its two dashes */
    OptionKind kind;
    void *value; /* holds the default on entry; the help shows none for NULL and for a real of at most 0 */
    const char *help;
    double least, most; /* bounds of a number; both 0 for none */
} Option;

typedef enum { OPTIONS_READ, OPTIONS_HELP_SHOWN, OPTIONS_REFUSED } OptionsResult;

/* Fills the values from the command line. --help prints the table; anything unknown or out of range prints a sentence. */
OptionsResult options_read(int argc, char **argv, const char *summary, const Option *options, size_t count);

/* Finds the text among the words, and prints a sentence that lists them where it is none. */
bool option_choice(const char *name, const char *text, const char *const *words, size_t count, size_t *chosen);

#ifdef __cplusplus
}
#endif

#endif
