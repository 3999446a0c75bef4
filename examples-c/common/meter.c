#define _POSIX_C_SOURCE 200809L /* isatty and fileno */

#include "meter.h"

#include <math.h>
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

/* "  3 min 20 s left", or nothing where nothing is left. */
static void write_time_left(double seconds, char *text, size_t size)
{
    text[0] = '\0';
    if (seconds >= 3600) {
        snprintf(text, size, "  %.0f h %02.0f min left", floor(seconds / 3600), floor(fmod(seconds, 3600) / 60));
    } else if (seconds >= 60) {
        snprintf(text, size, "  %.0f min %02.0f s left", floor(seconds / 60), floor(fmod(seconds, 60)));
    } else if (seconds > 0) {
        snprintf(text, size, "  %.0f s left", ceil(seconds));
    }
}

static void draw(const Meter *meter, const SfeuotMetrics *metrics)
{
    enum { WIDTH = 24 };
    uint64_t done = metrics->step - meter->first;
    double rate = metrics->steps_per_second;
    char bar[WIDTH + 1], left[40];
    for (int i = 0; i < WIDTH; i++) {
        bar[i] = (uint64_t)i * meter->steps < done * WIDTH ? '#' : '.';
    }
    bar[WIDTH] = '\0';
    write_time_left(rate > 0 ? (double)(meter->steps - done) / rate : 0, left, sizeof left);
    /* The line ends in spaces so that a shorter one covers the longer one before it. */
    fprintf(stderr, "%s%s [%s] %3.0f %%  dual %.5g  spread %.2f  %.*f steps/s%s%s", meter->terminal ? "\r" : "",
            meter->label, bar, 100.0 * (double)done / (double)meter->steps, metrics->dual, metrics->spread,
            rate < 10 ? 1 : 0, rate, left, meter->terminal ? "          " : "");
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

/* The steps until the next pause, by the speed of the last ones. */
static uint64_t steps_until(double seconds, double rate, uint64_t left)
{
    double steps = seconds * rate;
    return steps < 1 ? 1 : steps < (double)left ? (uint64_t)steps : left;
}

int32_t train_with_pauses(SfeuotTrainer *trainer, uint64_t steps, const char *label, double seconds, MeterPause pause,
                          void *userdata)
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
    uint64_t every = pause ? 1 : steps < 1000 ? steps / 100 + 1 : 10;
    uint64_t piece = pause ? 1 : steps, left = steps;
    while (status == SFEUOT_OK && left > 0) {
        status = sfeuot_trainer_run(trainer, piece, every, on_progress, &meter, &metrics);
        left -= piece;
        if (status == SFEUOT_OK && pause) {
            status = pause(userdata, trainer);
            piece = steps_until(seconds, metrics.steps_per_second, left);
        }
    }
    signal(SIGINT, previous == SIG_ERR ? SIG_DFL : previous);
    if (status == SFEUOT_OK) {
        draw(&meter, &metrics);
    }
    if (status == SFEUOT_OK || meter.terminal) {
        fputc('\n', stderr);
    }
    return status;
}

int32_t train_with_meter(SfeuotTrainer *trainer, uint64_t steps, const char *label)
{
    return train_with_pauses(trainer, steps, label, 0, NULL, NULL);
}
