// The table of kernels, as the tests' launcher and the simulated driver see it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace host {

// Geometry holds three extents of the grid and three of the block, seed orders blocks and threads, arguments points at
// each argument of the given size. Null, or what is wrong (valid until the thread's next launch).
using Launch = const char* (*)(const unsigned* geometry, uint64_t seed, void** arguments, const size_t* sizes,
                               size_t count);

struct Parameters {
    const size_t* sizes;
    const size_t* offsets;
    // Which of them are addresses.
    const bool* pointers;
    size_t count;
};

struct Kernel {
    const char* name;
    Launch launch;
    Parameters parameters;
    // Most threads of a block, by the kernel's __launch_bounds__.
    unsigned max_threads;
};

}  // namespace host

// Null where the table has no such name.
extern "C" const host::Kernel* sfeuot_host_kernel(const char* name);

// Reports accesses out of bounds from now on; `describe` names what lies at an address, or gives null.
extern "C" void sfeuot_host_watch(const char* (*describe)(const void*));
