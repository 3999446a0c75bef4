// What is known of a pointer.
#include <cstring>

#include "memory.h"

namespace {

enum Attribute : unsigned {
    CONTEXT = 1,
    MEMORY_TYPE = 2,
    DEVICE_POINTER = 3,
    HOST_POINTER = 4,
    IS_MANAGED = 8,
    DEVICE_ORDINAL = 9,
    RANGE_START = 11,
    RANGE_SIZE = 12,
};

template <class T>
CUresult put(void* out, T value) {
    std::memcpy(out, &value, sizeof value);
    return CUDA_SUCCESS;
}

// Without an allocation: what cuPointerGetAttributes says of memory that the driver does not know.
CUresult tell(void* out, unsigned attribute, const Allocation* known, CUdeviceptr at) {
    switch (attribute) {
        case CONTEXT:
            return put(out, known ? known->context : nullptr);
        case MEMORY_TYPE:
            return put(out, known ? (known->kind == Kind::PINNED ? 1u : 2u) : 0u);
        case DEVICE_POINTER:
            return put(out, known ? at : 0);
        case HOST_POINTER:
            if (known && known->kind == Kind::DEVICE) {
                return CUDA_ERROR_INVALID_VALUE;
            }
            return put(out, known ? at : 0);
        case IS_MANAGED:
            return put(out, known && known->kind == Kind::MANAGED ? 1u : 0u);
        case DEVICE_ORDINAL:
            return put(out, known ? known->context->device : -2);
        case RANGE_START:
            return put(out, known ? known->start : nullptr);
        case RANGE_SIZE:
            return put(out, known ? known->size : 0);
        default:
            return CUDA_ERROR_NOT_SUPPORTED;
    }
}

}  // namespace

API CUresult cuPointerGetAttribute(void* out, unsigned attribute, CUdeviceptr at) {
    ENTER(DRIVER);
    const Allocation* known = find_allocation(reinterpret_cast<void*>(at), 1);
    return out && known ? tell(out, attribute, known, at) : CUDA_ERROR_INVALID_VALUE;
}

API CUresult cuPointerGetAttributes(unsigned count, const unsigned* attributes, void** out, CUdeviceptr at) {
    ENTER(DRIVER);
    const Allocation* known = find_allocation(reinterpret_cast<void*>(at), 1);
    for (unsigned i = 0; i < count; ++i) {
        // A host pointer that device memory lacks is null here.
        if (tell(out[i], attributes[i], known, at) == CUDA_ERROR_INVALID_VALUE) {
            put<void*>(out[i], nullptr);
        }
    }
    return CUDA_SUCCESS;
}
