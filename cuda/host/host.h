// Compiles the kernels as C++ and runs them on the host, for tests where there is no GPU.
//
// The blocks of a grid run one after another. The threads of a block are fibres: each runs until it meets a barrier, a
// warp's exchange or its end, then the next one goes on, in an order that a seed shuffles anew at every turn; some warps
// fall behind the others for a while. A kernel that lacks a barrier therefore gives different results for different
// seeds. Shared memory is filled with NaN before every block, lies between canaries, and is counted. Barriers that not
// all threads of a block (or a warp) reach are found, as nothing can go on. One launch at a time: the caller holds a
// lock.
#pragma once

#include "fibre.h"

#include <sys/mman.h>

#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <tuple>
#include <unistd.h>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define __global__
#define __device__
#define __launch_bounds__(...)

struct uint3 {
    unsigned x, y, z;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace host {

constexpr size_t PAGE = 4096, STACK = 32 * PAGE, GUARD = 256, SHARED_LIMIT = 48 * 1024;

// Threads that wait for each other.
struct Barrier {
    unsigned generation = 0, arrived = 0;
};

struct Warp {
    Barrier barrier;
    // Two sets, in turn: nobody writes a set before all have read it.
    uint64_t slots[2][32];
    bool asleep = false;
};

struct Fibre {
    Continuation continuation;
    char* stack = nullptr;
    uint3 place;
    unsigned number;
    const Barrier* waits_for;
    unsigned generation;
    bool done;
};

// One array of shared memory, known by where it is declared.
struct Slot {
    std::vector<unsigned char> bytes;
    uint64_t block = 0;
    const char* name = "";
};

struct Machine {
    uint3 grid, block, block_place;
    unsigned threads = 0;
    Fibre* current = nullptr;
    Continuation scheduler;
    std::vector<Fibre> fibres;
    std::vector<Warp> warps;
    Barrier barrier;
    std::vector<Slot*> live;
    std::vector<unsigned> order;
    uint64_t block_number = 0, random = 0;
    size_t shared = 0;
    const char* kernel = nullptr;
    std::string fault;
    void (*entry)(void*) = nullptr;
    void* closure = nullptr;
#if defined(__SANITIZE_ADDRESS__)
    const void* scheduler_stack = nullptr;
    size_t scheduler_size = 0;
#endif

    unsigned below(unsigned n) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        return static_cast<unsigned>((random >> 33) % n);
    }

    void enter(Fibre& fibre) {
        current = &fibre;
#if defined(__SANITIZE_ADDRESS__)
        void* fake = nullptr;
        __sanitizer_start_switch_fiber(&fake, fibre.stack, STACK);
#endif
        scheduler.switch_to(fibre.continuation);
#if defined(__SANITIZE_ADDRESS__)
        __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
        current = nullptr;
    }

    // Back to the scheduler; returns when the fibre is entered again.
    void leave() {
#if defined(__SANITIZE_ADDRESS__)
        void* fake = nullptr;
        __sanitizer_start_switch_fiber(current->done ? nullptr : &fake, scheduler_stack, scheduler_size);
#endif
        current->continuation.switch_to(scheduler);
#if defined(__SANITIZE_ADDRESS__)
        __sanitizer_finish_switch_fiber(fake, &scheduler_stack, &scheduler_size);
#endif
    }

    // The last of `expected` to arrive lets all go on.
    void meet(Barrier& at, unsigned expected) {
        current->waits_for = &at;
        current->generation = at.generation;
        if (++at.arrived == expected) {
            at.arrived = 0;
            ++at.generation;
        }
        leave();
        current->waits_for = nullptr;
    }

    static void start();

    void prepare(unsigned n) {
        threads = n;
        while (fibres.size() < n) {
            fibres.emplace_back();
            Fibre& fibre = fibres.back();
            void* memory = mmap(nullptr, STACK + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (memory == MAP_FAILED || mprotect(memory, PAGE, PROT_NONE) != 0) {
                std::abort();
            }
            fibre.stack = static_cast<char*>(memory) + PAGE;
        }
        warps.assign((n + 31) / 32, Warp());
    }

    // Runs every fibre that can go on, in the shuffled order; those of sleeping warps only where `all`.
    bool turn(unsigned& left, bool all) {
        bool moved = false;
        for (unsigned i : order) {
            Fibre& fibre = fibres[i];
            bool waits = fibre.waits_for && fibre.waits_for->generation == fibre.generation;
            if (fibre.done || waits || (warps[i / 32].asleep && !all)) {
                continue;
            }
            enter(fibre);
            moved = true;
            left -= fibre.done ? 1 : 0;
        }
        return moved;
    }

    bool run_block() {
        ++block_number;
        shared = 0;
        live.clear();
        barrier = Barrier();
        order.resize(threads);
        for (unsigned i = 0; i < threads; ++i) {
            Fibre& fibre = fibres[i];
            fibre.continuation.aim(fibre.stack, STACK, &Machine::start);
            fibre.place = {i % block.x, i / block.x % block.y, i / block.x / block.y};
            fibre.number = i;
            fibre.waits_for = nullptr;
            fibre.done = false;
            order[i] = i;
        }
        for (unsigned left = threads; left > 0;) {
            for (unsigned i = threads; i > 1; --i) {
                std::swap(order[i - 1], order[below(i)]);
            }
            // Some warps hang back for a while, so that others run far ahead of them.
            if (below(8) == 0) {
                for (Warp& warp : warps) {
                    warp.asleep = below(2) == 0;
                }
            }
            bool moved = turn(left, false) || turn(left, true);
            if (!moved) {
                return fail("a barrier or a warp's exchange is not reached by all threads");
            }
        }
        for (Slot* slot : live) {
            size_t size = slot->bytes.size();
            for (size_t i = 0; i < GUARD; ++i) {
                if (slot->bytes[i] != 0xFF || slot->bytes[size - 1 - i] != 0xFF) {
                    return fail((std::string("writes outside the shared array ") + slot->name).c_str());
                }
            }
        }
        return true;
    }

    bool fail(const char* what) {
        if (fault.empty()) {
            fault = std::string(kernel) + ", block (" + std::to_string(block_place.x) + ", " +
                    std::to_string(block_place.y) + ", " + std::to_string(block_place.z) + "): " + what;
        }
        return false;
    }

    void run() {
        for (unsigned z = 0; z < grid.z; ++z) {
            for (unsigned y = 0; y < grid.y; ++y) {
                for (unsigned x = 0; x < grid.x; ++x) {
                    block_place = {x, y, z};
                    if (!run_block() || !fault.empty()) {
                        return;
                    }
                }
            }
        }
    }
};

inline Machine machine;

inline void Machine::start() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &machine.scheduler_stack, &machine.scheduler_size);
#endif
    machine.entry(machine.closure);
    machine.current->done = true;
    machine.leave();
}

