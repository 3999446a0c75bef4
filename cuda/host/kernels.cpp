// Every kernel as C++, and the table through which the tests launch them by name.
#include "../kernels.cu"
#include "faults.cpp"

#include <cstring>
#include <mutex>

#include "launch.h"
#include "watch.h"

// bounds_of: what the __launch_bounds__ of every kernel allow, which tests/common/simulator_build.rs reads from the
// sources.
#include "bounds.h"

#define KERNEL(name)                                                                                             \
    {#name, [](const unsigned* geometry, uint64_t seed, void** arguments, const size_t* sizes, size_t count) {   \
         return launch_kernel(#name, name, geometry, seed, arguments, sizes, count);                             \
     }, host::parameters_of(name), bounds_of(#name)}

static std::mutex one_machine;

template <class... P>
static const char* launch_kernel(const char* text, void (*kernel)(P...), const unsigned* geometry, uint64_t seed,
                                 void** arguments, const size_t* sizes, size_t count) {
    std::lock_guard<std::mutex> lock(one_machine);
    return host::launch(text, bounds_of(text), kernel, geometry, seed, arguments, sizes, count,
                        std::index_sequence_for<P...>());
}

static const host::Kernel TABLE[] = {
    KERNEL(philox_uniforms),
    KERNEL(philox_normals),
    KERNEL(batch_draw),
    KERNEL(bridge_sample),
    KERNEL(components_choose),
    KERNEL(components_fold),
    KERNEL(components_mean),
    KERNEL(bridge_trajectory),
    KERNEL(dual_terms),
    KERNEL(action_terms),
    KERNEL(mixture_16),
    KERNEL(mixture_32),
    KERNEL(mixture_64),
    KERNEL(mixture_density),
    KERNEL(mixture_gradient),
    KERNEL(activation_silu),
    KERNEL(activation_tanh),
    KERNEL(activation_softplus),
    KERNEL(bias_add),
    KERNEL(activation_scale),
    KERNEL(activation_adjoint),
    KERNEL(column_sums),
    KERNEL(column_sums_finish),
    KERNEL(product_affine),
    KERNEL(product_affine_wide),
    KERNEL(product_silu),
    KERNEL(product_silu_wide),
    KERNEL(product_tanh),
    KERNEL(product_tanh_wide),
    KERNEL(product_softplus),
    KERNEL(product_softplus_wide),
    KERNEL(product_tangent),
    KERNEL(product_tangent_wide),
    KERNEL(product_transposed),
    KERNEL(product_transposed_wide),
    KERNEL(product_backward),
    KERNEL(product_backward_wide),
    KERNEL(product_adjoint),
    KERNEL(product_adjoint_wide),
    KERNEL(product_gradient),
    KERNEL(product_gradient_wide),
    KERNEL(gradient_reduce),
    KERNEL(optimiser_settle),
    KERNEL(optimiser_update),
    KERNEL(optimiser_take_back),
    KERNEL(rows_import),
    KERNEL(rows_export),
    KERNEL(drift_export),
    KERNEL(ratio_export),
    KERNEL(mean_accumulate),
    KERNEL(mean_export),
    KERNEL(samples_means),
    KERNEL(samples_spreads),
    KERNEL(samples_normalise),
    KERNEL(squares_forward),
    KERNEL(squares_reverse),
    KERNEL(squares_tangent),
    KERNEL(fault_race),
    KERNEL(fault_barrier),
    KERNEL(fault_shared),
    KERNEL(fault_exchanges),
    KERNEL(fault_masks),
    KERNEL(fault_outside_mask),
    KERNEL(fault_barriers),
    KERNEL(fault_bounds),
    KERNEL(fault_blocks),
    KERNEL(fault_lost),
    KERNEL(fault_alignment),
    KERNEL(fault_quad),
    KERNEL(fault_pointer),
    KERNEL(fault_volatile),
    KERNEL(fault_spin),
    KERNEL(fault_write),
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
