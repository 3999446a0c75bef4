/* Files and folders: what is there, the pictures that a folder holds, and a folder to write into. */
#ifndef EXAMPLES_FOLDER_H
#define EXAMPLES_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { PATH_CAPACITY = 4096 };

/* Paths in alphabetical order. All zero is an empty list. */
typedef struct {
    char **paths;
    size_t count;
} PathList;

bool file_exists(const char *path);
bool folder_exists(const char *path);

/* Makes the folder unless it is there. Prints a sentence and returns false on failure. */
bool folder_make(const char *path);

/* The path of a file in the folder. Prints a sentence and returns false where it is too long. */
bool folder_path(const char *folder, const char *name, char path[PATH_CAPACITY]);

/* Whether the name is longer than the suffix and ends with it; the suffix is in small letters, the name in either. */
bool name_ends_with(const char *name, const char *suffix);

/*
 * The folder's files whose names end in .png, .jpg or .jpeg, in letters of either case, at least one. Prints a sentence and
 * returns false on failure.
 */
bool folder_list_pictures(const char *folder, PathList *list);

void path_list_free(PathList *list);

#ifdef __cplusplus
}
#endif

#endif
