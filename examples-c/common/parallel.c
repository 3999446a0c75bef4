#include "parallel.h"

#include <stdio.h>

#include "thread.h"

typedef struct {
    ParallelBody *body;
    void *userdata;
    size_t count;
    Monitor monitor; /* of those below */
    size_t next;
    bool failed;
} Work;

static void do_share(void *argument)
{
    Work *work = argument;
    monitor_enter(&work->monitor);
    while (!work->failed && work->next < work->count) {
        size_t i = work->next++;
        monitor_leave(&work->monitor);
        bool succeeded = work->body(work->userdata, i);
        monitor_enter(&work->monitor);
        work->failed |= !succeeded;
    }
    monitor_leave(&work->monitor);
}

bool parallel_for(size_t count, uint32_t threads, ParallelBody *body, void *userdata)
{
    Work work = {.body = body, .userdata = userdata, .count = count};
    Thread others[MOST_THREADS];
    uint32_t started = 0;
    if (!monitor_create(&work.monitor)) {
        fputs("There is no memory for a lock between threads.\n", stderr);
        return false;
    }
    /* Where no more threads are to be had, fewer do the work. */
    while (started + 1 < threads && started < MOST_THREADS && started + 1 < count &&
           thread_start(&others[started], do_share, &work)) {
        started++;
    }
    do_share(&work);
    while (started > 0) {
        thread_join(&others[--started]);
    }
    monitor_free(&work.monitor);
    return !work.failed;
}
