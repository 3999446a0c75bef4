// Copies and fills.
#include <cstring>

#include "../watch.h"
#include "capture.h"
#include "memory.h"

namespace {

bool is_pinned(const void* at, size_t bytes) {
    const Allocation* found = find_allocation(at, bytes);
    return found && found->kind == Kind::PINNED;
}

const void* host(CUdeviceptr at) { return reinterpret_cast<const void*>(at); }

// Graphs may copy to and from memory that is gone.
CUresult move(const Context* context, void* to, const void* from, size_t bytes, bool check_to, bool check_from) {
    auto check = [&](const void* at) { return is_device(*context, reinterpret_cast<CUdeviceptr>(at), bytes); };
    if ((check_to && !check(to)) || (check_from && !check(from))) {
        return CUDA_ERROR_ILLEGAL_ADDRESS;
    }
    sfeuot_host_touch(from, bytes, false);
    sfeuot_host_touch(to, bytes, true);
    std::memmove(to, from, bytes);
    return CUDA_SUCCESS;
}

CUresult to_device(const Call& call, Stream& stream, CUdeviceptr to, const void* from, size_t bytes) {
    if (!from || !is_device(*call.context, to, bytes)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    const Context* context = call.context;
    void* target = reinterpret_cast<void*>(to);
    if (is_pinned(from, bytes)) {
        return submit(stream, NODE_COPY, "a copy", [=] { return move(context, target, from, bytes, true, false); });
    }
    // A graph would read whatever lies there when it runs.
    TRY(refuse_in_capture(stream));
    auto copy = std::make_shared<std::vector<char>>(bytes);
    std::memcpy(copy->data(), from, bytes);
    return submit(stream, NODE_COPY, "a copy", [=] { return move(context, target, copy->data(), bytes, true, false); });
}

// Where the target is pageable, the work has run when this returns.
CUresult to_host(const Call& call, Stream& stream, void* to, CUdeviceptr from, size_t bytes) {
    if (!to || !is_device(*call.context, from, bytes)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    bool pinned = is_pinned(to, bytes);
    if (!pinned) {
        TRY(refuse_in_capture(stream));
    }
    const Context* context = call.context;
    TRY(submit(stream, NODE_COPY, "a copy", [=] {
        state().to_host += bytes;
        return move(context, to, host(from), bytes, false, true);
    }));
    return pinned ? CUDA_SUCCESS : finish(stream);
}

CUresult within(const Call& call, Stream& stream, CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    if (!is_device(*call.context, to, bytes) || !is_device(*call.context, from, bytes)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    const Context* context = call.context;
    void* target = reinterpret_cast<void*>(to);
    return submit(stream, NODE_COPY, "a copy", [=] { return move(context, target, host(from), bytes, true, true); });
}

// Rows of `width` units, `pitch` bytes apart.
template <class Unit>
CUresult fill(const Call& call, Stream& stream, CUdeviceptr to, size_t pitch, Unit value, size_t width, size_t height) {
    size_t line = width * sizeof(Unit);
    size_t bytes = height > 0 ? (height - 1) * pitch + line : 0;
    if (to % sizeof(Unit) != 0 || (height > 1 && (pitch < line || pitch % sizeof(Unit) != 0))) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (line == 0 || bytes == 0) {
        return CUDA_SUCCESS;
    }
    const Context* context = call.context;
    if (!is_device(*context, to, bytes)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    return submit(stream, NODE_SET, "a fill", [=] {
        if (!is_device(*context, to, bytes)) {
            return CUDA_ERROR_ILLEGAL_ADDRESS;
        }
        for (size_t row = 0; row < height; ++row) {
            Unit* out = reinterpret_cast<Unit*>(to + row * pitch);
            sfeuot_host_touch(out, line, true);
            for (size_t i = 0; i < width; ++i) {
                out[i] = value;
            }
        }
        return CUDA_SUCCESS;
    });
}

// The stream of calls without one; they are unsafe beside captures.
CUresult legacy_stream(const Call& call, Stream** out) {
    TRY(refuse_in_capture());
    *out = call.context->streams[0].get();
    return CUDA_SUCCESS;
}

}  // namespace

#define BEGIN(stream_of)     \
    ENTER(CONTEXT);          \
    Stream* stream;          \
    TRY(stream_of);          \
    if (bytes == 0) {        \
        return CUDA_SUCCESS; \
    }

API CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t bytes) {
    BEGIN(legacy_stream(call, &stream));
    TRY(to_device(call, *stream, to, from, bytes));
    return finish(*stream);
}

API CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t bytes) {
    BEGIN(legacy_stream(call, &stream));
    bool waits = is_pinned(to, bytes);
    TRY(to_host(call, *stream, to, from, bytes));
    return waits ? finish(*stream) : CUDA_SUCCESS;
}

// Does not wait, as the real one does not.
API CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    BEGIN(legacy_stream(call, &stream));
    return within(call, *stream, to, from, bytes);
}

API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, CUstream handle) {
    BEGIN(find_stream(call, handle, &stream));
    return to_device(call, *stream, to, from, bytes);
}

API CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream handle) {
    BEGIN(find_stream(call, handle, &stream));
    return to_host(call, *stream, to, from, bytes);
}

API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream handle) {
    BEGIN(find_stream(call, handle, &stream));
    return within(call, *stream, to, from, bytes);
}

API CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t count) {
    ENTER(CONTEXT);
    Stream* stream;
    TRY(legacy_stream(call, &stream));
    return fill(call, *stream, to, 0, value, count, 1);
}

API CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t count) {
    ENTER(CONTEXT);
    Stream* stream;
    TRY(legacy_stream(call, &stream));
    return fill(call, *stream, to, 0, value, count, 1);
}

API CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream handle) {
    ENTER(CONTEXT);
    Stream* stream;
    TRY(find_stream(call, handle, &stream));
    return fill(call, *stream, to, 0, value, count, 1);
}

API CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream handle) {
    ENTER(CONTEXT);
    Stream* stream;
    TRY(find_stream(call, handle, &stream));
    return fill(call, *stream, to, 0, value, count, 1);
}

API CUresult cuMemsetD2D32Async(CUdeviceptr to, size_t pitch, unsigned value, size_t width, size_t height,
                                CUstream handle) {
    ENTER(CONTEXT);
    Stream* stream;
    TRY(find_stream(call, handle, &stream));
    return fill(call, *stream, to, pitch, value, width, height);
}
