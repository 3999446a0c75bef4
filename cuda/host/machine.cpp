#include "machine.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <numeric>
#include <utility>

#include "watch.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace host {

Machine machine;
Place place;
uint3 block_extent, grid_extent;

// One array for each block that runs at the same time, in pages of its own.
struct SharedMemory {
    unsigned char* bytes = nullptr;
    size_t room = 0, size = 0;
    uint64_t block = 0;
    const char* name = "";
};

static unsigned char* map(size_t bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        std::abort();
    }
    return static_cast<unsigned char*>(memory);
}

static std::string text_of(const uint3& x) {
    return "(" + std::to_string(x.x) + ", " + std::to_string(x.y) + ", " + std::to_string(x.z) + ")";
}

inline unsigned Machine::below(unsigned n) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    return static_cast<unsigned>((random >> 32) * n >> 32);
}

inline void Machine::enter(Fibre& fibre) {
    current = &fibre;
    place = fibre.place;
    watch_thread();
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
inline void Machine::leave() {
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(current->done ? nullptr : &fake, scheduler_stack, scheduler_size);
#endif
    current->continuation.switch_to(scheduler);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, &scheduler_stack, &scheduler_size);
#endif
}

void Machine::start() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &machine.scheduler_stack, &machine.scheduler_size);
#endif
    machine.entry(machine.closure);
    machine.current->done = true;
    machine.leave();
}

void Machine::fail(const std::string& what) {
    if (fault.empty()) {
        fault = kernel;
        if (current != nullptr) {
            fault += ", block " + text_of(current->place.block) + ", thread " + text_of(current->place.thread);
        }
        fault += ": " + what;
    }
}

void Machine::stop(const std::string& what) {
    fail(what);
    // The scheduler ends the launch; nobody comes back.
    leave();
    std::abort();
}

// The last of `expected` to arrive lets all go on.
inline void Machine::meet(Barrier& at, unsigned expected, const void* site) {
    current->waits_for = &at;
    current->generation = at.generation;
    at.site = site;
    if (++at.arrived == expected) {
        at.arrived = 0;
        ++at.generation;
    }
    leave();
    current->waits_for = nullptr;
}

void Machine::barrier(const void* site) {
    Block& block = *current->block;
    if (block.barrier.arrived > 0 && block.barrier.site != site) {
        stop("threads of a block are in different __syncthreads");
    }
    if (block.barrier.arrived + 1 == threads) {
        block.phase = next_phase(block.index);
    }
    meet(block.barrier, threads, site);
}

const Fragment* Machine::gather(const void* site, unsigned mask, const Fragment& own) {
    if (threads % 32 != 0) {
        stop("exchanges within a warp, but the block is not of whole warps");
    }
    const unsigned lane = current->number % 32;
    if ((mask >> lane & 1) == 0) {
        stop("a lane exchanges under a mask that it is not in");
    }
    Exchange* mine = nullptr;
    auto& all = current->block->warps[current->number / 32].exchanges;
    for (Exchange& other : all) {
        if (other.barrier.arrived > 0 && (other.mask & mask) != 0) {
            if (other.mask != mask) {
                stop("lanes of a warp exchange under different masks");
            }
            if (other.barrier.site != site) {
                stop("lanes of a warp are in different exchanges");
            }
        }
        if (other.mask == mask) {
            mine = &other;
        }
    }
    if (mine == nullptr) {
        all.emplace_back();
        mine = &all.back();
        mine->mask = mask;
    }
    Fragment* slots = mine->slots[mine->barrier.generation % 2];
    slots[lane] = own;
    const int lanes = mask == 0xFFFFFFFF ? 32 : __builtin_popcount(mask);
    meet(mine->barrier, static_cast<unsigned>(lanes), site);
    return slots;
}

uint64_t Machine::exchange(const void* site, unsigned mask, uint64_t x, unsigned from) {
    if ((mask >> (current->number % 32) & 1) != 0 && (mask >> from & 1) == 0) {
        stop("a lane reads what a lane outside its mask holds");
    }
    Fragment mine = {};
    std::memcpy(&mine, &x, sizeof x);
    std::memcpy(&x, gather(site, mask, mine) + from, sizeof x);
    return x;
}

unsigned char* Machine::shared(SharedArray& array, size_t size, const char* name) {
    Block& block = *current->block;
    SharedMemory*& memory = array.of[&block - blocks];
    if (memory == nullptr) {
        memory = new SharedMemory;
    }
    if (memory->block != block.id) {
        memory->block = block.id;
        memory->name = name;
        memory->size = size + 2 * GUARD;
        if (memory->room < memory->size) {
            memory->room = (memory->size + PAGE - 1) / PAGE * PAGE;
            memory->bytes = map(memory->room);
            watch_shared(memory->bytes, memory->room);
        }
        // All bits set: a NaN in every float format.
        std::memset(memory->bytes, 0xFF, memory->size);
        block.live.push_back(&array);
        block.shared += size;
        if (block.shared > SHARED_LIMIT) {
            stop("takes more than 48 KiB of shared memory");
        }
    }
    return memory->bytes + GUARD;
}

