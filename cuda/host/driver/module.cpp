#include "module.h"

#include <algorithm>

#include "capture.h"

namespace {

constexpr int MAX_THREADS = 1024;

// No byte behind the first that differs is read.
bool begins_with(const void* image, const char* text, size_t length) {
    const char* bytes = static_cast<const char*>(image);
    for (size_t i = 0; i < length; ++i) {
        if (bytes[i] != text[i]) {
            return false;
        }
    }
    return true;
}

// A fatbin, a cubin, PTX, or the word that tests hand over. What it holds is not looked at.
bool is_image(const void* image) {
    return begins_with(image, "SFEUOT-SIMULATED", 16) || begins_with(image, "\x50\xED\x55\xBA", 4) ||
           begins_with(image, "\x7F" "ELF", 4) || begins_with(image, ".version", 8) || begins_with(image, "//", 2);
}

CUresult load(const Call& call, CUmodule* out, const void* image) {
    TRY(refuse_in_capture());
    if (!out || !image) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (setting("SFEUOT_SIM_NO_BINARY", 0)) {
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    }
    if (setting("SFEUOT_SIM_UNSUPPORTED_PTX", 0)) {
        return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
    }
    bool refused = setting("SFEUOT_SIM_ONLY_COMPILED", 0) && !begins_with(image, "SFEUOT-SIMULATED", 16);
    if (refused || !is_image(image)) {
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    }
    *out = call.s.modules.add(std::make_shared<Module>(Module{call.context, {}}));
    return CUDA_SUCCESS;
}

CUresult find_function(const Call& call, CUfunction handle, std::shared_ptr<Function>* out) {
    *out = call.s.functions.get(handle);
    return *out && (*out)->context == call.context ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

}  // namespace

void forget_modules(const Context* context) {
    State& s = state();
    s.functions.remove_where([=](const Function& function) { return function.context == context; });
    s.modules.remove_where([=](const Module& module) { return module.context == context; });
}

API CUresult cuModuleLoadData(CUmodule* out, const void* image) {
    ENTER(CONTEXT);
    return load(call, out, image);
}

API CUresult cuModuleLoadDataEx(CUmodule* out, const void* image, unsigned, void*, void**) {
    ENTER(CONTEXT);
    return load(call, out, image);
}

API CUresult cuModuleUnload(CUmodule handle) {
    ENTER(FAILED_CONTEXT);
    auto module = call.s.modules.get(handle);
    if (!module || module->context != call.context) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    call.s.functions.remove_where([=](const Function& function) { return function.module == handle; });
    call.s.modules.remove(handle);
    return call.context->error;
}

API CUresult cuModuleGetFunction(CUfunction* out, CUmodule handle, const char* name) {
    ENTER(CONTEXT);
    auto module = call.s.modules.get(handle);
    if (!module || module->context != call.context) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (!out || !name) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    const host::Kernel* kernel = sfeuot_host_kernel(name);
    if (!kernel) {
        return CUDA_ERROR_NOT_FOUND;
    }
    auto& function = module->functions[name];
    if (!function) {
        function = std::make_shared<Function>();
        function->context = call.context;
        function->module = handle;
        function->kernel = kernel;
        call.s.functions.add(function);
    }
    *out = function.get();
    return CUDA_SUCCESS;
}

API CUresult cuFuncGetName(const char** out, CUfunction handle) {
    ENTER(CONTEXT);
    std::shared_ptr<Function> function;
    TRY(find_function(call, handle, &function));
    *out = function->kernel->name;
    return CUDA_SUCCESS;
}

// The compiler for the host knows no registers.
API CUresult cuFuncGetAttribute(int* out, unsigned attribute, CUfunction handle) {
    ENTER(CONTEXT);
    std::shared_ptr<Function> function;
    TRY(find_function(call, handle, &function));
    switch (attribute) {
        case 0:
            *out = static_cast<int>(function->kernel->max_threads);
            return CUDA_SUCCESS;
        case 4:
            *out = 32;
            return CUDA_SUCCESS;
        case 5:
        case 6:
            *out = call.s.capability;
            return CUDA_SUCCESS;
        case 8:
            *out = function->dynamic_shared;
            return CUDA_SUCCESS;
        default:
            *out = 0;
            return attribute < 16 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    }
}

API CUresult cuFuncSetAttribute(CUfunction handle, unsigned attribute, int value) {
    ENTER(CONTEXT);
    std::shared_ptr<Function> function;
    TRY(find_function(call, handle, &function));
    if (attribute == 8 && value >= 0 && value <= 99 * 1024) {
        function->dynamic_shared = value;
        return CUDA_SUCCESS;
    }
    // The carve-out is a hint.
    return attribute == 9 && value >= -1 && value <= 100 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

API CUresult cuFuncGetParamInfo(CUfunction handle, size_t index, size_t* offset, size_t* size) {
    ENTER(CONTEXT);
    std::shared_ptr<Function> function;
    TRY(find_function(call, handle, &function));
    const host::Parameters& parameters = function->kernel->parameters;
    if (index >= parameters.count || !offset) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *offset = parameters.offsets[index];
    if (size) {
        *size = parameters.sizes[index];
    }
    return CUDA_SUCCESS;
}

API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* out, CUfunction handle, int threads,
                                                         size_t dynamic_shared) {
    ENTER(CONTEXT);
    std::shared_ptr<Function> function;
    TRY(find_function(call, handle, &function));
    if (threads <= 0 || threads > MAX_THREADS) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    size_t blocks = std::min<size_t>(2048 / static_cast<size_t>(threads), 32);
    *out = static_cast<int>(dynamic_shared ? std::min(blocks, 100 * 1024 / dynamic_shared) : blocks);
    return CUDA_SUCCESS;
}
