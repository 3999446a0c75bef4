/* A host that reloads a plug-in which is linked to libsfeuot.so, and goes on with the trainer that the old plug-in made. The
 * arguments are the plug-in and the library, by the name that the plug-in has for it. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"

#define CHECK(condition)                                                         \
    do {                                                                         \
        if (!(condition)) {                                                      \
            const char *error = dlerror();                                       \
            fprintf(stderr, "%d: %s: %s\n", __LINE__, #condition, error ? error : ""); \
            exit(1);                                                             \
        }                                                                        \
    } while (0)

static const char *plugin_path, *library;
static SfeuotTrainer *trainer;

static int is_loaded(const char *path) {
    void *handle = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    return handle != NULL && dlclose(handle) == 0;
}

static void *load(const char *path) {
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK(handle != NULL);
    return handle;
}

typedef struct Plugin {
    void *handle;
    SfeuotTrainer *(*start)(void);
    uint64_t (*train)(SfeuotTrainer *trainer);
    void (*finish)(SfeuotTrainer *trainer);
} Plugin;

/* ISO C has no conversion from an object's address to a function's; POSIX has them of one form. */
static void find(void *handle, const char *name, void *function) {
    void *address = dlsym(handle, name);
    CHECK(address != NULL);
    memcpy(function, &address, sizeof address);
}

static Plugin load_plugin(void) {
    Plugin plugin;
    plugin.handle = load(plugin_path);
    find(plugin.handle, "plugin_start", &plugin.start);
    find(plugin.handle, "plugin_train", &plugin.train);
    find(plugin.handle, "plugin_finish", &plugin.finish);
    return plugin;
}

/* One life of the plug-in, after which it is gone and the library is not. */
static void *first_life(void *unused) {
    Plugin plugin = load_plugin();
    (void)unused;
    trainer = plugin.start();
    CHECK(plugin.train(trainer) == 10);
    CHECK(dlclose(plugin.handle) == 0);
    return NULL;
}

static void next_life(uint64_t steps, int is_last) {
    Plugin plugin = load_plugin();
    CHECK(plugin.train(trainer) == steps);
    if (is_last)
        plugin.finish(trainer);
    CHECK(dlclose(plugin.handle) == 0);
    CHECK(!is_loaded(plugin_path) && is_loaded(library));
}

static void three_lives(void) {
    pthread_t thread;
    /* On a thread that ends, so that none is left whose thread-local values keep the library. */
    CHECK(pthread_create(&thread, NULL, first_life, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(!is_loaded(plugin_path) && is_loaded(library));
    next_life(20, 0);
    next_life(30, 1);
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    plugin_path = arguments[1];
    library = arguments[2];
    three_lives();
    /* Nothing of the library is in use any more. */
    CHECK(dlclose(load(library)) == 0);
    three_lives();
    return 0;
}
