#include "watch.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <unordered_map>

#include "machine.h"

namespace host {

namespace {

// Readers of a word beside single threads; the first with a thread of the warp in the lower bits.
constexpr uint32_t MANY_OF_WARP = WHO_BITS + 1, MANY_THREADS = 0xFFFFFFFE, MANY_BLOCKS = 0xFFFFFFFF;
// Accesses of one thread without a barrier: more than any kernel needs, and a second or two.
constexpr uint64_t MOST_ACCESSES = uint64_t(1) << 27;

// Who touched a word last, and in which phase. Phases count up, so that those before a launch's first are of others.
struct Word {
    uint32_t written_in, writer, read_in, reader;
};

constexpr size_t WORDS = PAGE / 4;

struct Entry {
    uintptr_t page = 0;
    Word* words = nullptr;
    bool shared = false;
    // What may be touched of it.
    Range bytes = {0, UINTPTR_MAX};
};

struct Watch {
    uint32_t first_phase = 1, phase = 1;
    // By phase, from the first on.
    std::vector<unsigned> blocks;
    uint64_t accesses = 0;
    std::unordered_map<uintptr_t, Word*> pages;
    std::unordered_map<uintptr_t, bool> shared_pages;
    Entry cache[256];
    // The function that refuses, and the state of the launch that runs.
    Refuse refuse = nullptr;
    bool records = false;
    std::vector<uintptr_t> read_words, written_words;
} watch;

// A thread's own.
thread_local Refuse refuse = nullptr;
thread_local bool records = false;
thread_local Touched told;

extern "C" __attribute__((visibility("hidden"))) char __ehdr_start, _end;

// This library's constants, which a device would have in its image.
bool is_own(uintptr_t at) {
    return at >= reinterpret_cast<uintptr_t>(&__ehdr_start) && at < reinterpret_cast<uintptr_t>(&_end);
}

Entry& find(uintptr_t page) {
    Entry& entry = watch.cache[page % 256];
    if (entry.page == page) {
        return entry;
    }
    const bool shared = watch.shared_pages.count(page) != 0;
    Range bytes = {0, UINTPTR_MAX};
    const char* why =
        shared || !watch.refuse ? nullptr : watch.refuse(reinterpret_cast<const void*>(page * PAGE), &bytes);
    if (why != nullptr) {
        machine.stop(why);
    }
    Word*& words = watch.pages[page];
    if (words == nullptr) {
        words = static_cast<Word*>(std::calloc(WORDS, sizeof(Word)));
    }
    entry = {page, words, shared, bytes};
    return entry;
}

uint32_t warp_of(uint32_t who) { return who % WARP_MEETING / 32; }
uint32_t meetings_of(uint32_t who) { return (who & WHO_BITS) / WARP_MEETING; }

// Whether a warp met between what two threads of a block did in the same phase, or they are one.
bool ordered(uint32_t before, uint32_t now) {
    return before == now ||
           (warp_of(before) == warp_of(now) &&
            (meetings_of(before) != meetings_of(now) ||
             (before < MANY_OF_WARP && before % WARP_MEETING == now % WARP_MEETING)));
}

// Those who read a word in one phase.
uint32_t readers(uint32_t before, uint32_t now) {
    if (before == now || before == MANY_THREADS) {
        return before;
    }
    const bool together = warp_of(before) == warp_of(now) && meetings_of(before) == meetings_of(now);
    return together ? now | MANY_OF_WARP : ordered(before, now) ? now : MANY_THREADS;
}

[[noreturn]] void conflict(bool blocks) {
    machine.stop(blocks ? "touches memory that another block of the launch touches, and one of them writes"
                        : "touches memory that another thread touches, with no barrier between, and one of them "
                          "writes");
}

// A touch of this launch before that of a thread now. Shared memory is one block's after another's.
enum class Before { NONE, OF_BLOCK, OF_OTHERS };

Before before(uint32_t phase, uint32_t who, bool shared, const Fibre& fibre) {
    if (phase < watch.first_phase) {
        return Before::NONE;
    }
    if (who != MANY_BLOCKS && watch.blocks[phase - watch.first_phase] == fibre.block->index) {
        return Before::OF_BLOCK;
    }
    return shared ? Before::NONE : Before::OF_OTHERS;
}

// Nothing of another thread may be in the way, unless a barrier is between.
void expect_order(Before what, uint32_t phase, uint32_t who, const Fibre& fibre) {
    if (what == Before::OF_OTHERS) {
        conflict(true);
    }
    if (what == Before::OF_BLOCK && phase == fibre.block->phase && who != fibre.who &&
        (who == MANY_THREADS || !ordered(who, fibre.who))) {
        conflict(false);
    }
}

void touch_word(Word& word, uintptr_t at, bool write, bool shared, const Fibre& fibre) {
    const uint32_t phase = fibre.block->phase;
    const Before written = before(word.written_in, word.writer, shared, fibre);
    const Before read = before(word.read_in, word.reader, shared, fibre);
    expect_order(written, word.written_in, word.writer, fibre);
    const bool records = watch.records && !shared;
    if (write) {
        expect_order(read, word.read_in, word.reader, fibre);
        if (records && written == Before::NONE) {
            watch.written_words.push_back(at);
        }
        word.written_in = phase;
        word.writer = fibre.who;
        return;
    }
    if (records && read == Before::NONE) {
        watch.read_words.push_back(at);
    }
    if (read == Before::OF_OTHERS) {
        word.reader = MANY_BLOCKS;
    } else {
        const bool together = read == Before::OF_BLOCK && word.read_in == phase;
        word.reader = together ? readers(word.reader, fibre.who) : fibre.who;
        word.read_in = phase;
    }
}

// Whether a read changes nothing of what is known of a word, and no write may be in its way: as for all reads of a word
// in a phase but the first few.
bool is_known_read(const Word& word, bool shared, const Fibre& fibre) {
    const uint32_t phase = fibre.block->phase;
    const bool written_before = word.written_in < watch.first_phase || (shared && word.written_in != phase);
    const bool of_phase = word.read_in == phase && (word.reader == fibre.who || word.reader == MANY_THREADS);
    const bool of_blocks = !shared && word.reader == MANY_BLOCKS && word.read_in >= watch.first_phase;
    return written_before && (of_phase || of_blocks);
}

// Words of one page.
void touch_page(uintptr_t at, uintptr_t end, bool write, const Fibre& fibre) {
    Entry& entry = find(at / PAGE);
    if (at < entry.bytes.first || end > entry.bytes.end) {
        machine.stop("touches memory beside an allocation");
    }
    for (uintptr_t address = at & ~uintptr_t(3); address < end; address += 4) {
        Word& word = entry.words[address % PAGE / 4];
        if (write || !is_known_read(word, entry.shared, fibre)) {
            touch_word(word, address, write, entry.shared, fibre);
        }
    }
}

__attribute__((noinline)) void access_memory(uintptr_t at, size_t bytes, bool write, const Fibre& fibre) {
    if (++watch.accesses > MOST_ACCESSES) {
        machine.stop(
            "goes on and on between two barriers: blocks run one after another, so that none may wait for another");
    }
    if (!write && is_own(at)) {
        return;
    }
    for (uintptr_t from = at, end = at + bytes; from < end;) {
        const uintptr_t to = std::min(end, (from / PAGE + 1) * PAGE);
        touch_page(from, to, write, fibre);
        from = to;
    }
}

// Most accesses are to a thread's own variables; for these nothing more is called.
inline void access(const volatile void* pointer, size_t bytes, bool write) {
    const Fibre* fibre = machine.current;
    const auto at = reinterpret_cast<uintptr_t>(pointer);
    if (fibre != nullptr && at - reinterpret_cast<uintptr_t>(fibre->stack) >= STACK &&
        at - reinterpret_cast<uintptr_t>(machine.closure) >= machine.closure_size) {
        access_memory(at, bytes, write, *fibre);
    }
}

void refuse_volatile() {
    if (machine.current != nullptr) {
        machine.stop("touches volatile memory: blocks run one after another, so that none may wait for another");
    }
}

// Sorts, and makes one of those that meet.
void sort_ranges(std::vector<Range>& ranges) {
    std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
    size_t kept = 0;
    for (const Range& range : ranges) {
        if (kept > 0 && range.first <= ranges[kept - 1].end) {
            ranges[kept - 1].end = std::max(ranges[kept - 1].end, range.end);
        } else {
            ranges[kept++] = range;
        }
    }
    ranges.resize(kept);
}

void tell_words(std::vector<uintptr_t>& words, std::vector<Range>& ranges) {
    for (uintptr_t word : words) {
        ranges.push_back({word, word + 4});
    }
    words.clear();
}

}  // namespace

void watch_launch() {
    // Long before the numbers of phases come round.
    if (watch.phase > 0xE0000000) {
        for (auto& [_, words] : watch.pages) {
            std::fill_n(words, WORDS, Word{});
        }
        watch.phase = 1;
    }
    watch.first_phase = watch.phase;
    watch.refuse = refuse;
    watch.records = records;
    watch.blocks.clear();
    // What was the device's may have been freed.
    std::fill(std::begin(watch.cache), std::end(watch.cache), Entry());
}

void watch_end() {
    tell_words(watch.read_words, told.reads);
    tell_words(watch.written_words, told.writes);
}

void watch_thread() { watch.accesses = 0; }

void watch_shared(const void* pages, size_t bytes) {
    for (size_t at = 0; at < bytes; at += PAGE) {
        watch.shared_pages[(reinterpret_cast<uintptr_t>(pages) + at) / PAGE] = true;
    }
}

uint32_t next_phase(unsigned block) {
    watch.blocks.push_back(block);
    return watch.phase++;
}

}  // namespace host

