// The machine that runs a launch on the host: blocks, their threads as fibres, and what these wait for each other at.
#pragma once

#include "fibre.h"
#include "host.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace host __attribute__((visibility("hidden"))) {

constexpr size_t PAGE = 4096, STACK = 32 * PAGE, GUARD = 256, SHARED_LIMIT = 48 * 1024;
// Blocks that may run at the same time.
constexpr unsigned RESIDENT = 2;

// Threads that wait for each other at one place of the kernel.
struct Barrier {
    unsigned generation = 0, arrived = 0;
    const void* site = nullptr;
};

// What a lane lays down for others: a number, or its parts of two operands (mma.cpp).
struct Fragment {
    uint32_t words[6];
};

// Lanes that exchange numbers under one mask.
struct Exchange {
    unsigned mask;
    Barrier barrier;
    // Two sets, in turn: nobody writes a set before all have read it.
    Fragment slots[2][32];
};

struct Warp {
    // By mask; a deque, as lanes wait for what is in it.
    std::deque<Exchange> exchanges;
    bool asleep = false;
};

struct Block;

struct Fibre {
    Continuation continuation;
    char* stack = nullptr;
    Place place;
    Block* block;
    const Warp* warp;
    unsigned number;
    // The thread, and above it how often its warp has met at __syncwarp: what the watch knows it by.
    uint32_t who;
    const Barrier* waits_for;
    unsigned generation;
    bool done;
};

// One that runs now.
struct Block {
    unsigned index;
    // Since the last barrier; no two phases of any blocks have the same number.
    uint32_t phase;
    // Different for all blocks that ever ran.
    uint64_t id;
    Barrier barrier;
    std::vector<Fibre> fibres;
    std::vector<Warp> warps;
    std::vector<SharedArray*> live;
    size_t shared;
};

struct Machine {
    // Null where the scheduler runs.
    Fibre* current = nullptr;
    const char* kernel = nullptr;
    std::string fault;
    unsigned threads = 0;
    void (*entry)(void*) = nullptr;
    // The kernel with its arguments, which lie in memory of the launcher.
    void* closure = nullptr;
    size_t closure_size = 0;

    // Runs the launch that `entry`, `kernel` and the extents tell; the fault is empty where there is none.
    void run(unsigned max_threads, uint64_t seed);

    // Keeps the first fault.
    void fail(const std::string& what);

    // The same for a thread that cannot go on.
    [[noreturn]] void stop(const std::string& what);

    void barrier(const void* site);
    // What each lane in `mask` holds, until its next exchange.
    const Fragment* gather(const void* site, unsigned mask, const Fragment& mine);
    uint64_t exchange(const void* site, unsigned mask, uint64_t x, unsigned from);
    unsigned char* shared(SharedArray& array, size_t size, const char* name);

private:
    Continuation scheduler;
    Block blocks[RESIDENT];
    std::vector<Fibre*> order;
    uint64_t random = 0, ids = 0;
#if defined(__SANITIZE_ADDRESS__)
    const void* scheduler_stack = nullptr;
    size_t scheduler_size = 0;
#endif

    unsigned below(unsigned n);
    void enter(Fibre& fibre);
    void leave();
    void meet(Barrier& at, unsigned expected, const void* site);
    bool turn(unsigned& left, bool all);
    void begin(Block& block, unsigned resident, uint3 place, unsigned index);
    void run_blocks(unsigned count);
    void check_guards(const Block& block);
    static void start();
};

extern Machine machine;

}  // namespace host
