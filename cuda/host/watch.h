// Watches every load and store of the kernels, where they were compiled to tell (the strict build): who reads or writes
// what another thread writes with nothing between them, who reaches for memory that is not the device's, and what a
// launch touches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace host __attribute__((visibility("hidden"))) {

// What a thread's number has room for, and where it counts the meetings of its warp.
constexpr uint32_t WARP_MEETING = 1u << 10, WHO_BITS = (1u << 26) - 1;

// From the machine: a launch begins, and ends; a thread goes on; pages that hold shared memory.
void watch_launch();
void watch_end();
void watch_thread();
void watch_shared(const void* pages, size_t bytes);

// The number of what a block does until its next barrier.
uint32_t next_phase(unsigned block);

}  // namespace host

namespace host {

// Bytes from `first` up to `end`.
struct Range {
    uintptr_t first, end;
};

struct Touched {
    std::vector<Range> reads, writes;
};

}  // namespace host

// Why a kernel may not touch this page; null where it may, and then the bytes around there that it may touch. For the
// launches of this thread from now on; null allows all.
using Refuse = const char* (*)(const void*, host::Range*);
extern "C" void sfeuot_host_refuse(Refuse refuse);

// Whether loads and stores are watched.
extern "C" bool sfeuot_host_watches();

// From here to the end, this thread's kernels record what they touch in global memory; others tell it by
// sfeuot_host_touch, without an effect where nothing records. Ranges are sorted, and no two of a list overlap.
extern "C" void sfeuot_host_record();
extern "C" void sfeuot_host_touch(const void* at, size_t bytes, bool write);
extern "C" void sfeuot_host_recorded(host::Touched* out);
