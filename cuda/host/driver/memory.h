// Device memory, which the host may touch only while a task runs, managed memory, and pinned host memory.
#pragma once

#include "../watch.h"
#include "state.h"

enum class Kind { DEVICE, MANAGED, PINNED };

struct Allocation {
    char* start;
    size_t size;
    // The mapping: a guard page, whole pages, a guard page.
    char* pages;
    size_t mapped;
    Context* context;
    Kind kind;
};

// The allocation that holds all the bytes (one at least), or null.
const Allocation* find_allocation(const void* at, size_t bytes);

// Bytes of device memory in use.
uint64_t used_memory(int device);

size_t live_allocations();

// Frees what belongs to a context.
void free_memory_of(const Context* context);

// Lets the host touch the context's device memory, until close_memory.
void open_memory(Context& context);
void close_memory();

// Whether the bytes are device memory of the context, or managed.
bool is_device(const Context& context, CUdeviceptr at, size_t bytes);

// Why the kernels of the task that runs may not touch this page; null where they may, and then the bytes of the
// allocation there.
const char* refuse_to_kernels(const void* page, host::Range* bytes);

// Whether kernels of the context may touch the byte: device memory of its own, managed, or pinned.
bool is_known(const Context& context, const void* at);
