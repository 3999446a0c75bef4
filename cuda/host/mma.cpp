// Products of a warp. Its lanes lay down what they hold, meet, and each adds up its own four sums: exactly, and then cut
// to 32 bits towards zero, as the units of every architecture so far were found to do.
#include <cmath>

#include "machine.h"

namespace host {

static float towards_zero(double x) {
    const float nearest = static_cast<float>(x);
    return std::fabs(nearest) > std::fabs(x) ? std::nextafter(nearest, 0.0f) : nearest;
}

// The first number of a word of two is its lower half.
static double number(unsigned word, unsigned pack, unsigned which) {
    return __uint_as_float(pack == 1 ? word : which == 0 ? word << 16 : word & 0xFFFF0000);
}

__attribute__((noinline)) void mma(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2], unsigned pack) {
    const Fragment mine = {{a[0], a[1], a[2], a[3], b[0], b[1]}};
    const Fragment* all = machine.gather(__builtin_return_address(0), 0xFFFFFFFF, mine);
    const unsigned lane = machine.current->number % 32, g = lane / 4, t = lane % 4;
    for (unsigned i = 0; i < 4; ++i) {
        const unsigned lower = i / 2, column = 2 * t + i % 2;
        double total = sum[i];
        for (unsigned k = 0; k < 8; ++k) {
            const unsigned of_a = all[4 * g + k % 4].words[lower + k / 4 * 2];
            const unsigned of_b = all[4 * column + k % 4].words[4 + k / 4];
            for (unsigned which = 0; which < pack; ++which) {
                total += number(of_a, pack, which) * number(of_b, pack, which);
            }
        }
        sum[i] = towards_zero(total);
    }
}

}  // namespace host
