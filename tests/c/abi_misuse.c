/* A host that does everything wrong gets a status and a sentence each time, and stays alive. */
#include "check.h"

static int32_t fail(void *userdata, float *batch, uint64_t rows, uint64_t dimension) {
    (void)userdata, (void)batch, (void)rows, (void)dimension;
    return 77;
}

int main(void) {
    SfeuotTrainerConfig config;
    SfeuotMetrics metrics;
    SfeuotContext *context = context_on_cpu(), *no_context = NULL;
    SfeuotTrainer *trainer = NULL, *no_trainer = NULL;
    SfeuotModel *model = NULL, *no_model = NULL;
    SfeuotSession *session = NULL;
    Side source, target;
    SfeuotData failing;
    SfeuotContextConfig context_config;
    SfeuotDeviceInfo info;
    SfeuotTensor on_device;
    int64_t sample_shape[1] = { DIMENSION };
    uint32_t devices = 0;
    int on_the_stack = 0;
    float generated[ROWS][DIMENSION];
    char garbage[64];

    side_init(&source, 0.0f);
    side_init(&target, 1.0f);
    config_small(&config);
    OK(sfeuot_metrics_init(&metrics));
    OK(sfeuot_trainer_create(context, &config, &source.data, &target.data, &trainer));
    OK(sfeuot_trainer_model(trainer, &model));
    OK(sfeuot_session_create(model, &session));

    /* Structs that were never filled, or come from another version. */
    memset(garbage, 0xA5, sizeof garbage);
    REFUSED(SFEUOT_ERROR_UNSUPPORTED_VERSION, "struct_size",
            sfeuot_context_create((const SfeuotContextConfig *)(const void *)garbage, &no_context));
    config.struct_size = 0;
    REFUSED(SFEUOT_ERROR_INVALID_ARGUMENT, "struct_size",
            sfeuot_trainer_create(context, &config, &source.data, &target.data, &no_trainer));
    config.struct_size = sizeof config + 8;
    REFUSED(SFEUOT_ERROR_UNSUPPORTED_VERSION, "176",
            sfeuot_trainer_create(context, &config, &source.data, &target.data, &no_trainer));
    config.struct_size = sizeof config;
    metrics.struct_size = 1;
    REFUSED(SFEUOT_ERROR_INVALID_ARGUMENT, "metrics", sfeuot_trainer_step(trainer, 1, &metrics));
    CHECK(no_context == NULL && no_trainer == NULL);

    /* Pointers that are no handles, and handles of something else. */
    REFUSED(SFEUOT_ERROR_INVALID_HANDLE, "no handle",
            sfeuot_trainer_step((SfeuotTrainer *)(void *)&on_the_stack, 1, NULL));
    REFUSED(SFEUOT_ERROR_INVALID_HANDLE, "no handle", sfeuot_model_release((SfeuotModel *)(void *)&config));
    REFUSED(SFEUOT_ERROR_INVALID_HANDLE, "handle of a model",
            sfeuot_trainer_step((SfeuotTrainer *)(void *)model, 1, NULL));
    REFUSED(SFEUOT_ERROR_INVALID_ARGUMENT, "trainer is NULL", sfeuot_trainer_step(NULL, 1, NULL));

    /* Files and bytes that are no models. */
    REFUSED(SFEUOT_ERROR_IO, "no/such", sfeuot_model_load(context, "no/such/file", &no_model));
    REFUSED(SFEUOT_ERROR_FORMAT, "", sfeuot_model_load_memory(context, garbage, sizeof garbage, &no_model));
    CHECK(no_model == NULL);

    /* Sessions: no rows are no work; too many, half over each other. */
    OK(sfeuot_session_generate(session, NULL, 0, 0, 0, NULL));
    REFUSED(SFEUOT_ERROR_INVALID_ARGUMENT, "rows",
            sfeuot_session_generate(session, &source.values[0][0], UINT64_MAX / 2, 0, 0, &generated[0][0]));
    REFUSED(SFEUOT_ERROR_INVALID_ARGUMENT, "overlaps",
            sfeuot_session_generate(session, &source.values[0][0], ROWS, 0, 0, &source.values[1][0]));

    /* GPUs that are not there, and memory of one. */
    OK(sfeuot_device_info_init(&info));
    OK(sfeuot_cuda_device_count(&devices));
    REFUSED(SFEUOT_ERROR_INVALID_ARGUMENT, "index", sfeuot_cuda_device_info(devices, &info));
    REFUSED(SFEUOT_ERROR_INVALID_ARGUMENT, "CPU", sfeuot_context_device_info(context, &info));
    OK(sfeuot_context_config_init(&context_config));
    context_config.device = SFEUOT_DEVICE_CUDA;
    context_config.cuda_device = 1 << 20;
    REFUSED(SFEUOT_ERROR_UNSUPPORTED_DEVICE, "driver", sfeuot_context_create(&context_config, &no_context));
    context_config.cuda_device = -2;
    REFUSED(SFEUOT_ERROR_INVALID_ARGUMENT, "cuda_device", sfeuot_context_create(&context_config, &no_context));
    on_device = source.tensor;
    on_device.memory = SFEUOT_MEMORY_CUDA;
    REFUSED(SFEUOT_ERROR_INVALID_ARGUMENT, "memory",
            sfeuot_session_generate_tensor(session, &source.tensor, 0, 0, &on_device));
    source.data.samples = &on_device;
    REFUSED(SFEUOT_ERROR_INVALID_ARGUMENT, "source.samples.data",
            sfeuot_trainer_create(context, &config, &source.data, &target.data, &no_trainer));
    source.data.samples = &source.tensor;
    REFUSED(SFEUOT_ERROR_INVALID_ARGUMENT, "dlpack", sfeuot_tensor_from_dlpack(NULL, &on_device));
    CHECK(no_context == NULL && no_trainer == NULL);

    /* A callback's failure comes back with its number. */
    OK(sfeuot_data_init(&failing));
    failing.sample_callback = fail;
    failing.sample_rank = 1;
    failing.sample_shape = sample_shape;
    if (sfeuot_trainer_create(context, &config, &failing, &target.data, &no_trainer) == SFEUOT_OK) {
        REFUSED(SFEUOT_ERROR_CALLBACK, "77", sfeuot_trainer_step(no_trainer, 1, NULL));
        OK(sfeuot_trainer_release(no_trainer));
    } else {
        CHECK(strstr(sfeuot_last_error(), "77") != NULL);
    }

    /* After all that everything still works, and is refused once it is released. */
    OK(sfeuot_trainer_step(trainer, 1, NULL));
    OK(sfeuot_session_generate(session, &source.values[0][0], ROWS, 0, 0, &generated[0][0]));
    OK(sfeuot_context_release(context));
    OK(sfeuot_trainer_release(trainer));
    OK(sfeuot_model_release(model));
    OK(sfeuot_session_release(session));
    REFUSED(SFEUOT_ERROR_INVALID_HANDLE, "context", sfeuot_context_release(context));
    REFUSED(SFEUOT_ERROR_INVALID_HANDLE, "released", sfeuot_trainer_step(trainer, 1, NULL));
    REFUSED(SFEUOT_ERROR_INVALID_HANDLE, "released", sfeuot_trainer_cancel(trainer));
    REFUSED(SFEUOT_ERROR_INVALID_HANDLE, "released", sfeuot_model_retain(model));
    REFUSED(SFEUOT_ERROR_INVALID_HANDLE, "released",
            sfeuot_session_generate(session, &source.values[0][0], ROWS, 0, 0, &generated[0][0]));

    /* A new handle never equals an old one. */
    no_context = context_on_cpu();
    CHECK(no_context != context);
    REFUSED(SFEUOT_ERROR_INVALID_HANDLE, "released", sfeuot_context_release(context));
    OK(sfeuot_context_release(no_context));
    return 0;
}
