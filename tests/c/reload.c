/* A host that reloads a plug-in which is linked to libsfeuot.so, and goes on with the trainer that the old plug-in made. The
 * arguments are the plug-in and the library, by the name that the plug-in has for it. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

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

static void *function(void *handle, const char *name) {
    void *address = dlsym(handle, name);
    CHECK(address != NULL);
    return address;
}

/* ISO C has no conversion from an object's address to a function's; POSIX asks for this one. */
#define CALL(type, handle, name) (*(type *)&(void *){ function(handle, name) })

static void *first_life(void *unused) {
    void *plugin = load(plugin_path);
    (void)unused;
    trainer = CALL(SfeuotTrainer *(*)(void), plugin, "plugin_start")();
    CHECK(CALL(uint64_t (*)(SfeuotTrainer *), plugin, "plugin_train")(trainer) == 10);
    CHECK(dlclose(plugin) == 0);
    return NULL;
}

static void next_life(uint64_t steps) {
    void *plugin;
    CHECK(!is_loaded(plugin_path));
    CHECK(is_loaded(library));
    plugin = load(plugin_path);
    CHECK(CALL(uint64_t (*)(SfeuotTrainer *), plugin, "plugin_train")(trainer) == steps);
    if (steps == 30)
        CALL(void (*)(SfeuotTrainer *), plugin, "plugin_finish")(trainer);
    CHECK(dlclose(plugin) == 0);
}

int main(int count, char **arguments) {
    pthread_t thread;
    CHECK(count == 3);
    plugin_path = arguments[1];
    library = arguments[2];

    /* On a thread that ends, so that none is left whose thread-local values keep the library. */
    CHECK(pthread_create(&thread, NULL, first_life, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    next_life(20);
    next_life(30);
    /* Nothing of the library is in use any more, and it stays. */
    CHECK(!is_loaded(plugin_path));
    CHECK(dlclose(load(library)) == 0);
    CHECK(is_loaded(library));
    trainer = NULL;
    CHECK(pthread_create(&thread, NULL, first_life, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    next_life(20);
    next_life(30);
    return 0;
}
