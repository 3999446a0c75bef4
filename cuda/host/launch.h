// Launches of kernels, whose parameters only a template knows.
#pragma once

#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "kernels.h"
#include "machine.h"

namespace host {

// Takes an access out of bounds for the kernel's that runs, and says so.
void watch_signals();

// Runs `kernel` as cuLaunchKernel would; the text says what is wrong, null for nothing.
template <class... P, size_t... I>
const char* launch(const char* name, unsigned max_threads, void (*kernel)(P...), const unsigned* geometry,
                   uint64_t seed, void** arguments, const size_t* sizes, size_t count, std::index_sequence<I...>) {
    static thread_local std::string text;
    const size_t expected[] = {sizeof(P)..., 0};
    bool fit = count == sizeof...(P);
    for (size_t i = 0; fit && i < count; ++i) {
        fit = sizes[i] == expected[i];
    }
    if (!fit) {
        text = std::string(name) + ": the arguments differ from the parameters in number or size";
        return text.c_str();
    }
    struct Closure {
        void (*kernel)(P...);
        std::tuple<P...> values;
    } closure = {kernel, {*static_cast<P*>(arguments[I])...}};
    machine.entry = [](void* at) {
        auto& closure = *static_cast<Closure*>(at);
        std::apply(closure.kernel, closure.values);
    };
    machine.closure = &closure;
    machine.closure_size = sizeof closure;
    machine.fault.clear();
    machine.kernel = name;
    grid_extent = {geometry[0], geometry[1], geometry[2]};
    block_extent = {geometry[3], geometry[4], geometry[5]};
    watch_signals();
    machine.run(max_threads, seed);
    machine.kernel = nullptr;
    text = machine.fault;
    return text.empty() ? nullptr : text.c_str();
}

// Where a device finds each argument: one after another, each at a multiple of its alignment.
template <class... P>
Parameters parameters_of(void (*)(P...)) {
    static const size_t sizes[] = {sizeof(P)..., 0}, alignments[] = {alignof(P)..., 0};
    static const bool pointers[] = {std::is_pointer<P>::value..., false};
    static const struct Offsets {
        size_t at[sizeof...(P) + 1] = {};
        Offsets() {
            for (size_t i = 1; i < sizeof...(P); ++i) {
                size_t end = at[i - 1] + sizes[i - 1];
                at[i] = (end + alignments[i] - 1) / alignments[i] * alignments[i];
            }
        }
    } offsets;
    return {sizes, offsets.at, pointers, sizeof...(P)};
}

}  // namespace host