void Machine::check_guards(const Block& block) {
    for (const SharedArray* array : block.live) {
        const SharedMemory& memory = *array->of[&block - blocks];
        for (size_t i = 0; i < GUARD; ++i) {
            if (memory.bytes[i] != 0xFF || memory.bytes[memory.size - 1 - i] != 0xFF) {
                fail(std::string("writes outside the shared array ") + memory.name);
            }
        }
    }
}

void Machine::begin(Block& block, unsigned resident, uint3 at, unsigned index) {
    block.index = index;
    block.phase = next_phase(index);
    block.id = ++ids;
    block.shared = 0;
    block.live.clear();
    block.barrier = Barrier();
    block.warps.resize((threads + 31) / 32);
    for (Warp& warp : block.warps) {
        warp.asleep = false;
        for (Exchange& exchange : warp.exchanges) {
            exchange.barrier = Barrier();
        }
    }
    while (block.fibres.size() < threads) {
        block.fibres.emplace_back();
        char* memory = reinterpret_cast<char*>(map(STACK + PAGE));
        if (mprotect(memory, PAGE, PROT_NONE) != 0) {
            std::abort();
        }
        block.fibres.back().stack = memory + PAGE;
    }
    for (unsigned i = 0; i < threads; ++i) {
        Fibre& fibre = block.fibres[i];
        // Stacks that all ended at the same place of a page would share a few lines of the first cache.
        fibre.continuation.aim(fibre.stack, STACK - i % 16 * 256, &Machine::start);
        const unsigned row = i / block_extent.x;
        fibre.place = {{i % block_extent.x, row % block_extent.y, row / block_extent.y}, at};
        fibre.block = &block;
        fibre.warp = &block.warps[i / 32];
        fibre.number = fibre.who = i;
        fibre.waits_for = nullptr;
        fibre.done = false;
        order[resident * threads + i] = &fibre;
    }
}

// Runs every fibre that can go on, in the shuffled order; those of sleeping warps only where `all`.
bool Machine::turn(unsigned& left, bool all) {
    bool moved = false;
    for (Fibre* fibre : order) {
        bool waits = fibre->waits_for && fibre->waits_for->generation == fibre->generation;
        if (fibre->done || waits || (!all && fibre->warp->asleep)) {
            continue;
        }
        enter(*fibre);
        if (!fault.empty()) {
            return true;
        }
        moved = true;
        left -= fibre->done ? 1 : 0;
    }
    return moved;
}

// The first `count` of the resident blocks, to their ends.
void Machine::run_blocks(unsigned count) {
    for (unsigned left = count * threads; left > 0 && fault.empty();) {
        for (auto i = static_cast<unsigned>(order.size()); i > 1; --i) {
            std::swap(order[i - 1], order[below(i)]);
        }
        // Some warps hang back for a while, so that others run far ahead of them.
        if (below(8) == 0) {
            for (unsigned i = 0; i < count; ++i) {
                for (Warp& warp : blocks[i].warps) {
                    warp.asleep = below(2) == 0;
                }
            }
        }
        if (!turn(left, false) && !turn(left, true)) {
            fail("a barrier or a warp's exchange is not reached by all threads");
        }
    }
    for (unsigned i = 0; i < count; ++i) {
        check_guards(blocks[i]);
    }
}

void Machine::run(unsigned max_threads, uint64_t seed) {
    threads = block_extent.x * block_extent.y * block_extent.z;
    random = seed;
    if (threads > max_threads) {
        fail("a block of " + std::to_string(threads) + " threads, where its __launch_bounds__ allow " +
             std::to_string(max_threads));
        return;
    }
    watch_launch();
    const uint64_t total = uint64_t(grid_extent.x) * grid_extent.y * grid_extent.z;
    // A stride that has no common factor with their number meets every block once.
    uint64_t stride = below(0x7FFFFFFF) | 1, at = below(0x7FFFFFFF) % total;
    while (std::gcd(stride, total) != 1) {
        stride += 2;
    }
    for (uint64_t done = 0; done < total && fault.empty();) {
        // Now and then two of them run at the same time.
        const unsigned count = total - done > 1 && below(4) == 0 ? 2 : 1;
        order.resize(count * threads);
        for (unsigned i = 0; i < count; ++i, ++done, at = (at + stride) % total) {
            const uint64_t x = at % grid_extent.x, rest = at / grid_extent.x;
            const uint64_t y = rest % grid_extent.y, z = rest / grid_extent.y;
            begin(blocks[i], i, {unsigned(x), unsigned(y), unsigned(z)}, static_cast<unsigned>(at));
        }
        run_blocks(count);
    }
    watch_end();
}

__attribute__((noinline)) void* shared(SharedArray& array, size_t size, const char* name) {
    return machine.shared(array, size, name);
}

__attribute__((noinline)) void barrier() { machine.barrier(__builtin_return_address(0)); }

__attribute__((noinline)) uint64_t exchange(unsigned mask, uint64_t x, unsigned from) {
    return machine.exchange(__builtin_return_address(0), mask, x, from % 32);
}

__attribute__((noinline)) void meet_warp(unsigned mask) {
    machine.exchange(__builtin_return_address(0), mask, 0, machine.current->number % 32);
    uint32_t& who = machine.current->who;
    who = (who + WARP_MEETING) & WHO_BITS;
}

}  // namespace host
