/* Threads, and what they wait for, on POSIX systems and on Windows. */
#ifndef EXAMPLES_THREAD_H
#define EXAMPLES_THREAD_H

#include <stdbool.h>

#ifdef _WIN32
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <pthread.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum { MOST_THREADS = 64 };

/* A thread. It stays where it is in memory until it is joined. */
typedef struct {
    void (*body)(void *argument);
    void *argument;
#ifdef _WIN32
    HANDLE handle;
#else
    pthread_t handle;
#endif
} Thread;

/* A lock, and the wish of those who wait inside it to hear of a change. */
typedef struct {
#ifdef _WIN32
    SRWLOCK lock;
    CONDITION_VARIABLE changed;
#else
    pthread_mutex_t lock;
    pthread_cond_t changed;
#endif
} Monitor;

/* Calls body(argument) on a thread, which no signal interrupts. Returns false where the system starts no more threads. */
bool thread_start(Thread *thread, void (*body)(void *argument), void *argument);

/* Returns when the thread has ended. */
void thread_join(Thread *thread);

/* Returns false where the system has no memory for it. */
bool monitor_create(Monitor *monitor);
void monitor_free(Monitor *monitor);

/* One thread at a time is between these two. */
void monitor_enter(Monitor *monitor);
void monitor_leave(Monitor *monitor);

/* Leaves, waits for a change, and enters again. It may return without one, so ask again for what was waited for. */
void monitor_wait(Monitor *monitor);

/* Tells all who wait. */
void monitor_wake(Monitor *monitor);

#ifdef __cplusplus
}
#endif

#endif