extern "C" void sfeuot_host_refuse(Refuse refuse) { host::refuse = refuse; }

extern "C" void sfeuot_host_record() { host::records = true; }

extern "C" void sfeuot_host_touch(const void* at, size_t bytes, bool write) {
    if (host::records && bytes > 0) {
        const auto first = reinterpret_cast<uintptr_t>(at);
        (write ? host::told.writes : host::told.reads).push_back({first, first + bytes});
    }
}

extern "C" void sfeuot_host_recorded(host::Touched* out) {
    host::records = false;
    *out = std::move(host::told);
    host::told = {};
    host::sort_ranges(out->reads);
    host::sort_ranges(out->writes);
}

// What the compiler calls at every load and store (-fsanitize=thread). Atomic operations are not there: kernels that
// have any do not link.
#define HOOK(name, bytes)                                                                               \
    extern "C" void __tsan_read##name(void* at) { host::access(at, bytes, false); }                     \
    extern "C" void __tsan_write##name(void* at) { host::access(at, bytes, true); }                     \
    extern "C" void __tsan_unaligned_read##name(void* at) { host::access(at, bytes, false); }           \
    extern "C" void __tsan_unaligned_write##name(void* at) { host::access(at, bytes, true); }           \
    extern "C" void __tsan_volatile_read##name(void*) { host::refuse_volatile(); }                      \
    extern "C" void __tsan_volatile_write##name(void*) { host::refuse_volatile(); }                     \
    extern "C" void __tsan_unaligned_volatile_read##name(void*) { host::refuse_volatile(); }            \
    extern "C" void __tsan_unaligned_volatile_write##name(void*) { host::refuse_volatile(); }

