/* A process that forks, as hosts in Python do: the child works with what it inherited and with objects of its own, and
 * never waits for a thread of its parent's. Each child ends by an alarm if it hangs. With an argument, on a GPU. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/* Far beyond what a child takes. */
#define ALARM 60

typedef struct Objects {
    SfeuotContext *context;
    SfeuotTrainer *trainer;
    SfeuotModel *model;
    SfeuotSession *session;
} Objects;

static Side source, target;

static void make_on(Objects *objects, int32_t device, uint32_t threads) {
    SfeuotContextConfig config;
    SfeuotTrainerConfig settings;

    OK(sfeuot_context_config_init(&config));
    config.device = device;
    config.threads = threads;
    OK(sfeuot_context_create(&config, &objects->context));
    config_small(&settings);
    settings.batch_sources = 128; /* several jobs for each half of a step */
    settings.components = 4;
    OK(sfeuot_trainer_create(objects->context, &settings, &source.data, &target.data, &objects->trainer));
    OK(sfeuot_trainer_step(objects->trainer, 3, NULL));
    OK(sfeuot_trainer_model(objects->trainer, &objects->model));
    OK(sfeuot_session_create(objects->model, &objects->session));
}

static void make(Objects *objects, uint32_t threads) {
    make_on(objects, SFEUOT_DEVICE_CPU, threads);
}

static void release(const Objects *objects) {
    OK(sfeuot_session_release(objects->session));
    OK(sfeuot_model_release(objects->model));
    OK(sfeuot_trainer_release(objects->trainer));
    OK(sfeuot_context_release(objects->context));
}

static void draw(SfeuotSession *session, float *generated) {
    OK(sfeuot_session_generate(session, &source.values[0][0], ROWS, 5, 0, generated));
}

/* Trains on and draws from the result. */
static void learn(SfeuotTrainer *trainer, float *generated) {
    SfeuotModel *model = NULL;
    SfeuotSession *session = NULL;

    OK(sfeuot_trainer_step(trainer, 5, NULL));
    OK(sfeuot_trainer_model(trainer, &model));
    OK(sfeuot_session_create(model, &session));
    draw(session, generated);
    OK(sfeuot_session_release(session));
    OK(sfeuot_model_release(model));
}

/* In a child: ends in time, or by a signal. */
static int forked(pid_t *child) {
    fflush(NULL);
    *child = fork();
    CHECK(*child >= 0);
    if (*child == 0)
        alarm(ALARM);
    return *child == 0;
}

