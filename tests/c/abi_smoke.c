/* The life of the objects, as a host in C sees it. The first argument is a folder for files; with a second one all of
 * it is on a GPU. */
#include <math.h>

#include "check.h"

static void all_finite(const float *values, size_t count) {
    size_t i;
    for (i = 0; i < count; i++)
        CHECK(isfinite(values[i]));
}

/* What a host with a GPU would ask, where there may be none. */
static void ask_about_gpus(SfeuotContext *context, int32_t expected) {
    SfeuotDeviceInfo info;
    uint32_t count = 99, i;
    int32_t device = -1;
    uint64_t bytes = 99;
    void *stream = &count;

    OK(sfeuot_device_info_init(&info));
    CHECK(info.struct_size == sizeof info && info.name[0] == '\0');
    OK(sfeuot_cuda_device_count(&count));
    CHECK(count < 99);
    for (i = 0; i < count; i++) {
        OK(sfeuot_cuda_device_info(i, &info));
        CHECK(info.index == i && info.memory > 0 && strlen(info.name) < sizeof info.name);
    }
    OK(sfeuot_context_device(context, &device));
    CHECK(device == expected);
    OK(sfeuot_context_device_memory(context, &bytes));
    OK(sfeuot_context_cuda_stream(context, &stream));
    CHECK(bytes == 0 && (stream == NULL) == (expected == SFEUOT_DEVICE_CPU));
    if (expected == SFEUOT_DEVICE_CUDA)
        OK(sfeuot_context_device_info(context, &info));
    OK(sfeuot_context_synchronize(context));
}

/* DLManagedTensorVersioned of DLPack 1.0. */
typedef struct Dlpack {
    uint32_t major, minor;
    void *manager_ctx;
    void (*deleter)(struct Dlpack *self);
    uint64_t flags;
    void *data;
    int32_t device_type, device_id, ndim;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides;
    uint64_t byte_offset;
} Dlpack;

/* The same rows through arrays, and through a tensor and a DLPack tensor. */
static void generate_through_tensors(SfeuotSession *session, const Side *source) {
    static float arrays[ROWS][DIMENSION], tensors[ROWS][DIMENSION];
    int64_t shape[2] = { ROWS, DIMENSION };
    SfeuotTensor generated;
    Dlpack dlpack;

    memset(&dlpack, 0, sizeof dlpack);
    dlpack.major = 1;
    dlpack.data = tensors;
    dlpack.device_type = 1;
    dlpack.ndim = 2;
    dlpack.code = 2;
    dlpack.bits = 32;
    dlpack.lanes = 1;
    dlpack.shape = shape;
    OK(sfeuot_tensor_init(&generated));
    OK(sfeuot_tensor_from_dlpack(&dlpack, &generated));
    CHECK(generated.data == (const void *)tensors && generated.rank == 2 && generated.read_only == 0);
    OK(sfeuot_session_generate(session, &source->values[0][0], ROWS, 7, 100, &arrays[0][0]));
    OK(sfeuot_session_generate_tensor(session, &source->tensor, 7, 100, &generated));
    CHECK(memcmp(arrays, tensors, sizeof arrays) == 0);
}

static int32_t sample(void *userdata, float *batch, uint64_t rows, uint64_t dimension) {
    uint64_t *calls = (uint64_t *)userdata;
    uint64_t i;
    for (i = 0; i < rows * dimension; i++)
        batch[i] = (float)((i * 31 + *calls * 17) % 64) / 64;
    ++*calls;
    return 0;
}

static int32_t progress(void *userdata, const SfeuotMetrics *metrics) {
    uint64_t *last = (uint64_t *)userdata;
    CHECK(metrics->struct_size == sizeof *metrics);
    CHECK(metrics->step > *last);
    *last = metrics->step;
    return SFEUOT_CONTINUE;
}

static void log_line(void *userdata, int32_t level, const char *utf8, size_t len) {
    CHECK(level >= SFEUOT_LOG_ERROR && level <= SFEUOT_LOG_DEBUG);
    CHECK(utf8 != NULL && len > 0);
    ++*(int *)userdata;
}

