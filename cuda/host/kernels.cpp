// Every kernel as C++, and the table through which the tests launch them by name.
#include "../kernels.cu"
#include "faults.cpp"

#define KERNEL(name)                                                                                             \
    {#name, [](const unsigned* geometry, uint64_t seed, void** arguments, const size_t* sizes, size_t count) {   \
         return launch_kernel(#name, name, geometry, seed, arguments, sizes, count);                             \
     }}

template <class... P>
static const char* launch_kernel(const char* text, void (*kernel)(P...), const unsigned* geometry, uint64_t seed,
                                 void** arguments, const size_t* sizes, size_t count) {
    return host::launch(text, kernel, geometry, seed, arguments, sizes, count, std::index_sequence_for<P...>());
}

using Launch = const char* (*)(const unsigned*, uint64_t, void**, const size_t*, size_t);

static const struct {
    const char* name;
    Launch launch;
} TABLE[] = {
    KERNEL(philox_uniforms),
    KERNEL(philox_normals),
    KERNEL(batch_times),
    KERNEL(batch_indices),
    KERNEL(batch_gather),
    KERNEL(bridge_sample),
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
    KERNEL(optimiser_prepare),
    KERNEL(optimiser_update),
    KERNEL(optimiser_take_back),
    KERNEL(rows_import),
    KERNEL(rows_check),
    KERNEL(rows_export),
    KERNEL(drift_export),
    KERNEL(ratio_export),
    KERNEL(mean_accumulate),
    KERNEL(mean_export),
    KERNEL(fault_race),
    KERNEL(fault_barrier),
    KERNEL(fault_shared),
};

// Launches a kernel: geometry holds three extents of the grid and three of the block, seed orders the threads,
// arguments points at each argument of the given size. Null, or what is wrong (valid until the next launch).
extern "C" const char* sfeuot_host_launch(const char* name, const unsigned* geometry, uint64_t seed, void** arguments,
                                          const size_t* sizes, size_t count) {
    for (const auto& row : TABLE) {
        if (std::strcmp(row.name, name) == 0) {
            return row.launch(geometry, seed, arguments, sizes, count);
        }
    }
    return "no kernel of this name is in the table of cuda/host/kernels.cpp";
}
