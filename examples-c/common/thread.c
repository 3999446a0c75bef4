#define _POSIX_C_SOURCE 200809L /* pthread_sigmask */

#include "thread.h"

#include <stddef.h>

#ifdef _WIN32

#include <process.h>
#include <stdint.h>

static unsigned __stdcall begin(void *argument)
{
    const Thread *thread = argument;
    thread->body(thread->argument);
    return 0;
}

bool thread_start(Thread *thread, void (*body)(void *argument), void *argument)
{
    thread->body = body;
    thread->argument = argument;
    thread->handle = (HANDLE)_beginthreadex(NULL, 0, begin, thread, 0, NULL);
    return thread->handle != NULL;
}

void thread_join(Thread *thread)
{
    WaitForSingleObject(thread->handle, INFINITE);
    CloseHandle(thread->handle);
}

bool monitor_create(Monitor *monitor)
{
    InitializeSRWLock(&monitor->lock);
    InitializeConditionVariable(&monitor->changed);
    return true;
}

void monitor_free(Monitor *monitor)
{
    (void)monitor; /* it holds nothing of the system's */
}

void monitor_enter(Monitor *monitor)
{
    AcquireSRWLockExclusive(&monitor->lock);
}

void monitor_leave(Monitor *monitor)
{
    ReleaseSRWLockExclusive(&monitor->lock);
}

void monitor_wait(Monitor *monitor)
{
    SleepConditionVariableSRW(&monitor->changed, &monitor->lock, INFINITE, 0);
}

void monitor_wake(Monitor *monitor)
{
    WakeAllConditionVariable(&monitor->changed);
}

#else

#include <signal.h>

static void *begin(void *argument)
{
    const Thread *thread = argument;
    thread->body(thread->argument);
    return NULL;
}

bool thread_start(Thread *thread, void (*body)(void *argument), void *argument)
{
    sigset_t all, before;
    thread->body = body;
    thread->argument = argument;
    /* A thread has the mask of the one that starts it. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&thread->handle, NULL, begin, thread) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

void thread_join(Thread *thread)
{
    pthread_join(thread->handle, NULL);
}

bool monitor_create(Monitor *monitor)
{
    if (pthread_mutex_init(&monitor->lock, NULL) != 0) {
        return false;
    }
    if (pthread_cond_init(&monitor->changed, NULL) != 0) {
        pthread_mutex_destroy(&monitor->lock);
        return false;
    }
    return true;
}

void monitor_free(Monitor *monitor)
{
    pthread_cond_destroy(&monitor->changed);
    pthread_mutex_destroy(&monitor->lock);
}

void monitor_enter(Monitor *monitor)
{
    pthread_mutex_lock(&monitor->lock);
}

void monitor_leave(Monitor *monitor)
{
    pthread_mutex_unlock(&monitor->lock);
}

void monitor_wait(Monitor *monitor)
{
    pthread_cond_wait(&monitor->changed, &monitor->lock);
}

void monitor_wake(Monitor *monitor)
{
    pthread_cond_broadcast(&monitor->changed);
}

#endif