HOOK(1, 1)
HOOK(2, 2)
HOOK(4, 4)
HOOK(8, 8)
HOOK(16, 16)

extern "C" void __tsan_read_range(void* at, size_t bytes) { host::access(at, bytes, false); }
extern "C" void __tsan_write_range(void* at, size_t bytes) { host::access(at, bytes, true); }

// What newer compilers call in place of the plain functions.
extern "C" void* __tsan_memcpy(void* to, const void* from, size_t bytes) {
    host::access(from, bytes, false);
    host::access(to, bytes, true);
    return std::memcpy(to, from, bytes);
}

extern "C" void* __tsan_memmove(void* to, const void* from, size_t bytes) {
    host::access(from, bytes, false);
    host::access(to, bytes, true);
    return std::memmove(to, from, bytes);
}

extern "C" void* __tsan_memset(void* to, int value, size_t bytes) {
    host::access(to, bytes, true);
    return std::memset(to, value, bytes);
}

extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}

// Called where an address is not a multiple of its type's alignment (-fsanitize=alignment).
struct Mismatch {
    struct {
        const char* file;
        uint32_t line, column;
    } place;
    const void* type;
    unsigned char log_alignment, kind;
};

extern "C" void __ubsan_handle_type_mismatch_v1(const Mismatch* what, uintptr_t at) {
    if (host::machine.current != nullptr) {
        const unsigned alignment = 1u << what->log_alignment;
        host::machine.stop("an address that is no multiple of " + std::to_string(alignment) + " but of " +
                           std::to_string(at & -at) + ", at line " + std::to_string(what->place.line) + " of " +
                           what->place.file);
    }
}
extern "C" void __tsan_init() {}
