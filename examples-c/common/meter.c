#define _POSIX_C_SOURCE 200809L /* isatty and fileno */

#include "meter.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>

#ifdef _WIN32
#include <io.h>
#define isatty _isatty
#define fileno _fileno
#else
#include <unistd.h>
#endif

typedef struct {
    const char *label;
    uint64_t first, steps;
    bool terminal;
} Meter;

/*
 * A signal handler may do next to nothing safely, and calling into a library is not part of it: it raises this flag,
 * and the progress callback, on the thread that trains, turns the flag into SFEUOT_STOP.
 */
static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    interrupted = 1;
    signal(signal_number, SIG_DFL);
}

static void draw(const Meter *meter, const SfeuotMetrics *metrics)
{
    enum { WIDTH = 24 };
    uint64_t done = metrics->step - meter->first;
    char bar[WIDTH + 1];
    for (int i = 0; i < WIDTH; i++) {
        bar[i] = (uint64_t)i * meter->steps < done * WIDTH ? '#' : '.';
    }
    bar[WIDTH] = '\0';
    /* The line ends in spaces so that a shorter one covers the longer one before it. */
    fprintf(stderr, "%s%s [%s] %3.0f %%  dual %.5g  %.0f steps/s%s", meter->terminal ? "\r" : "", meter->label, bar,
            100.0 * (double)done / (double)meter->steps, metrics->dual, metrics->steps_per_second,
            meter->terminal ? "      " : "");
    fflush(stderr);
}

static int32_t on_progress(void *userdata, const SfeuotMetrics *metrics)
{
    const Meter *meter = userdata;
    if (meter->terminal) {
        draw(meter, metrics);
    }
    return interrupted ? SFEUOT_STOP : SFEUOT_CONTINUE;
}

int32_t train_with_meter(SfeuotTrainer *trainer, uint64_t steps, const char *label)
{
    Meter meter = {label, 0, steps, isatty(fileno(stderr)) != 0};
    SfeuotMetrics metrics;
    int32_t status = sfeuot_metrics_init(&metrics);
    if (status == SFEUOT_OK) {
        status = sfeuot_trainer_metrics(trainer, &metrics);
    }
    if (status != SFEUOT_OK) {
        return status;
    }
    meter.first = metrics.step;

    interrupted = 0;
    void (*previous)(int) = signal(SIGINT, on_interrupt);
    /* Often enough for a smooth line and a prompt answer to Ctrl-C, rarely enough to cost nothing. */
    uint64_t every = steps < 1000 ? steps / 100 + 1 : 10;
    status = sfeuot_trainer_run(trainer, steps, every, on_progress, &meter, &metrics);
    signal(SIGINT, previous == SIG_ERR ? SIG_DFL : previous);
    if (status == SFEUOT_OK) {
        draw(&meter, &metrics);
    }
    if (status == SFEUOT_OK || meter.terminal) {
        fputc('\n', stderr);
    }
    return status;
}
