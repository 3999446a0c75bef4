// The driver itself and its devices.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "state.h"

namespace {

constexpr struct {
    CUresult code;
    const char *name, *text;
} ERRORS[] = {
#define ROW(name, text) {name, #name, text}
    ROW(CUDA_SUCCESS, "no error"),
    ROW(CUDA_ERROR_INVALID_VALUE, "invalid argument"),
    ROW(CUDA_ERROR_OUT_OF_MEMORY, "out of memory"),
    ROW(CUDA_ERROR_NOT_INITIALIZED, "initialization error"),
    ROW(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected"),
    ROW(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal"),
    ROW(CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid"),
    ROW(CUDA_ERROR_INVALID_CONTEXT, "invalid device context"),
    ROW(CUDA_ERROR_NO_BINARY_FOR_GPU, "no kernel image is available for execution on the device"),
    ROW(CUDA_ERROR_INVALID_PTX, "a PTX JIT compilation failed"),
    ROW(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "the provided PTX was compiled with an unsupported toolchain."),
    ROW(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle"),
    ROW(CUDA_ERROR_ILLEGAL_STATE, "the operation cannot be performed in the present state"),
    ROW(CUDA_ERROR_NOT_FOUND, "named symbol not found"),
    ROW(CUDA_ERROR_NOT_READY, "device not ready"),
    ROW(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered"),
    ROW(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "too many resources requested for launch"),
    ROW(CUDA_ERROR_CONTEXT_IS_DESTROYED, "context is destroyed"),
    ROW(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure"),
    ROW(CUDA_ERROR_NOT_SUPPORTED, "operation not supported"),
    ROW(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing"),
    ROW(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "operation failed due to a previous error during capture"),
    ROW(CUDA_ERROR_STREAM_CAPTURE_MERGE, "operation would result in a merge of separate capture sequences"),
    ROW(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "capture was not ended in the same stream as it began"),
    ROW(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "capturing stream has unjoined work"),
    ROW(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "dependency created on uncaptured work in another stream"),
    ROW(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
        "operation would make the legacy stream depend on a capturing blocking stream"),
    ROW(CUDA_ERROR_CAPTURED_EVENT, "operation not permitted on an event last recorded in a capturing stream"),
    ROW(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD,
        "attempt to terminate a thread-local capture sequence from another thread"),
    ROW(CUDA_ERROR_UNKNOWN, "unknown error"),
#undef ROW
};

enum Attribute : unsigned {
    MAX_THREADS_PER_BLOCK = 1,
    MAX_BLOCK_X = 2,
    MAX_BLOCK_Y = 3,
    MAX_BLOCK_Z = 4,
    MAX_GRID_X = 5,
    MAX_GRID_Y = 6,
    MAX_GRID_Z = 7,
    MAX_SHARED_MEMORY_PER_BLOCK = 8,
    WARP_SIZE = 10,
    MAX_REGISTERS_PER_BLOCK = 12,
    MULTIPROCESSOR_COUNT = 16,
    CONCURRENT_KERNELS = 31,
    L2_CACHE_SIZE = 38,
    MAX_THREADS_PER_MULTIPROCESSOR = 39,
    ASYNC_ENGINE_COUNT = 40,
    UNIFIED_ADDRESSING = 41,
    CAPABILITY_MAJOR = 75,
    CAPABILITY_MINOR = 76,
    MAX_SHARED_MEMORY_PER_MULTIPROCESSOR = 81,
    MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,
    MANAGED_MEMORY = 83,
    LAST_ATTRIBUTE = 147,
};

// What is not listed is zero: memory pools, and whatever else the simulator lacks.
int attribute_of(const State& s, unsigned attribute) {
    switch (attribute) {
        case MAX_THREADS_PER_BLOCK:
        case MAX_BLOCK_X:
        case MAX_BLOCK_Y:
            return 1024;
        case MAX_BLOCK_Z:
            return 64;
        case MAX_GRID_X:
            return 0x7FFFFFFF;
        case MAX_GRID_Y:
        case MAX_GRID_Z:
            return 65535;
        case MAX_SHARED_MEMORY_PER_BLOCK:
            return 48 * 1024;
        case MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
            return 99 * 1024;
        case MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
            return 100 * 1024;
        case WARP_SIZE:
            return 32;
        case MAX_REGISTERS_PER_BLOCK:
            return 65536;
        // Few, so that launches stay small.
        case MULTIPROCESSOR_COUNT:
            return 4;
        case L2_CACHE_SIZE:
            return 4 << 20;
        case MAX_THREADS_PER_MULTIPROCESSOR:
            return 2048;
        case CONCURRENT_KERNELS:
        case ASYNC_ENGINE_COUNT:
        case MANAGED_MEMORY:
        case UNIFIED_ADDRESSING:
            return 1;
        case CAPABILITY_MAJOR:
            return s.capability / 10;
        case CAPABILITY_MINOR:
            return s.capability % 10;
        default:
            return 0;
    }
}

CUresult check_device(const State& s, CUdevice device) {
    return device >= 0 && device < s.devices ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult put_text(char* out, int room, const std::string& text) {
    if (!out || room <= 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    std::snprintf(out, static_cast<size_t>(room), "%s", text.c_str());
    return CUDA_SUCCESS;
}

CUresult put_uuid(const State& s, CUuuid* out, CUdevice device) {
    TRY(check_device(s, device));
    std::memcpy(out->bytes, "SFEUOT-SIMULATED", 16);
    out->bytes[15] = static_cast<char>(out->bytes[15] + device);
    return CUDA_SUCCESS;
}

}  // namespace

API CUresult cuInit(unsigned flags) {
    ENTER(NOTHING);
    State& s = call.s;
    if (flags != 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    s.devices = static_cast<int>(setting("SFEUOT_SIM_DEVICES", 1));
    s.capability = static_cast<int>(setting("SFEUOT_SIM_CAPABILITY", 90));
    s.seed = setting("SFEUOT_SIM_SEED", 0);
    if (!s.memory_is_set) {
        s.memory = setting("SFEUOT_SIM_MEMORY", uint64_t(1) << 30);
    }
    if (s.devices == 0) {
        return CUDA_ERROR_NO_DEVICE;
    }
    if (!s.initialised) {
        s.random = s.seed * 2 + 1;
    }
    s.initialised = true;
    return CUDA_SUCCESS;
}

API CUresult cuDriverGetVersion(int* out) {
    ENTER(NOTHING);
    *out = static_cast<int>(setting("SFEUOT_SIM_DRIVER_VERSION", 13000));
    return CUDA_SUCCESS;
}

API CUresult cuGetErrorName(CUresult error, const char** out) {
    for (const auto& row : ERRORS) {
        if (row.code == error) {
            *out = row.name;
            return CUDA_SUCCESS;
        }
    }
    *out = nullptr;
    return CUDA_ERROR_INVALID_VALUE;
}

API CUresult cuGetErrorString(CUresult error, const char** out) {
    for (const auto& row : ERRORS) {
        if (row.code == error) {
            *out = row.text;
            return CUDA_SUCCESS;
        }
    }
    *out = nullptr;
    return CUDA_ERROR_INVALID_VALUE;
}

API CUresult cuDeviceGet(CUdevice* out, int ordinal) {
    ENTER(DRIVER);
    TRY(check_device(call.s, ordinal));
    *out = ordinal;
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGetCount(int* out) {
    ENTER(DRIVER);
    *out = call.s.devices;
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGetName(char* out, int room, CUdevice device) {
    ENTER(DRIVER);
    TRY(check_device(call.s, device));
    return put_text(out, room, "Simulated GPU");
}

API CUresult cuDeviceGetUuid(CUuuid* out, CUdevice device) {
    ENTER(DRIVER);
    return put_uuid(call.s, out, device);
}

API CUresult cuDeviceGetUuid_v2(CUuuid* out, CUdevice device) {
    ENTER(DRIVER);
    return put_uuid(call.s, out, device);
}

API CUresult cuDeviceGetPCIBusId(char* out, int room, CUdevice device) {
    ENTER(DRIVER);
    TRY(check_device(call.s, device));
    return put_text(out, room, "0000:" + std::to_string(10 + device) + ":00.0");
}

API CUresult cuDeviceTotalMem_v2(size_t* out, CUdevice device) {
    ENTER(DRIVER);
    TRY(check_device(call.s, device));
    *out = call.s.memory;
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGetAttribute(int* out, unsigned attribute, CUdevice device) {
    ENTER(DRIVER);
    TRY(check_device(call.s, device));
    if (attribute == 0 || attribute > LAST_ATTRIBUTE) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *out = attribute_of(call.s, attribute);
    return CUDA_SUCCESS;
}
