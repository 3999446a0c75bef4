/* Work on many things alike, shared out among threads. */
#ifndef EXAMPLES_PARALLEL_H
#define EXAMPLES_PARALLEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Does what there is to do for number i, and tells by false that it failed. Called on several threads at a time. */
typedef bool ParallelBody(void *userdata, size_t i);

/*
 * Calls body for all numbers below `count`, each once and in any order, on up to `threads` threads, that of the caller among
 * them. After a failure no more calls begin. Returns whether all succeeded; what failed has printed a sentence.
 */
bool parallel_for(size_t count, uint32_t threads, ParallelBody *body, void *userdata);

#ifdef __cplusplus
}
#endif

#endif
