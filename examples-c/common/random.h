/* Random numbers that are the same with every compiler and on every system. */
#ifndef EXAMPLES_RANDOM_H
#define EXAMPLES_RANDOM_H

#include <math.h>
#include <stdint.h>

/* splitmix64. Any state is a good seed. */
typedef struct {
    uint64_t state;
} Random;

static inline uint64_t random_bits(Random *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Between 0 and 1, both left out. */
static inline double random_uniform(Random *random)
{
    return ((double)(random_bits(random) >> 11) + 0.5) * 0x1p-53;
}

/* Of mean 0 and deviation 1, by Box and Muller. */
static inline double random_normal(Random *random)
{
    double radius = sqrt(-2 * log(random_uniform(random)));
    return radius * cos(6.283185307179586 * random_uniform(random));
}

#endif