inline void* shared(Slot& slot, size_t size, const char* name) {
    if (slot.block != machine.block_number) {
        slot.block = machine.block_number;
        slot.name = name;
        // All bits set: a NaN in every float format.
        slot.bytes.assign(size + 2 * GUARD, 0xFF);
        machine.live.push_back(&slot);
        machine.shared += size;
        if (machine.shared > SHARED_LIMIT) {
            machine.fail("takes more than 48 KiB of shared memory");
        }
    }
    return slot.bytes.data() + GUARD;
}

// What lane `from` of the warp holds.
template <class T>
T exchange(T x, unsigned from) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "a warp exchanges up to 8 bytes");
    if (machine.threads % 32 != 0) {
        machine.fail("exchanges within a warp, but the block is not of whole warps");
        return x;
    }
    Warp& warp = machine.warps[machine.current->number / 32];
    uint64_t* slots = warp.slots[warp.barrier.generation % 2];
    std::memcpy(&slots[machine.current->number % 32], &x, sizeof(T));
    machine.meet(warp.barrier, 32);
    std::memcpy(&x, &slots[from % 32], sizeof(T));
    return x;
}

// What lies at an address that no kernel was at when it was touched, for the last words; null where nothing is known.
inline const char* (*describe)(const void*) = nullptr;

