#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "../kernels.h"
#include "capture.h"
#include "queue.h"

namespace {

constexpr size_t PAGE = 4096, ALIGNMENT = 256;

std::map<uintptr_t, Allocation>& allocations() {
    static auto* map = new std::map<uintptr_t, Allocation>;
    return *map;
}

size_t up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

// Mappings of what was freed.
std::vector<std::pair<const char*, size_t>>& graves() {
    static auto* list = new std::vector<std::pair<const char*, size_t>>;
    return *list;
}

const char* describe(const void* at) {
    auto within = [at](const char* pages, size_t mapped) { return at >= pages && at < pages + mapped; };
    if (find_allocation(at, 1)) {
        return "device memory, for kernels and copies alone";
    }
    for (const auto& [_, allocation] : allocations()) {
        if (within(allocation.pages, allocation.mapped)) {
            return "beside device memory or pinned memory";
        }
    }
    for (const auto& [pages, mapped] : graves()) {
        if (within(pages, mapped)) {
            return "memory that was freed";
        }
    }
    return nullptr;
}

// All bits set, which is NaN in floats; ends at a guard page, as nearly as the alignment allows.
CUresult allocate(Context* context, size_t size, Kind kind, void** out) {
    if (size == 0 || out == nullptr) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    uint64_t most = state().memory - std::min(state().memory, used_memory(context->device));
    if (kind == Kind::PINNED ? size > uint64_t(1) << 40 : size > most || up(size, ALIGNMENT) > most) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    size_t inner = up(size, PAGE);
    void* memory = mmap(nullptr, inner + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    char* pages = static_cast<char*>(memory);
    if (mprotect(pages + PAGE, inner, PROT_READ | PROT_WRITE) != 0) {
        munmap(memory, inner + 2 * PAGE);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    std::memset(pages + PAGE, 0xFF, inner);
    if (kind == Kind::DEVICE && !context->open) {
        mprotect(pages + PAGE, inner, PROT_NONE);
    }
    char* start = pages + PAGE + inner - up(size, ALIGNMENT);
    allocations()[reinterpret_cast<uintptr_t>(start)] = {start, size, pages, inner + 2 * PAGE, context, kind};
    sfeuot_host_watch(describe);
    *out = start;
    return CUDA_SUCCESS;
}

// Says where bytes beside the allocation were written. The addresses are not used again, so that later accesses are
// found too.
void release(const Allocation& allocation) {
    const char* first = allocation.pages + PAGE;
    const char* end = allocation.pages + allocation.mapped - PAGE;
    mprotect(allocation.pages + PAGE, allocation.mapped - 2 * PAGE, PROT_READ);
    for (const char* at = first; at != end; ++at) {
        bool inside = at >= allocation.start && at < allocation.start + allocation.size;
        if (inside) {
            at = allocation.start + allocation.size - 1;
        } else if (*at != '\xFF') {
            std::fprintf(stderr, "simulated GPU: the byte at %td of an allocation of %zu was written\n",
                         at - allocation.start, allocation.size);
            std::abort();
        }
    }
    constexpr int FLAGS = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    mmap(allocation.pages, allocation.mapped, PROT_NONE, FLAGS, -1, 0);
    graves().emplace_back(allocation.pages, allocation.mapped);
}

CUresult allocate_host(Call& call, size_t size, void** out) {
    TRY(refuse_in_capture());
    return allocate(call.context, size, Kind::PINNED, out);
}

}  // namespace

const Allocation* find_allocation(const void* at, size_t bytes) {
    auto address = reinterpret_cast<uintptr_t>(at);
    auto next = allocations().upper_bound(address);
    if (next == allocations().begin()) {
        return nullptr;
    }
    const Allocation& found = std::prev(next)->second;
    size_t offset = address - reinterpret_cast<uintptr_t>(found.start);
    bool holds = offset < found.size && bytes <= found.size - offset;
    return holds ? &found : nullptr;
}

uint64_t used_memory(int device) {
    uint64_t sum = 0;
    for (const auto& [_, allocation] : allocations()) {
        if (allocation.kind != Kind::PINNED && allocation.context->device == device) {
            sum += up(allocation.size, ALIGNMENT);
        }
    }
    return sum;
}

size_t live_allocations() { return allocations().size(); }

void free_memory_of(const Context* context) {
    for (auto at = allocations().begin(); at != allocations().end();) {
        if (at->second.context == context) {
            release(at->second);
            at = allocations().erase(at);
        } else {
            ++at;
        }
    }
}

static void protect(const Context& context, int protection) {
    for (const auto& [_, allocation] : allocations()) {
        if (allocation.context == &context && allocation.kind == Kind::DEVICE) {
            mprotect(allocation.pages + PAGE, allocation.mapped - 2 * PAGE, protection);
        }
    }
}

// The context of the work that runs now.
static const Context* running = nullptr;

// Nothing else lies in the pages of an allocation.
const char* refuse_to_kernels(const void* page, host::Range* bytes) {
    const auto at = static_cast<const char*>(page);
    for (const auto& [_, allocation] : allocations()) {
        if (at >= allocation.pages + PAGE && at < allocation.pages + allocation.mapped - PAGE) {
            const auto start = reinterpret_cast<uintptr_t>(allocation.start);
            *bytes = {start, start + allocation.size};
            const bool every = allocation.kind != Kind::DEVICE;
            return every || allocation.context == running ? nullptr : "touches memory of another context";
        }
    }
    const bool freed = std::any_of(graves().begin(), graves().end(), [at](const auto& grave) {
        return at >= grave.first && at < grave.first + grave.second;
    });
    return freed ? "touches memory that was freed" : "touches memory that is not the device's";
}

static std::vector<Context*>& opened() {
    static auto* list = new std::vector<Context*>;
    return *list;
}

void open_memory(Context& context) {
    running = &context;
    if (!context.open) {
        context.open = true;
        protect(context, PROT_READ | PROT_WRITE);
        opened().push_back(&context);
    }
}

void close_memory() {
    for (Context* context : opened()) {
        context->open = false;
        protect(*context, PROT_NONE);
    }
    opened().clear();
}

bool is_device(const Context& context, CUdeviceptr at, size_t bytes) {
    const Allocation* found = find_allocation(reinterpret_cast<const void*>(at), bytes);
    return found && (found->kind == Kind::MANAGED || (found->kind == Kind::DEVICE && found->context == &context));
}

bool is_known(const Context& context, const void* at) {
    const Allocation* found = find_allocation(at, 1);
    return found && (found->kind != Kind::DEVICE || found->context == &context);
}

API CUresult cuMemAlloc_v2(CUdeviceptr* out, size_t size) {
    ENTER(CONTEXT);
    TRY(refuse_in_capture());
    void* start;
    TRY(out ? allocate(call.context, size, Kind::DEVICE, &start) : CUDA_ERROR_INVALID_VALUE);
    *out = reinterpret_cast<CUdeviceptr>(start);
    return CUDA_SUCCESS;
}

API CUresult cuMemAllocManaged(CUdeviceptr* out, size_t size, unsigned flags) {
    constexpr unsigned ATTACH_GLOBAL = 1;
    ENTER(CONTEXT);
    TRY(refuse_in_capture());
    void* start;
    TRY(out && flags == ATTACH_GLOBAL ? allocate(call.context, size, Kind::MANAGED, &start) : CUDA_ERROR_INVALID_VALUE);
    *out = reinterpret_cast<CUdeviceptr>(start);
    return CUDA_SUCCESS;
}

API CUresult cuMemFree_v2(CUdeviceptr at) {
    ENTER(FAILED_CONTEXT);
    if (at == 0) {
        return CUDA_SUCCESS;
    }
    TRY(refuse_in_capture());
    const Allocation* found = find_allocation(reinterpret_cast<void*>(at), 1);
    if (!found || found->kind == Kind::PINNED || found->context != call.context ||
        found->start != reinterpret_cast<char*>(at)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    CUresult result = finish_all(*call.context);
    release(*found);
    allocations().erase(at);
    return result;
}

API CUresult cuMemHostAlloc(void** out, size_t size, unsigned) {
    ENTER(CONTEXT);
    return allocate_host(call, size, out);
}

API CUresult cuMemAllocHost_v2(void** out, size_t size) {
    ENTER(CONTEXT);
    return allocate_host(call, size, out);
}

// Does not wait for copies that are still queued, as the real one does not promise to: they end the process.
API CUresult cuMemFreeHost(void* at) {
    ENTER(FAILED_CONTEXT);
    TRY(refuse_in_capture());
    const Allocation* found = find_allocation(at, 1);
    if (!found || found->kind != Kind::PINNED || found->start != at) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    release(*found);
    allocations().erase(reinterpret_cast<uintptr_t>(at));
    return call.context->error;
}

API CUresult cuMemGetInfo_v2(size_t* free, size_t* total) {
    ENTER(CONTEXT);
    uint64_t used = used_memory(call.context->device);
    *free = used < call.s.memory ? call.s.memory - used : 0;
    *total = call.s.memory;
    return CUDA_SUCCESS;
}

API CUresult cuMemGetAddressRange_v2(CUdeviceptr* base, size_t* size, CUdeviceptr at) {
    ENTER(CONTEXT);
    const Allocation* found = find_allocation(reinterpret_cast<void*>(at), 1);
    if (!found) {
        return CUDA_ERROR_NOT_FOUND;
    }
    if (base) {
        *base = reinterpret_cast<CUdeviceptr>(found->start);
    }
    if (size) {
        *size = found->size;
    }
    return CUDA_SUCCESS;
}
