// What tests, and libcublasLt.so, may ask of the simulated driver.
#pragma once

#include "api.h"

// Sets the size of the device's memory, over SFEUOT_SIM_MEMORY.
API void sfeuot_sim_set_memory(uint64_t bytes);

// Makes the next call of the function (a version at the end of its name may be left out) give the code and do nothing.
API void sfeuot_sim_fail_next(const char* function, int code);

// The same for the call after so many others.
API void sfeuot_sim_fail_after(const char* function, int calls, int code);

// Forgets the failures that no call has met; returns how many there were.
API int sfeuot_sim_forget_failures(void);

// Kernels and products that have run so far.
API uint64_t sfeuot_sim_launches(void);

// Bytes of device memory that copies have brought to the host so far.
API uint64_t sfeuot_sim_to_host(void);

// Allocations, streams, events, modules, graphs and their instances, and objects of libcublasLt.so that live now.
API uint64_t sfeuot_sim_live(void);

// Calls so far that waited for the device.
API int sfeuot_sim_synchronisations(void);

// The last graph that was instantiated: a line a node, with what it does and the numbers of the lines, from 0, that it
// comes right after. Writes as many characters as there is room for, and returns how many.
API size_t sfeuot_sim_graph(char* out, size_t room);

// For libcublasLt.so: queues `run` with a copy of `size` bytes of its data, into a capture where the stream is in one.
API int sfeuot_sim_enqueue(void* stream, int (*run)(const void* data), const void* data, size_t size);

// For libcublasLt.so: whether the bytes are device memory of the current context.
API int sfeuot_sim_is_device(const void* at, size_t bytes);

// For libcublasLt.so, while what it queued runs: it reads or writes the bytes.
API void sfeuot_sim_touch(const void* at, size_t bytes, int write);

// For libcublasLt.so: refuses, not zero, where this thread's captures forbid to load anything, and ends those.
API int sfeuot_sim_refuse_in_capture(void);

// For libcublasLt.so: the failure that a test asked for, or zero.
API int sfeuot_sim_failure(const char* function);

// For libcublasLt.so: counts its objects.
API void sfeuot_sim_count(int more);
