#define _POSIX_C_SOURCE 200809L /* opendir */

#include "folder.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

#ifdef _WIN32
#include <direct.h>
#include <io.h>
#define make_directory(path) _mkdir(path)
#define is_directory(mode) (((mode) & _S_IFMT) == _S_IFDIR)
#else
#include <dirent.h>
#define make_directory(path) mkdir(path, 0777)
#define is_directory(mode) S_ISDIR(mode)
#endif

bool file_exists(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0;
}

bool folder_exists(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && is_directory(status.st_mode);
}

bool folder_make(const char *path)
{
    if (make_directory(path) != 0 && errno != EEXIST) {
        fprintf(stderr, "The folder %s cannot be made: %s.\n", path, strerror(errno));
        return false;
    }
    return true;
}

bool folder_path(const char *folder, const char *name, char path[PATH_CAPACITY])
{
    int length = snprintf(path, PATH_CAPACITY, "%s/%s", folder, name);
    if (length < 0 || length >= PATH_CAPACITY) {
        fprintf(stderr, "The path of %s in %.60s... is too long.\n", name, folder);
        return false;
    }
    return true;
}

bool name_ends_with(const char *name, const char *suffix)
{
    size_t length = strlen(name), end = strlen(suffix);
    bool same = length > end;
    for (size_t i = 1; same && i <= end; i++) {
        same = tolower((unsigned char)name[length - i]) == suffix[end - i];
    }
    return same;
}

static bool is_picture(const char *name)
{
    return name_ends_with(name, ".png") || name_ends_with(name, ".jpg") || name_ends_with(name, ".jpeg");
}

/* Adds the path of a picture to the list, whose room doubles when it is full. Other files are passed over. */
static bool add(PathList *list, const char *folder, const char *name)
{
    char path[PATH_CAPACITY];
    if (!is_picture(name)) {
        return true;
    }
    if (!folder_path(folder, name, path)) {
        return false;
    }
    size_t size = strlen(path) + 1;
    char *copy = malloc(size);
    /* Room is a power of two, so a list is full when its count is one. */
    if (copy && (list->count & (list->count - 1)) == 0) {
        size_t room = list->count ? 2 * list->count : 1;
        char **larger = realloc(list->paths, room * sizeof *larger);
        if (!larger) {
            free(copy);
            copy = NULL;
        } else {
            list->paths = larger;
        }
    }
    if (!copy) {
        fprintf(stderr, "%s: there is no memory for the names of its pictures.\n", folder);
        return false;
    }
    list->paths[list->count++] = memcpy(copy, path, size);
    return true;
}

/* Calls add for each entry of the folder. */
static bool read_entries(const char *folder, PathList *list)
{
    bool added = true;
#ifdef _WIN32
    char pattern[PATH_CAPACITY];
    struct _finddata_t entry;
    intptr_t search = folder_path(folder, "*", pattern) ? _findfirst(pattern, &entry) : -1;
    if (search == -1) {
        fprintf(stderr, "The folder %s cannot be read: %s.\n", folder, strerror(errno));
        return false;
    }
    do {
        added = add(list, folder, entry.name);
    } while (added && _findnext(search, &entry) == 0);
    _findclose(search);
#else
    DIR *directory = opendir(folder);
    if (!directory) {
        fprintf(stderr, "The folder %s cannot be read: %s.\n", folder, strerror(errno));
        return false;
    }
    for (struct dirent *entry; added && (entry = readdir(directory)) != NULL;) {
        added = add(list, folder, entry->d_name);
    }
    closedir(directory);
#endif
    return added;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool folder_list_pictures(const char *folder, PathList *list)
{
    *list = (PathList){NULL, 0};
    bool read = read_entries(folder, list);
    if (read && list->count == 0) {
        fprintf(stderr, "The folder %s holds no PNG or JPEG pictures.\n", folder);
        read = false;
    }
    if (!read) {
        path_list_free(list);
        return false;
    }
    /* Systems list a folder in orders of their own; the same folder has to give the same samples. */
    qsort(list->paths, list->count, sizeof *list->paths, compare);
    return true;
}

void path_list_free(PathList *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->paths[i]);
    }
    free(list->paths);
    *list = (PathList){NULL, 0};
}
