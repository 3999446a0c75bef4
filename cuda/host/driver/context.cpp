// Contexts, each thread's stack of them, and what every call checks first.
#include <cstdlib>

#include "capture.h"
#include "memory.h"
#include "module.h"

void forget_events(const Context* context);

namespace {

// Handles, as a context may be destroyed while threads still have it.
thread_local std::vector<CUcontext> stack;

// Tells a version of a function from another.
std::string without_version(std::string function) {
    size_t at = function.rfind("_v");
    return at != std::string::npos && at + 3 == function.size() ? function.substr(0, at) : function;
}

CUcontext make_context(State& s, int device, bool primary) {
    auto context = std::make_shared<Context>();
    context->device = device;
    context->primary = primary;
    context->streams.push_back(std::make_shared<Stream>(context.get(), 0, 0));
    return s.contexts.add(context);
}

// Work that nobody waited for is lost.
void destroy_context(State& s, CUcontext handle) {
    auto context = s.contexts.get(handle);
    for (const auto& stream : context->streams) {
        if (stream->capture) {
            discard(*stream->capture);
        }
        abandon(*stream);
    }
    s.streams.remove_where([=](const Stream& stream) { return stream.context == handle; });
    context->streams.clear();
    forget_events(handle);
    forget_modules(handle);
    free_memory_of(handle);
    s.contexts.remove(handle);
}

CUresult create_context(const Call& call, CUcontext* out, CUdevice device) {
    if (!out) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (device < 0 || device >= call.s.devices) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    *out = make_context(call.s, device, false);
    stack.push_back(*out);
    return CUDA_SUCCESS;
}

}  // namespace

State& state() {
    static auto* one = new State;
    return *one;
}

Context* current_context() { return stack.empty() ? nullptr : state().contexts.get(stack.back()).get(); }

uint64_t setting(const char* name, uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text && *text ? std::strtoull(text, nullptr, 10) : otherwise;
}

CUresult injected(State& s, std::string function) {
    auto found = s.failures.find(function);
    if (found == s.failures.end()) {
        found = s.failures.find(without_version(function));
    }
    if (found == s.failures.end() || found->second.calls_before-- > 0) {
        return CUDA_SUCCESS;
    }
    CUresult code = found->second.code;
    s.failures.erase(found);
    return code;
}

Call::Call(const char* function, Needs needs) : lock(state().mutex), s(state()), code(CUDA_SUCCESS) {
    code = s.failures.empty() ? CUDA_SUCCESS : injected(s, function);
    if (code != CUDA_SUCCESS || needs == NOTHING) {
        return;
    }
    if (!s.initialised) {
        code = CUDA_ERROR_NOT_INITIALIZED;
        return;
    }
    context = current_context();
    if (needs == DRIVER) {
        return;
    }
    if (!context) {
        code = stack.empty() || !stack.back() ? CUDA_ERROR_INVALID_CONTEXT : CUDA_ERROR_CONTEXT_IS_DESTROYED;
    } else if (needs == CONTEXT) {
        code = context->error;
    }
}

API CUresult cuCtxCreate_v2(CUcontext* out, unsigned, CUdevice device) {
    ENTER(DRIVER);
    return create_context(call, out, device);
}

API CUresult cuCtxCreate_v3(CUcontext* out, void*, int, unsigned, CUdevice device) {
    ENTER(DRIVER);
    return create_context(call, out, device);
}

API CUresult cuCtxCreate_v4(CUcontext* out, void*, unsigned, CUdevice device) {
    ENTER(DRIVER);
    return create_context(call, out, device);
}

API CUresult cuCtxDestroy_v2(CUcontext handle) {
    ENTER(DRIVER);
    auto context = call.s.contexts.get(handle);
    if (!context || context->primary) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    destroy_context(call.s, handle);
    if (!stack.empty() && stack.back() == handle) {
        stack.pop_back();
    }
    return CUDA_SUCCESS;
}

API CUresult cuDevicePrimaryCtxRetain(CUcontext* out, CUdevice device) {
    ENTER(DRIVER);
    if (!out || device < 0 || device >= call.s.devices) {
        return out ? CUDA_ERROR_INVALID_DEVICE : CUDA_ERROR_INVALID_VALUE;
    }
    auto& [handle, count] = call.s.primaries[device];
    if (count++ == 0) {
        handle = make_context(call.s, device, true);
    }
    *out = handle;
    return CUDA_SUCCESS;
}

API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    ENTER(DRIVER);
    if (device < 0 || device >= call.s.devices) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    auto& [handle, count] = call.s.primaries[device];
    if (count == 0) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (--count == 0) {
        destroy_context(call.s, handle);
    }
    return CUDA_SUCCESS;
}

API CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned* flags, int* active) {
    ENTER(DRIVER);
    if (device < 0 || device >= call.s.devices) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    *flags = 0;
    *active = call.s.primaries[device].second > 0;
    return CUDA_SUCCESS;
}

API CUresult cuCtxPushCurrent_v2(CUcontext handle) {
    ENTER(DRIVER);
    if (!call.s.contexts.get(handle)) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    stack.push_back(handle);
    return CUDA_SUCCESS;
}

API CUresult cuCtxPopCurrent_v2(CUcontext* out) {
    ENTER(DRIVER);
    if (stack.empty()) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (out) {
        *out = stack.back();
    }
    stack.pop_back();
    return CUDA_SUCCESS;
}

// Replaces the top of the stack; null takes it away.
API CUresult cuCtxSetCurrent(CUcontext handle) {
    ENTER(DRIVER);
    if (handle && !call.s.contexts.get(handle)) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (!stack.empty()) {
        stack.pop_back();
    }
    if (handle) {
        stack.push_back(handle);
    }
    return CUDA_SUCCESS;
}

API CUresult cuCtxGetCurrent(CUcontext* out) {
    ENTER(DRIVER);
    *out = stack.empty() ? nullptr : stack.back();
    return CUDA_SUCCESS;
}

API CUresult cuCtxGetDevice(CUdevice* out) {
    ENTER(FAILED_CONTEXT);
    *out = call.context->device;
    return CUDA_SUCCESS;
}

API CUresult cuCtxSynchronize() {
    ENTER(CONTEXT);
    TRY(refuse_in_capture(*call.context));
    return finish_all(*call.context);
}