static void succeeds(pid_t child) {
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* What the child computes has the bits that the parent computes. */
static void the_child_goes_on(uint32_t threads) {
    static float before[2][ROWS * DIMENSION], after[2][ROWS * DIMENSION];
    Objects inherited, own;
    pid_t child, grandchild;

    make(&inherited, threads);
    draw(inherited.session, before[0]);
    if (forked(&child)) {
        uint32_t count = 0;
        draw(inherited.session, after[0]);
        CHECK(memcmp(before[0], after[0], sizeof after[0]) == 0);
        learn(inherited.trainer, after[0]);
        OK(sfeuot_context_threads(inherited.context, &count));
        CHECK(count == threads);
        make(&own, threads);
        learn(own.trainer, after[1]);
        CHECK(memcmp(after[0], after[1], sizeof after[0]) == 0);
        if (forked(&grandchild)) {
            learn(inherited.trainer, after[0]);
            learn(own.trainer, after[1]);
            CHECK(memcmp(after[0], after[1], sizeof after[0]) == 0);
            release(&own);
            release(&inherited);
            exit(0);
        }
        succeeds(grandchild);
        learn(inherited.trainer, after[0]);
        release(&inherited);
        release(&own);
        exit(0);
    }
    succeeds(child);
    learn(inherited.trainer, before[1]);
    if (forked(&child)) { /* releases at once, before anything was used */
        release(&inherited);
        exit(0);
    }
    succeeds(child);
    if (forked(&child))
        exit(0);
    succeeds(child);
    make(&own, 1);
    learn(own.trainer, after[1]);
    CHECK(memcmp(before[1], after[1], sizeof after[1]) == 0);
    release(&own);
    release(&inherited);
}

static atomic_int stop, inside;

static void logs(void *userdata, int32_t level, const char *utf8, size_t length) {
    (void)userdata, (void)level, (void)utf8, (void)length;
}

static int32_t told(void *userdata, const SfeuotMetrics *metrics) {
    (void)userdata, (void)metrics;
    atomic_store(&inside, 1);
    return SFEUOT_CONTINUE;
}

static void *trains(void *objects) {
    int32_t status = sfeuot_trainer_run(((Objects *)objects)->trainer, UINT64_MAX, 1, told, NULL, NULL);
    CHECK(status == SFEUOT_ERROR_CANCELLED);
    return NULL;
}

static void *generates(void *objects) {
    static float generated[ROWS * DIMENSION];
    while (!atomic_load(&stop))
        draw(((Objects *)objects)->session, generated);
    return NULL;
}

static void *makes_and_releases(void *unused) {
    SfeuotContextConfig config;
    SfeuotContext *contexts[2];

    (void)unused;
    OK(sfeuot_context_config_init(&config));
    config.device = SFEUOT_DEVICE_CPU;
    config.threads = 2;
    config.log_level = SFEUOT_LOG_DEBUG;
    config.log_callback = logs;
    while (!atomic_load(&stop)) {
        OK(sfeuot_context_create(&config, &contexts[0]));
        contexts[1] = context_on_cpu();
        OK(sfeuot_context_release(contexts[0]));
        OK(sfeuot_context_release(contexts[1]));
    }
    return NULL;
}

static void *retains(void *objects) {
    while (!atomic_load(&stop)) {
        OK(sfeuot_model_retain(((Objects *)objects)->model));
        OK(sfeuot_model_release(((Objects *)objects)->model));
        REFUSED(SFEUOT_ERROR_INVALID_ARGUMENT, "NULL", sfeuot_model_retain(NULL));
    }
    return NULL;
}

/* Forks while other threads are inside the library: what they were inside of is refused in the child, everything else
 * works there. */
static void forks_beside_busy_threads(void) {
    static float generated[ROWS * DIMENSION];
    void *(*const work[])(void *) = { trains, generates, makes_and_releases, makes_and_releases, retains };
    pthread_t threads[5];
    Objects shared, own;
    SfeuotMetrics metrics;
    pid_t child;
    size_t i;
    int round;

    make(&shared, 3);
    for (i = 0; i < 5; i++)
        CHECK(pthread_create(&threads[i], NULL, work[i], &shared) == 0);
    while (!atomic_load(&inside))
        usleep(1000);
    OK(sfeuot_metrics_init(&metrics));
    for (round = 0; round < 40; round++) {
        if (forked(&child)) {
            int32_t status;
            /* The thread that trains may have been between two steps. */
            status = sfeuot_trainer_metrics(shared.trainer, &metrics);
            if (status != SFEUOT_OK)
                CHECK(status == SFEUOT_ERROR_INTERNAL && strstr(sfeuot_last_error(), "fork") != NULL);
            REFUSED(SFEUOT_ERROR_INTERNAL, "fork", sfeuot_trainer_step(shared.trainer, 1, NULL));
            OK(sfeuot_trainer_cancel(shared.trainer));
            /* The thread that drew may have been between two calls. */
            status = sfeuot_session_generate(shared.session, &source.values[0][0], ROWS, 5, 0, generated);
            if (status != SFEUOT_OK)
                CHECK(status == SFEUOT_ERROR_INTERNAL && strstr(sfeuot_last_error(), "fork") != NULL);
            make(&own, 3);
            learn(own.trainer, generated);
            release(&own);
            release(&shared);
            exit(0);
        }
        succeeds(child);
    }
    atomic_store(&stop, 1);
    OK(sfeuot_trainer_cancel(shared.trainer));
    for (i = 0; i < 5; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    learn(shared.trainer, generated);
    release(&shared);
}

/* Forks in a callback: the child is inside the call itself, and ends it. */
static int32_t forks(void *userdata, const SfeuotMetrics *metrics) {
    Objects *objects = (Objects *)userdata;
    pid_t child;

    if (metrics->step != 5)
        return SFEUOT_CONTINUE;
    if (forked(&child)) {
        objects->session = NULL; /* tells the child */
        REFUSED(SFEUOT_ERROR_INTERNAL, "fork", sfeuot_trainer_step(objects->trainer, 1, NULL));
        return SFEUOT_CONTINUE;
    }
    succeeds(child);
    return SFEUOT_CONTINUE;
}

static void forks_in_a_callback(void) {
    static float generated[ROWS * DIMENSION];
    Objects objects;

    make(&objects, 2);
    OK(sfeuot_session_release(objects.session));
    OK(sfeuot_trainer_run(objects.trainer, 6, 1, forks, &objects, NULL));
    learn(objects.trainer, generated);
    if (objects.session == NULL)
        exit(0);
    OK(sfeuot_trainer_release(objects.trainer));
    OK(sfeuot_model_release(objects.model));
    OK(sfeuot_context_release(objects.context));
}

/* A GPU stays with the parent. */
static void the_child_has_no_gpu(void) {
    static float generated[ROWS * DIMENSION];
    Objects inherited, own;
    SfeuotMetrics metrics;
    SfeuotContextConfig config;
    pid_t child;

    make_on(&inherited, SFEUOT_DEVICE_CUDA, 0);
    draw(inherited.session, generated);
    if (forked(&child)) {
        const float *rows = &source.values[0][0];
        int32_t device = SFEUOT_DEVICE_CUDA;
        uint32_t count = 0;
        REFUSED(SFEUOT_ERROR_DEVICE, "fork", sfeuot_trainer_step(inherited.trainer, 1, NULL));
        REFUSED(SFEUOT_ERROR_DEVICE, "fork", sfeuot_trainer_model(inherited.trainer, &own.model));
        REFUSED(SFEUOT_ERROR_DEVICE, "fork", sfeuot_session_generate(inherited.session, rows, ROWS, 5, 0, generated));
        REFUSED(SFEUOT_ERROR_DEVICE, "fork", sfeuot_session_drift(inherited.session, 0.5, rows, ROWS, generated));
        REFUSED(SFEUOT_ERROR_DEVICE, "fork", sfeuot_context_synchronize(inherited.context));
        REFUSED(SFEUOT_ERROR_DEVICE, "fork", sfeuot_cuda_device_count(&count));
        OK(sfeuot_context_config_init(&config));
        config.device = SFEUOT_DEVICE_CUDA;
        REFUSED(SFEUOT_ERROR_DEVICE, "fork", sfeuot_context_create(&config, &own.context));
        OK(sfeuot_metrics_init(&metrics));
        OK(sfeuot_trainer_metrics(inherited.trainer, &metrics));
        CHECK(metrics.step == 3);
        make_on(&own, SFEUOT_DEVICE_AUTO, 2);
        OK(sfeuot_context_device(own.context, &device));
        CHECK(device == SFEUOT_DEVICE_CPU);
        learn(own.trainer, generated);
        release(&own);
        release(&inherited);
        exit(0);
    }
    succeeds(child);
    learn(inherited.trainer, generated);
    release(&inherited);
}

int main(int argc, char **argv) {
    (void)argv;
    side_init(&source, 0.0f);
    side_init(&target, 1.0f);
    if (argc > 1) {
        the_child_has_no_gpu();
        return 0;
    }
    the_child_goes_on(1);
    the_child_goes_on(3);
    forks_in_a_callback();
    forks_beside_busy_threads();
    return 0;
}
