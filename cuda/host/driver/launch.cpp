// Launches of kernels.
#include <array>
#include <cstdio>
#include <cstring>

#include "../watch.h"
#include "memory.h"
#include "module.h"
#include "queue.h"

namespace {

// A launch with its own copy of the arguments, as they lie in the device's memory.
struct Launch {
    const host::Kernel* kernel;
    const Context* context;
    std::array<unsigned, 6> geometry;
    struct alignas(16) Unit {
        unsigned char bytes[16];
    };
    std::vector<Unit> arguments;

    CUresult operator()() const {
        State& s = state();
        const host::Parameters& parameters = kernel->parameters;
        std::vector<void*> pointers(parameters.count);
        auto* base = reinterpret_cast<unsigned char*>(const_cast<Unit*>(arguments.data()));
        for (size_t i = 0; i < parameters.count; ++i) {
            pointers[i] = base + parameters.offsets[i];
            if (parameters.pointers[i] && !is_for_kernels(*static_cast<void**>(pointers[i]))) {
                std::fprintf(stderr, "simulated GPU: %s: parameter %zu is an address of no memory of the device\n",
                             kernel->name, i);
                return CUDA_ERROR_ILLEGAL_ADDRESS;
            }
        }
        uint64_t seed = s.seed * 0x9E3779B97F4A7C15u + ++s.launches;
        sfeuot_host_refuse(refuse_to_kernels);
        const char* fault =
            kernel->launch(geometry.data(), seed, pointers.data(), parameters.sizes, parameters.count);
        sfeuot_host_refuse(nullptr);
        if (fault) {
            std::fprintf(stderr, "simulated GPU: %s\n", fault);
        }
        return fault ? CUDA_ERROR_LAUNCH_FAILED : CUDA_SUCCESS;
    }

    // Null, or within memory that kernels may touch, or at its end, where there is nothing to do.
    bool is_for_kernels(const void* at) const {
        const char* before = static_cast<const char*>(at) - 1;
        return !at || is_known(*context, at) || is_known(*context, before);
    }
};

bool fits(const std::array<unsigned, 6>& geometry) {
    constexpr unsigned LIMIT[] = {0x7FFFFFFF, 65535, 65535, 1024, 1024, 64};
    for (size_t i = 0; i < 6; ++i) {
        if (geometry[i] == 0 || geometry[i] > LIMIT[i]) {
            return false;
        }
    }
    return geometry[3] * geometry[4] * geometry[5] <= 1024;
}

}  // namespace

API CUresult cuLaunchKernel(CUfunction handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                            unsigned block_y, unsigned block_z, unsigned dynamic_shared, CUstream stream_handle,
                            void** arguments, void** extra) {
    ENTER(CONTEXT);
    Stream* stream;
    TRY(find_stream(call, stream_handle, &stream));
    auto function = call.s.functions.get(handle);
    if (!function || function->context != call.context) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    const host::Parameters& parameters = function->kernel->parameters;
    std::array<unsigned, 6> geometry = {grid_x, grid_y, grid_z, block_x, block_y, block_z};
    if (!fits(geometry) || dynamic_shared > static_cast<unsigned>(function->dynamic_shared) || extra ||
        (parameters.count > 0 && !arguments)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    const unsigned threads = block_x * block_y * block_z;
    if (threads > function->kernel->max_threads) {
        std::fprintf(stderr, "simulated GPU: %s: a block of %u threads, where its __launch_bounds__ allow %u\n",
                     function->kernel->name, threads, function->kernel->max_threads);
        return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    }
    Launch launch{function->kernel, call.context, geometry, {}};
    if (parameters.count > 0) {
        size_t bytes = parameters.offsets[parameters.count - 1] + parameters.sizes[parameters.count - 1];
        launch.arguments.resize((bytes + 15) / 16);
        auto* base = reinterpret_cast<unsigned char*>(launch.arguments.data());
        for (size_t i = 0; i < parameters.count; ++i) {
            if (!arguments[i]) {
                return CUDA_ERROR_INVALID_VALUE;
            }
            std::memcpy(base + parameters.offsets[i], arguments[i], parameters.sizes[i]);
        }
    }
    return submit(*stream, NODE_KERNEL, function->kernel->name, std::move(launch));
}
