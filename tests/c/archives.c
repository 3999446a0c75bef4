/* A program with libsfeuot.a and two more archives from Rust in it. Each has a standard library of its own, panics and catches,
 * on this thread and on one that it starts. */
#include "check.h"
#include "plugin.h"

/* The number of panics that were caught and cleaned up after. */
uint32_t other_panics(uint32_t count);
/* The same from an archive that was joined as libsfeuot.a is. */
uint32_t sfeuot_panics(uint32_t count);

int main(void) {
    SfeuotTrainer *trainer = plugin_start();
    uint64_t steps;

    CHECK(other_panics(3) == 3 && sfeuot_panics(3) == 3);
    steps = plugin_train(trainer);
    CHECK(other_panics(5) == 5 && sfeuot_panics(5) == 5);
    CHECK(plugin_train(trainer) == 2 * steps);
    plugin_finish(trainer);
    return 0;
}