/* Every function of a session, on a model whose other owners are gone. */
static void use_session(SfeuotSession *session, const Side *source) {
    static float generated[ROWS][DIMENSION], pieces[ROWS][DIMENSION], mean[ROWS][DIMENSION];
    static float path[ROWS][3][DIMENSION], drift[ROWS][DIMENSION], ratio[ROWS];
    const double times[3] = { 0.0, 0.5, 1.0 };
    const float *from = &source->values[0][0];
    int row, column;

    OK(sfeuot_session_generate(session, from, ROWS, 7, 100, &generated[0][0]));
    all_finite(&generated[0][0], ROWS * DIMENSION);
    OK(sfeuot_session_generate(session, from, 5, 7, 100, &pieces[0][0]));
    OK(sfeuot_session_generate(session, from + 5 * DIMENSION, ROWS - 5, 7, 105, &pieces[5][0]));
    for (row = 0; row < ROWS; row++)
        for (column = 0; column < DIMENSION; column++)
            CHECK(fabsf(generated[row][column] - pieces[row][column]) < 1e-5f);

    OK(sfeuot_session_conditional_mean(session, from, ROWS, 4, 7, 0, &mean[0][0]));
    all_finite(&mean[0][0], ROWS * DIMENSION);
    OK(sfeuot_session_trajectory(session, from, ROWS, times, 3, 7, 100, &path[0][0][0]));
    all_finite(&path[0][0][0], ROWS * 3 * DIMENSION);
    for (row = 0; row < ROWS; row++)
        for (column = 0; column < DIMENSION; column++) {
            CHECK(fabsf(path[row][0][column] - source->values[row][column]) < 1e-4f);
            CHECK(fabsf(path[row][2][column] - generated[row][column]) < 1e-4f);
        }
    OK(sfeuot_session_drift(session, 0.5, from, ROWS, &drift[0][0]));
    all_finite(&drift[0][0], ROWS * DIMENSION);
    OK(sfeuot_session_density_ratio(session, from, ROWS, ratio));
    all_finite(ratio, ROWS);
    for (row = 0; row < ROWS; row++)
        CHECK(ratio[row] >= 0);
}