// A load or store that hits a guard page: says who did it, then ends the process.
inline void report_fault(int signal, siginfo_t* info, void*) {
    static char text[256];
    int n = 0;
    if (machine.kernel != nullptr && machine.current != nullptr) {
        n = std::snprintf(text, sizeof text, "kernel %s, block (%u, %u, %u), thread (%u, %u, %u): access out of bounds\n",
                          machine.kernel, machine.block_place.x, machine.block_place.y, machine.block_place.z,
                          machine.current->place.x, machine.current->place.y, machine.current->place.z);
    } else if (const char* what = describe ? describe(info->si_addr) : nullptr) {
        n = std::snprintf(text, sizeof text, "the host touches %p: %s\n", info->si_addr, what);
    }
    if (write(2, text, static_cast<size_t>(n)) < 0) {
        std::_Exit(1);
    }
    std::signal(signal, SIG_DFL);
}

// From the first call on, accesses out of bounds are reported.
inline void watch() {
    static const bool once = [] {
        for (int signal : {SIGSEGV, SIGBUS}) {
            struct sigaction action = {};
            action.sa_sigaction = report_fault;
            action.sa_flags = SA_ONSTACK | SA_SIGINFO;
            sigaction(signal, &action, nullptr);
        }
        return true;
    }();
    (void)once;
}

// Runs `kernel` as cuLaunchKernel would; the text says what is wrong, null for nothing.
template <class... P, size_t... I>
const char* launch(const char* name, void (*kernel)(P...), const unsigned* geometry, uint64_t seed, void** arguments,
                   const size_t* sizes, size_t count, std::index_sequence<I...>) {
    static thread_local std::string text;
    machine.fault.clear();
    machine.kernel = name;
    const size_t expected[] = {sizeof(P)..., 0};
    bool fit = count == sizeof...(P);
    for (size_t i = 0; fit && i < count; ++i) {
        fit = sizes[i] == expected[i];
    }
    if (!fit) {
        text = std::string(name) + ": the arguments differ from the parameters in number or size";
        return text.c_str();
    }
    std::tuple<P...> values(*static_cast<P*>(arguments[I])...);
    auto body = [kernel, &values] { std::apply(kernel, values); };
    machine.entry = [](void* closure) { (*static_cast<decltype(body)*>(closure))(); };
    machine.closure = &body;
    machine.grid = {geometry[0], geometry[1], geometry[2]};
    machine.block = {geometry[3], geometry[4], geometry[5]};
    machine.random = seed;
    machine.prepare(geometry[3] * geometry[4] * geometry[5]);
    watch();
    machine.run();
    machine.kernel = nullptr;
    text = machine.fault;
    return text.empty() ? nullptr : text.c_str();
}

}  // namespace host

#define threadIdx (host::machine.current->place)
#define blockIdx (host::machine.block_place)
#define blockDim (host::machine.block)
#define gridDim (host::machine.grid)

#define SHARED(type, name, count)   \
    static host::Slot name##_slot; \
    type* const name = static_cast<type*>(host::shared(name##_slot, sizeof(type) * (count), #name))

inline void __syncthreads() { host::machine.meet(host::machine.barrier, host::machine.threads); }
inline void __syncwarp() { host::exchange(0, 0); }

template <class T>
T __shfl_xor_sync(unsigned, T x, unsigned hop) {
    return host::exchange(x, host::machine.current->number ^ hop);
}
template <class T>
T __shfl_sync(unsigned, T x, unsigned lane) {
    return host::exchange(x, lane);
}

inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __uint2float_rn(unsigned a) { return static_cast<float>(a); }
inline float __int2float_rn(int a) { return static_cast<float>(a); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((uint64_t(a) * b) >> 32); }
namespace host {
inline double cos_half_turns(double x) { return std::cos(3.14159265358979323846264338328 * x); }
}  // namespace host
// A macro, because newer C libraries have a function of this name.
#define cospi host::cos_half_turns
inline unsigned __float_as_uint(float a) {
    unsigned bits;
    std::memcpy(&bits, &a, sizeof bits);
    return bits;
}
inline float __uint_as_float(unsigned bits) {
    float a;
    std::memcpy(&a, &bits, sizeof a);
    return a;
}
