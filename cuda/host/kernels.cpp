// Every kernel as C++, and the table through which the tests launch them by name.
#include "../kernels.cu"
#include "faults.cpp"

#include <mutex>

#include "kernels.h"

#define KERNEL(name)                                                                                             \
    {#name, [](const unsigned* geometry, uint64_t seed, void** arguments, const size_t* sizes, size_t count) {   \
         return launch_kernel(#name, name, geometry, seed, arguments, sizes, count);                             \
     }, parameters_of(name)}

static std::mutex one_machine;

template <class... P>
static const char* launch_kernel(const char* text, void (*kernel)(P...), const unsigned* geometry, uint64_t seed,
                                 void** arguments, const size_t* sizes, size_t count) {
    std::lock_guard<std::mutex> lock(one_machine);
    return host::launch(text, kernel, geometry, seed, arguments, sizes, count, std::index_sequence_for<P...>());
}

// Where a device finds each argument: one after another, each at a multiple of its alignment.
template <class... P>
static host::Parameters parameters_of(void (*)(P...)) {
    static const size_t sizes[] = {sizeof(P)..., 0}, alignments[] = {alignof(P)..., 0};
    static const struct Offsets {
        size_t at[sizeof...(P) + 1] = {};
        Offsets() {
            for (size_t i = 1; i < sizeof...(P); ++i) {
                size_t end = at[i - 1] + sizes[i - 1];
                at[i] = (end + alignments[i] - 1) / alignments[i] * alignments[i];
            }
        }
    } offsets;
    return {sizes, offsets.at, sizeof...(P)};
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
    KERNEL(squares_forward),
    KERNEL(squares_reverse),
    KERNEL(squares_tangent),
    KERNEL(fault_race),
    KERNEL(fault_barrier),
    KERNEL(fault_shared),
};

extern "C" const host::Kernel* sfeuot_host_kernel(const char* name) {
    for (const auto& row : TABLE) {
        if (std::strcmp(row.name, name) == 0) {
            return &row;
        }
    }
    return nullptr;
}

extern "C" void sfeuot_host_watch(const char* (*describe)(const void*)) {
    host::describe = describe;
    host::watch();
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