int main(int argc, char **argv) {
    SfeuotContextConfig context_config;
    SfeuotTrainerConfig config;
    SfeuotMetrics metrics;
    SfeuotModelInfo info;
    SfeuotContext *context = NULL;
    SfeuotTrainer *trainer = NULL, *resumed = NULL;
    SfeuotModel *model = NULL, *loaded = NULL;
    SfeuotSession *session = NULL;
    Side source, target;
    SfeuotData sampled;
    int64_t sample_shape[1] = { DIMENSION }, shape[SFEUOT_MAX_RANK];
    uint64_t calls = 0, last = 0, done = 0, taken = 0, of_device = 0;
    uint32_t threads = 0;
    int lines = 0;
    char checkpoint[1024], file[1024];

    CHECK(argc == 2 || argc == 3);
    snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint", argv[1]);
    snprintf(file, sizeof file, "%s/model", argv[1]);
    CHECK(sfeuot_version() ==
          (SFEUOT_VERSION_MAJOR << 16 | SFEUOT_VERSION_MINOR << 8 | SFEUOT_VERSION_PATCH));
    CHECK(sfeuot_abi_version() == SFEUOT_ABI_VERSION);
    CHECK(strcmp(sfeuot_last_error(), "") == 0);

    OK(sfeuot_context_config_init(&context_config));
    context_config.device = argc == 2 ? SFEUOT_DEVICE_CPU : SFEUOT_DEVICE_CUDA;
    context_config.threads = 2;
    context_config.log_level = SFEUOT_LOG_DEBUG;
    context_config.log_callback = log_line;
    context_config.log_userdata = &lines;
    OK(sfeuot_context_create(&context_config, &context));
    OK(sfeuot_context_threads(context, &threads));
    CHECK(threads >= 1);
    ask_about_gpus(context, context_config.device);

    side_init(&source, 0.0f);
    side_init(&target, 1.0f);
    config_small(&config);
    OK(sfeuot_trainer_create(context, &config, &source.data, &target.data, &trainer));
    OK(sfeuot_metrics_init(&metrics));
    OK(sfeuot_trainer_metrics(trainer, &metrics));
    CHECK(metrics.step == 0);
    OK(sfeuot_trainer_step(trainer, 2, &metrics));
    CHECK(metrics.step == 2 && isfinite(metrics.dual) && isfinite(metrics.generator_loss));
    OK(sfeuot_trainer_step(trainer, 1, NULL));
    OK(sfeuot_trainer_run(trainer, 5, 2, progress, &last, &metrics));
    CHECK(metrics.step == 8 && last == 8);
    OK(sfeuot_trainer_run(trainer, 1, 0, NULL, NULL, NULL));
    OK(sfeuot_trainer_run_for(trainer, 2.0, &done, &metrics));
    CHECK(done >= 1 && metrics.step == 9 + done);
    OK(sfeuot_trainer_run_for(trainer, 0.001, NULL, NULL));
    OK(sfeuot_trainer_metrics(trainer, &metrics));
    OK(sfeuot_trainer_memory(trainer, &taken, &of_device));
    CHECK((of_device > 0) == (context_config.device == SFEUOT_DEVICE_CUDA) && taken + of_device > 0);
    OK(sfeuot_trainer_memory(trainer, NULL, NULL));
    OK(sfeuot_trainer_cancel(trainer));

    OK(sfeuot_trainer_save(trainer, checkpoint));
    OK(sfeuot_trainer_load(context, checkpoint, &source.data, &target.data, &resumed));
    last = metrics.step;
    OK(sfeuot_trainer_step(resumed, 1, &metrics));
    CHECK(metrics.step == last + 1);

    OK(sfeuot_trainer_model(trainer, &model));
    OK(sfeuot_model_save(model, file));
    OK(sfeuot_model_load(context, file, &loaded));
    OK(sfeuot_model_info_init(&info));
    OK(sfeuot_model_info(loaded, &info));
    CHECK(info.sample_rank == 1 && info.dimension == DIMENSION && info.steps == last);
    CHECK(info.sigma > 0 && info.tau > 0 && info.parameters > 0 && info.divergence == SFEUOT_DIVERGENCE_KL);
    OK(sfeuot_model_sample_shape(loaded, SFEUOT_MAX_RANK, shape));
    CHECK(shape[0] == DIMENSION);
    OK(sfeuot_session_create(loaded, &session));

    /* Whatever is made keeps what it needs, so the order of the releases is free. */
    OK(sfeuot_context_release(context));
    OK(sfeuot_trainer_step(trainer, 1, NULL));
    OK(sfeuot_trainer_release(trainer));
    OK(sfeuot_trainer_release(resumed));
    OK(sfeuot_model_retain(loaded));
    OK(sfeuot_model_release(loaded));
    OK(sfeuot_model_release(loaded));
    use_session(session, &source);
    OK(sfeuot_session_release(session));
    OK(sfeuot_session_create(model, &session));
    OK(sfeuot_model_release(model));
    use_session(session, &source);
    generate_through_tensors(session, &source);
    OK(sfeuot_session_release(session));

    /* A source that is drawn instead of stored. */
    if (argc == 2)
        context = context_on_cpu();
    else
        OK(sfeuot_context_create(&context_config, &context));
    OK(sfeuot_data_init(&sampled));
    sampled.sample_callback = sample;
    sampled.sample_userdata = &calls;
    sampled.sample_rank = 1;
    sampled.sample_shape = sample_shape;
    OK(sfeuot_trainer_create(context, &config, &sampled, &target.data, &trainer));
    OK(sfeuot_trainer_step(trainer, 3, &metrics));
    CHECK(metrics.step == 3 && calls > 0);
    OK(sfeuot_trainer_release(trainer));
    OK(sfeuot_context_release(context));
    CHECK(lines > 0);
    CHECK(strcmp(sfeuot_last_error(), "") == 0);
    return 0;
}
