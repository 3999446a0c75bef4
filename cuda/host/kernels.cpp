// Every kernel as C++, and the table through which the tests launch them by name.
#include "../kernels.cu"
#include "faults.cpp"

#include <cstring>
#include <mutex>

#include "launch.h"
#include "watch.h"

// A row of the table; so many threads are what the kernel's __launch_bounds__ allow.
#define KERNEL(name, threads)                                                                                  \
    {#name, [](const unsigned* geometry, uint64_t seed, void** arguments, const size_t* sizes, size_t count) { \
         return launch_kernel(#name, threads, name, geometry, seed, arguments, sizes, count);                  \
     }, host::parameters_of(name), threads}
#define FAULT(name) KERNEL(name, 1024)

static std::mutex one_machine;

template <class... P>
static const char* launch_kernel(const char* text, unsigned max_threads, void (*kernel)(P...),
                                 const unsigned* geometry, uint64_t seed, void** arguments, const size_t* sizes,
                                 size_t count) {
    std::lock_guard<std::mutex> lock(one_machine);
    return host::launch(text, max_threads, kernel, geometry, seed, arguments, sizes, count,
                        std::index_sequence_for<P...>());
}

static const host::Kernel TABLE[] = {
// tests/common/simulator_build.rs makes it of the kernels' heads.
#include "kernel_table.h"
    FAULT(fault_race),
    FAULT(fault_barrier),
    FAULT(fault_shared),
    FAULT(fault_exchanges),
    FAULT(fault_masks),
    FAULT(fault_outside_mask),
    FAULT(fault_barriers),
    KERNEL(fault_bounds, 32),
    FAULT(fault_blocks),
    FAULT(fault_lost),
    FAULT(fault_alignment),
    FAULT(fault_quad),
    FAULT(fault_pointer),
    FAULT(fault_volatile),
    FAULT(fault_spin),
    FAULT(fault_write),
};

extern "C" const host::Kernel* sfeuot_host_kernel(const char* name) {
    for (const auto& row : TABLE) {
        if (std::strcmp(row.name, name) == 0) {
            return &row;
        }
    }
    return nullptr;
}

extern "C" bool sfeuot_host_watches() {
#if defined(SFEUOT_AS_HARDWARE)
    return true;
#else
    return false;
#endif
}

// Launches a kernel by name; otherwise as host::Launch says.
extern "C" const char* sfeuot_host_launch(const char* name, const unsigned* geometry, uint64_t seed, void** arguments,
                                          const size_t* sizes, size_t count) {
    const host::Kernel* kernel = sfeuot_host_kernel(name);
    if (kernel == nullptr) {
        return "no kernel of this name is in the table of cuda/host/kernels.cpp";
    }
    return kernel->launch(geometry, seed, arguments, sizes, count);
}
