#include "control.h"

#include <algorithm>
#include <new>

#include "../watch.h"
#include "capture.h"
#include "memory.h"

namespace {

std::unique_lock<std::mutex> hold() { return std::unique_lock<std::mutex>(state().mutex); }

}  // namespace

void sfeuot_sim_set_memory(uint64_t bytes) {
    auto held = hold();
    state().memory = bytes;
    state().memory_is_set = true;
}

void sfeuot_sim_fail_next(const char* function, int code) {
    auto held = hold();
    state().failures[function] = {static_cast<CUresult>(code), 0};
}

void sfeuot_sim_fail_after(const char* function, int calls, int code) {
    auto held = hold();
    state().failures[function] = {static_cast<CUresult>(code), calls};
}

int sfeuot_sim_forget_failures() {
    auto held = hold();
    auto left = static_cast<int>(state().failures.size());
    state().failures.clear();
    return left;
}

uint64_t sfeuot_sim_launches() {
    auto held = hold();
    return state().launches;
}

uint64_t sfeuot_sim_to_host() {
    auto held = hold();
    return state().to_host;
}

uint64_t sfeuot_sim_live() {
    auto held = hold();
    const State& s = state();
    return live_allocations() + s.streams.size() + s.events.size() + s.modules.size() + s.graphs.size() +
           s.programs.size() + static_cast<uint64_t>(s.others);
}

int sfeuot_sim_synchronisations() {
    auto held = hold();
    return state().synchronisations;
}

int sfeuot_sim_enqueue(void* handle, int (*run)(const void*), const void* data, size_t size) {
    ENTER(CONTEXT);
    Stream* stream;
    TRY(find_stream(call, static_cast<CUstream>(handle), &stream));
    // Aligned for whatever it holds.
    std::shared_ptr<void> copy(::operator new(size), [](void* memory) { ::operator delete(memory); });
    std::copy_n(static_cast<const char*>(data), size, static_cast<char*>(copy.get()));
    return submit(*stream, NODE_KERNEL, "a product", [copy, run] {
        ++state().launches;
        return static_cast<CUresult>(run(copy.get()));
    });
}

int sfeuot_sim_is_device(const void* at, size_t bytes) {
    auto held = hold();
    const Context* context = current_context();
    return context && is_device(*context, reinterpret_cast<CUdeviceptr>(at), bytes);
}

void sfeuot_sim_touch(const void* at, size_t bytes, int write) { sfeuot_host_touch(at, bytes, write != 0); }

int sfeuot_sim_refuse_in_capture() {
    auto held = hold();
    return refuse_in_capture();
}

int sfeuot_sim_failure(const char* function) {
    auto held = hold();
    return injected(state(), function);
}

void sfeuot_sim_count(int more) {
    auto held = hold();
    state().others += more;
}
