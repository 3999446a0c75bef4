// libsfeuot: entropic unbalanced optimal transport, trained from samples and called as a one-step
// generator.
//
// Given samples of a source and of a target distribution in R^d (points, colours, small images,
// cells), the library learns how to carry the one into the other, and then carries any source
// sample there in one pass through a network. The plan it learns is that of the problem
//
//     minimise  E[1/2 |x0 - x1|^2] - sigma^2 E[H(pi(. | x0))] + D(pi1 | nu)
//
// over plans pi whose first marginal is the source; nu is the target, pi1 what is generated, H the
// entropy, and D a divergence with weight tau. sigma and tau are the two numbers to choose; see
// below.
//
//
// A typical program
//
//     sfeuot_context_create         where work runs: device, threads or stream, log
//       sfeuot_trainer_create       a problem: source, target, sigma, tau
//         sfeuot_trainer_step       ... until the metrics or your own eyes say it is good
//         sfeuot_trainer_model      a frozen copy of what was learnt
//           sfeuot_session_create   one for each thread that generates
//             sfeuot_session_generate
//
//     SfeuotContext *context = NULL;
//     SfeuotTrainer *trainer = NULL;
//     SfeuotModel *model = NULL;
//     SfeuotSession *session = NULL;
//     SfeuotTrainerConfig config;
//     SfeuotTensor points;
//     SfeuotData source, target;
//     int64_t shape[2] = { 1000, 3 };             // 1000 samples of 3 numbers
//
//     sfeuot_trainer_config_init(&config);
//     config.sigma = 0.1;
//     config.sigma_units = SFEUOT_SIGMA_RELATIVE;
//     sfeuot_data_init(&source);
//     sfeuot_tensor_init(&points);
//     points.data = source_points;                // const float *, 1000 x 3
//     points.rank = 2;
//     points.shape = shape;
//     source.samples = &points;
//     ...                                         // the same for the target
//
//     if (sfeuot_context_create(NULL, &context) != SFEUOT_OK ||
//         sfeuot_trainer_create(context, &config, &source, &target, &trainer) != SFEUOT_OK ||
//         sfeuot_trainer_step(trainer, 2000, NULL) != SFEUOT_OK ||
//         sfeuot_trainer_model(trainer, &model) != SFEUOT_OK ||
//         sfeuot_session_create(model, &session) != SFEUOT_OK ||
//         sfeuot_session_generate(session, source_points, 1000, 1, 0, generated) != SFEUOT_OK)
//         fprintf(stderr, "%s\n", sfeuot_last_error());
//
//     sfeuot_session_release(session);            // in any order; NULL is allowed
//     sfeuot_model_release(model);
//     sfeuot_trainer_release(trainer);
//     sfeuot_context_release(context);
//
//
// Choosing sigma and tau
//
// sigma is the noise of the coupling: how widely the samples that one source point is sent to may
// spread, as a multiple of the data's common scale (or, with SFEUOT_SIGMA_DATA_UNITS, in the units
// of the data). A small one approaches a deterministic map and is harder to train; a large one
// blurs, and forgets where a sample came from. Begin with 0.1; 0.05 to 0.5 is usual. Solvers that take a
// weight epsilon of the entropy mean sigma^2 when their cost is 1/2 |x - y|^2, and 2 sigma^2 when
// it is |x - y|^2.
//
// tau is the price of leaving mass of the target unmatched, in units of cost, which are those of
// sigma squared. Every source sample is sent somewhere, so differences count: a part of the target that
// costs more than the others by clearly more than tau, as outliers do, gets less mass (with
// SFEUOT_DIVERGENCE_KL about exp(-difference / tau) of its own). A large tau approaches the
// balanced problem, which SFEUOT_DIVERGENCE_BALANCED is exactly; a small one trusts the target
// less. Begin with 1.
//
//
// Errors
//
// Every call that can fail returns a status, SFEUOT_OK (0) or one of SFEUOT_ERROR_*;
// sfeuot_last_error then has a sentence. Outputs come last and are written on success only: after a
// failure they hold what they held before, but for the arrays of the session calls after
// SFEUOT_ERROR_INTERNAL, SFEUOT_ERROR_DEVICE and SFEUOT_ERROR_NOT_FINITE, in which the first rows may
// be written. A call that failed changed nothing, unless its description says so. Errors that any
// call may return are not repeated at each:
// SFEUOT_ERROR_INVALID_ARGUMENT, SFEUOT_ERROR_INVALID_HANDLE, SFEUOT_ERROR_UNSUPPORTED_VERSION,
// SFEUOT_ERROR_OUT_OF_MEMORY, SFEUOT_ERROR_INTERNAL, for trainers and sessions SFEUOT_ERROR_BUSY,
// for calls that write rows SFEUOT_ERROR_NOT_FINITE, and on a GPU SFEUOT_ERROR_DEVICE. Numbers that a
// call writes to host memory are finite whenever it returns SFEUOT_OK. The library writes to stderr
// only when it has caught a bug of its own.
//
//
// Memory
//
// What grows with the arguments of a call or with a file is asked of the system before it is needed.
// Where the system refuses, the call returns SFEUOT_ERROR_OUT_OF_MEMORY and nothing has changed.
// Limits of arguments are checked before that. sfeuot_trainer_create asks for everything that a
// training will take; on the CPU steps allocate nothing. A session asks in its first call of each
// kind. A model takes about 10 bytes for each of its parameters, where narrow layers count as whole
// vectors; loading one takes at most twice the file's size beside that.
//
// Small things are not asked for: an object's own struct, a thread's start, the text of an error,
// all below 4 KiB whatever the arguments. A system that refuses even these ends the process, and so
// may one that promises more memory than it has (overcommit), when the memory is used.
//
//
// Ownership
//
// Contexts, trainers, models and sessions are opaque handles. Creating one gives the host one
// reference, retain adds one, release takes one away, and the object ends with the last. What was
// made from an object keeps alive what it needs, so handles may be released in any order. A handle
// is a number, not an address: one that was released, is of another kind, or was never made is
// refused with SFEUOT_ERROR_INVALID_HANDLE. Handles are never to be dereferenced, freed or saved to
// a file. Memory belongs to whoever allocated it: the library frees nothing of the host's and hands
// out nothing to free. Arrays and structs passed in are read during the call only, but for the
// device memory of sfeuot_session_generate_tensor; what a callback needs (userdata) has to outlive
// the object that calls it, and a CUDA context or stream everything made from the context.
//
//
// Threads
//
// Any handle may be used from any thread. Contexts and models may be used by many threads at once.
// A trainer or a session does one call at a time: a second thread inside it, or a callback that
// calls back into it, gets SFEUOT_ERROR_BUSY at once; nothing waits and nothing deadlocks. Generate
// on several threads with one session each on the same model. sfeuot_trainer_cancel and retain and
// release are the exceptions and never busy. After a call returned, no callback that it started
// runs any more. Callbacks must return: no C++ exception and no longjmp may leave one.
//
// The floating-point mode of a thread (rounding, flushing of tiny numbers, traps) may be any: the
// library computes in the standard one, callbacks run in yours, and a call returns with yours,
// exception flags included.
//
//
// Processes
//
// The child of a fork() may use and release what it inherited, and make objects of its own. On the
// CPU results have the same bits as in the parent; a context starts its threads there anew, and works on
// the calling one alone if the system starts none. A trainer or session that another thread of the
// parent was inside of while the process forked may be half changed in the child and answers
// SFEUOT_ERROR_INTERNAL there: release it. A GPU that was in use does not follow into the child:
// what lives on it answers SFEUOT_ERROR_DEVICE there at once, and is released without a call of the
// driver. A child made by other means than fork() (vfork, _Fork, clone) may not call the library.
//
// dlclose never unloads the shared library: handles stay valid over it. A host may reload a plug-in
// that is linked to the library, once it has released or cancelled what calls back into the plug-in
// (samplers, progress, log).
//
//
// Structs and versions
//
// Structs are filled by their sfeuot_..._init before use; it sets struct_size, which tells the
// library how much of the struct the host knows. Fields are only ever appended, so a program built
// against an older header runs unchanged with a newer library: what its header lacks has the
// default. A struct of a newer header is refused with SFEUOT_ERROR_UNSUPPORTED_VERSION. Enums
// travel as int32_t, and every other number is refused.
//
//
// GPUs
//
// A context on an NVIDIA GPU queues all of its work, and that of what is made from it, on one
// stream: yours (cuda_stream) or one that the library makes, in the order of the calls. What the
// library reads of device memory has to be complete, or be written by work that comes before on that
// stream. What it writes there is ready when the stream has come past it: go on on the same stream,
// have another one wait for an event recorded on it (sfeuot_context_cuda_stream tells which it is),
// or call sfeuot_context_synchronize. Outputs in host memory are ready when the call returns.
// sfeuot_session_generate_tensor on device memory is the one call that returns before its work is
// done. A failure of such work is told by a later call, as SFEUOT_ERROR_DEVICE.
//
// Device memory belongs to the GPU and CUDA context in use; memory of the primary context is what
// cudaMalloc gives. The CUDA context that was current on the calling thread is current again when a
// call returns. Streams that record a graph (stream capture) cannot be used.
//
// Results have other last bits than on the CPU and, after many steps, other bits altogether.
//
//
// Arrays
//
// Samples are rows: a block of "rows x dimension" floats holds one sample after the other without
// gaps, dimension being the product of the sample's shape, its last axis innermost. With 0 rows a call
// on a valid session does nothing and returns SFEUOT_OK: its other arguments are not looked at but for
// the shapes of tensors, and arrays may be NULL. Outputs must not overlap inputs. Inputs are finite, and
// no further from the samples' centre than 10^9 times the scale that the networks see them in, which
// a refusal names. Values are in data units: whatever units the samples were given
// in. The library scales inside.


#ifndef SFEUOT_H
#define SFEUOT_H

#include <stddef.h>
#include <stdint.h>

// Versions.
//
// Version of this header: major number.
#define SFEUOT_VERSION_MAJOR 0

// Version of this header: minor number.
#define SFEUOT_VERSION_MINOR 1

// Version of this header: patch number.
#define SFEUOT_VERSION_PATCH 0

// Version of the binary interface, also the number at the end of the shared library's SONAME.
// Programs built against a header run with every library of the same number that is at least as
// new.
#define SFEUOT_ABI_VERSION 0

// Statuses, returned by every call that can fail.
//
// The call did what it says.
#define SFEUOT_OK 0

// An argument is NULL, zero, out of range, not finite, or does not fit another one; samples that
// hold NaN are this too.
#define SFEUOT_ERROR_INVALID_ARGUMENT 1

// A handle was released, is of another kind, or was never made by this library.
#define SFEUOT_ERROR_INVALID_HANDLE 2

// A struct_size is larger than the library knows: the header is newer than the library.
#define SFEUOT_ERROR_UNSUPPORTED_VERSION 3

// The device asked for cannot be used here: no driver, no such GPU, or too old a one; or the system
// starts fewer threads than were asked for.
#define SFEUOT_ERROR_UNSUPPORTED_DEVICE 4

// Memory ran out, on the host or on the device.
#define SFEUOT_ERROR_OUT_OF_MEMORY 5

// The operating system refused to read or write a file.
#define SFEUOT_ERROR_IO 6

// A file is truncated, is not one of this library's, or was written by a newer version.
#define SFEUOT_ERROR_FORMAT 7

// A loss, a gradient or a new weight stopped being finite. The step it belonged to was not made, and
// where a loss or gradient was the first on new weights, the step that led to them is taken back
// too: the trainer is at the last weights that gave finite losses, sfeuot_trainer_metrics tells their
// step, and it stays usable.
#define SFEUOT_ERROR_DIVERGED 8

// The run was stopped by sfeuot_trainer_cancel or by its progress callback. The steps done so far
// are kept; the text tells their number.
#define SFEUOT_ERROR_CANCELLED 9

// A callback of the host reported failure; the text holds the number it returned.
#define SFEUOT_ERROR_CALLBACK 10

// Another call is inside this trainer or session, on another thread or further up this one (a
// callback).
#define SFEUOT_ERROR_BUSY 11

// A bug in the library was caught before it could reach the host. A trainer or session that was in
// use answers this from then on and has to be released; everything else stays usable. In the child
// of a fork() also what another thread was inside of then.
#define SFEUOT_ERROR_INTERNAL 12

// The device failed in the middle of its work, such as a GPU that was reset or an illegal access of
// another program's in the same CUDA context; the text has the driver's reason. What lived on it is
// lost: release it, and make a new context.
#define SFEUOT_ERROR_DEVICE 13

// A result of a session is infinite or not a number: the model's weights are absurd, as after a
// training that nearly diverged or in a file that was tampered with, or the row lies far from the
// samples. The text names the row. No number that is not finite was written; rows before that one
// may have been.
#define SFEUOT_ERROR_NOT_FINITE 14

// Devices, for SfeuotContextConfig.device.
//
// An NVIDIA GPU where one can be used, otherwise the CPU; the log says which, and why it is not a
// GPU: at SFEUOT_LOG_WARN where there is a driver or a cuda_ field names a GPU, else at
// SFEUOT_LOG_INFO.
#define SFEUOT_DEVICE_AUTO 0

// The CPU.
#define SFEUOT_DEVICE_CPU 1

// An NVIDIA GPU, or SFEUOT_ERROR_UNSUPPORTED_DEVICE where none can be used.
#define SFEUOT_DEVICE_CUDA 2

// Who multiplies matrices on a GPU, for SfeuotContextConfig.cuda_products.
//
// The library's fused kernels for networks of up to 256 units a layer; cublasLt for larger ones where
// it is installed.
#define SFEUOT_PRODUCTS_AUTO 0

// The library's fused kernels for all layers.
#define SFEUOT_PRODUCTS_FUSED 1

// cublasLt for all layers, or SFEUOT_ERROR_UNSUPPORTED_DEVICE where it is not installed (with
// SFEUOT_DEVICE_AUTO: the CPU).
#define SFEUOT_PRODUCTS_CUBLASLT 2

// Levels of the log, for SfeuotContextConfig.log_level and SfeuotLogCallback.
//
// Something failed; the call returns the same as a status.
#define SFEUOT_LOG_ERROR 0

// Something works less well than it could.
#define SFEUOT_LOG_WARN 1

// What the library chose: device, threads, sizes.
#define SFEUOT_LOG_INFO 2

// Details for whoever works on the library.
#define SFEUOT_LOG_DEBUG 3

// Answers of a SfeuotProgressCallback.
//
// Go on.
#define SFEUOT_CONTINUE 0

// End the run with SFEUOT_ERROR_CANCELLED.
#define SFEUOT_STOP 1

// Element types, for SfeuotTensor.dtype.
//
// 32-bit float.
#define SFEUOT_DTYPE_F32 0

// 64-bit float.
#define SFEUOT_DTYPE_F64 1

// 16-bit float, IEEE 754 binary16.
#define SFEUOT_DTYPE_F16 2

// 16-bit float, bfloat16.
#define SFEUOT_DTYPE_BF16 3

// Unsigned byte; scale and offset bring it where you want it, such as 1/127.5 and -1 for [-1, 1].
#define SFEUOT_DTYPE_U8 4

// Where an array lies, for SfeuotTensor.memory.
//
// In the host's memory.
#define SFEUOT_MEMORY_HOST 0

// In the memory of the context's GPU, managed memory included.
#define SFEUOT_MEMORY_CUDA 1

// The most axes a tensor can have, the first one included.
#define SFEUOT_MAX_RANK 8

// Divergences, for SfeuotTrainerConfig.divergence. v is the value function at time 1, and the
// density ratio the derivative of the conjugate.
//
// No price on mass: both marginals are met, outliers included (the Schroedinger bridge). tau has
// no meaning.
#define SFEUOT_DIVERGENCE_BALANCED 0

// Kullback-Leibler: conjugate tau (exp(v / tau) - 1), density ratio exp(v / tau), continued
// linearly past v / tau = 8.
#define SFEUOT_DIVERGENCE_KL 1

// Chi squared: conjugate v + v^2 / (4 tau) above v = -2 tau, -tau below; the ratio can become
// exactly 0.
#define SFEUOT_DIVERGENCE_CHI2 2

// Softplus: conjugate 2 tau (log(1 + exp(v / tau)) - log 2); the ratio stays below 2.
#define SFEUOT_DIVERGENCE_SOFTPLUS 3

// Activations, for SfeuotTrainerConfig.activation and SfeuotNetwork.activation.
//
// x sigmoid(x).
#define SFEUOT_ACTIVATION_SILU 0

// tanh(x).
#define SFEUOT_ACTIVATION_TANH 1

// log(1 + exp(x)).
#define SFEUOT_ACTIVATION_SOFTPLUS 2

// Units, for SfeuotTrainerConfig.sigma_units.
//
// sigma is in data units, tau in data units squared.
#define SFEUOT_SIGMA_DATA_UNITS 0

// sigma is a multiple of the common scale the library measures on the samples, tau of that scale's
// square. The scale is the root mean square, over both sides and all components, of the deviation
// from the midpoint of the two sides' means; SfeuotModelInfo.data_scale tells it. Where all samples of
// both sides are one point, a thousand times what 32-bit numbers resolve there takes its place (or
// sigma in data units, where that is larger), and log_callback is given a warning.
#define SFEUOT_SIGMA_RELATIVE 1

// Where work runs: a device, its threads, and where the log goes.
typedef struct SfeuotContext SfeuotContext;

// What a training learnt: a generator and a value network. It never changes and may be used by all
// threads at once.
typedef struct SfeuotModel SfeuotModel;

// One thread's workspace on a model. On the CPU its calls take no lock and, once they have seen
// their largest number of rows, allocate nothing.
typedef struct SfeuotSession SfeuotSession;

// A problem with its networks and data, which steps train.
typedef struct SfeuotTrainer SfeuotTrainer;

// A GPU. Fill it with sfeuot_device_info_init before the call that tells about one.
typedef struct SfeuotDeviceInfo {
    // Set by sfeuot_device_info_init.
    uint32_t struct_size;
    // Its number among the GPUs that the driver shows, from 0. CUDA_VISIBLE_DEVICES changes it.
    uint32_t index;
    // The newest CUDA version that its driver supports: 1000 times the major one plus 10 times the
    // minor one, such as 12040 for 12.4.
    uint32_t driver_version;
    // Compute capability, major number.
    uint32_t capability_major;
    // Compute capability, minor number.
    uint32_t capability_minor;
    // Zero.
    uint32_t reserved;
    // Bytes of its memory.
    uint64_t memory;
    // The same in every process and under every numbering.
    uint8_t uuid[16];
    // As the driver calls it: UTF-8 that ends with a zero, cut where it is longer.
    char name[256];
} SfeuotDeviceInfo;

// Receives one line of the log: level is one of SFEUOT_LOG_*, utf8 holds len bytes without a
// terminating zero and is valid during the callback only. It may be called from several threads at
// once, and only while a call on the context or on something made from it runs.
typedef void (*SfeuotLogCallback)(void *userdata, int32_t level, const char *utf8, size_t len);

// How to make a context. Fill it with sfeuot_context_config_init, then change what you need.
typedef struct SfeuotContextConfig {
    // Set by sfeuot_context_config_init.
    uint32_t struct_size;
    // SFEUOT_DEVICE_*. Default SFEUOT_DEVICE_AUTO.
    int32_t device;
    // CPU threads to train with, the calling one included: 0 for one a core (on a GPU for the
    // calling one alone), at most 1024. Results do not depend on it. Default 0.
    uint32_t threads;
    // SFEUOT_LOG_*: the least urgent level that is passed on. Default SFEUOT_LOG_WARN.
    int32_t log_level;
    // Receives the log, or NULL for none. The library never writes to stdout or stderr of its own
    // accord. Default NULL.
    SfeuotLogCallback log_callback;
    // Passed to log_callback; has to live as long as the context and everything made from it.
    void *log_userdata;
    // Which GPU, by its number among those that the driver shows; -1 for the one of cuda_uuid,
    // cuda_context or cuda_stream, or else the first. The cuda_ fields and memory_limit mean
    // nothing to the CPU. Default -1.
    int32_t cuda_device;
    // SFEUOT_PRODUCTS_*. Default SFEUOT_PRODUCTS_AUTO.
    int32_t cuda_products;
    // Which GPU, by the 16 bytes of its UUID, copied; not together with a cuda_device. NULL for
    // none. Default NULL.
    const uint8_t *cuda_uuid;
    // A CUcontext of yours to work in; it has to outlive the context and everything made from it.
    // NULL: that of cuda_stream, or else the primary context of the GPU, which the CUDA runtime
    // uses as well. Default NULL.
    void *cuda_context;
    // A CUstream (cudaStream_t) of yours on which all work is queued; it has to outlive the context
    // and everything made from it. CUDA's legacy default stream needs cuda_context beside it; the
    // default stream per thread is refused, as it is another one on each thread. NULL: a stream
    // that the library makes and that waits for no other. Default NULL.
    void *cuda_stream;
    // Bytes of device memory that the library takes through this context at most, or 0 for no limit
    // but the GPU's; SFEUOT_ERROR_OUT_OF_MEMORY beyond it. What the driver needs for itself does
    // not count. Default 0.
    uint64_t memory_limit;
} SfeuotContextConfig;

// A strided array of the host's. The first axis counts samples, the others are the shape of one
// sample: n points in three dimensions have shape {n, 3}, n colour pictures {n, 3, height, width}.
// The value of an element is element * scale + offset; "data units" everywhere in this header are
// the units of that value.
typedef struct SfeuotTensor {
    // Set by sfeuot_tensor_init.
    uint32_t struct_size;
    // SFEUOT_DTYPE_*. Default SFEUOT_DTYPE_F32.
    int32_t dtype;
    // Element (0, ..., 0), aligned for its type. Only read, but for the outputs of
    // sfeuot_session_generate_tensor; for how long, the call that takes the tensor says.
    const void *data;
    // How many axes: length of shape and of strides, 1 to SFEUOT_MAX_RANK.
    uint32_t rank;
    // Size of each axis, at least 1. For a session the first one may be 0: no rows, and data may be
    // NULL then.
    const int64_t *shape;
    // Elements (not bytes) from one index of an axis to the next; negative and zero are allowed.
    // NULL: row-major without gaps. Default NULL.
    const int64_t *strides;
    // Finite, not 0. Default 1.
    double scale;
    // Finite. Default 0.
    double offset;
    // SFEUOT_MEMORY_*: what data is an address in. shape and strides are host memory always.
    // Default SFEUOT_MEMORY_HOST.
    int32_t memory;
    // 1 if the memory may not be written, so that the tensor is refused as an output; otherwise 0.
    // Default 0.
    int32_t read_only;
} SfeuotTensor;

// Fills batch with rows independent samples of dimension numbers each, row after row, in data
// units, all finite. Returns 0, or any other number to end the call with SFEUOT_ERROR_CALLBACK and
// that number in the text. It runs during calls on the trainer only, on the thread that made the
// call. sfeuot_trainer_create asks for 4096 samples in all, to measure their scale; each step for
// batch_sources rows of the source, twice, and for batch_sources x components rows of the target.
// What it gave for a step that was cancelled on the CPU is kept for that step, in the trainer but
// not in its checkpoints.
typedef int32_t (*SfeuotSampleCallback)(void *userdata,
                                        float *batch,
                                        uint64_t rows,
                                        uint64_t dimension);

// One side of the problem, the source or the target: either samples, or a callback that draws
// fresh ones.
typedef struct SfeuotData {
    // Set by sfeuot_data_init.
    uint32_t struct_size;
    // With sample_callback: how many axes one sample has, 1 to SFEUOT_MAX_RANK - 1. Otherwise
    // ignored.
    uint32_t sample_rank;
    // The samples; all values finite. They are copied before the call returns, device memory in the
    // order of the context's stream: whatever its elements span (up to 2^36 bytes), through the
    // host. NULL with sample_callback.
    const struct SfeuotTensor *samples;
    // How often each sample is drawn, relative to the others: rank 1, as long as samples has rows,
    // finite, >= 0, not all zero. Copied as well. NULL: all alike. Only with samples.
    const struct SfeuotTensor *weights;
    // Draws samples whenever the trainer needs some. NULL with samples.
    SfeuotSampleCallback sample_callback;
    // Passed to sample_callback; has to live as long as the trainer.
    void *sample_userdata;
    // With sample_callback: the shape of one sample, sample_rank numbers, copied. Otherwise
    // ignored.
    const int64_t *sample_shape;
} SfeuotData;

// One network, for SfeuotTrainerConfig.value_network and generator_network: a multilayer perceptron.
// Fill it with sfeuot_network_init, then change what you need.
typedef struct SfeuotNetwork {
    // Set by sfeuot_network_init.
    uint32_t struct_size;
    // SFEUOT_ACTIVATION_*. Default SFEUOT_ACTIVATION_SILU.
    int32_t activation;
    // Units of each hidden layer, 1 to 4096. Default 128.
    uint32_t hidden_width;
    // Hidden layers, 1 to 16. Default 3.
    uint32_t hidden_layers;
    // 1 lets the network see squares of a sample's numbers, as SfeuotTrainerConfig.squares says; 0 the
    // sample alone. Default 1.
    int32_t squares;
    // Must be 0.
    uint32_t reserved;
} SfeuotNetwork;

// How to make a trainer. Fill it with sfeuot_trainer_config_init, set sigma, then change what you
// need.
typedef struct SfeuotTrainerConfig {
    // Set by sfeuot_trainer_config_init.
    uint32_t struct_size;
    // SFEUOT_DIVERGENCE_*: how the generated distribution may differ from the target. Default
    // SFEUOT_DIVERGENCE_KL.
    int32_t divergence;
    // Noise of the coupling, in sigma_units, 10^-6 to 10^3 times the common scale of the samples. There
    // is no default: see "Choosing sigma and tau" at the top.
    double sigma;
    // Price of leaving mass of the target unmatched, in the square of sigma_units, 10^-90 to 10^90 times
    // the square of that scale. Default 1.
    double tau;
    // SFEUOT_SIGMA_*. Default SFEUOT_SIGMA_RELATIVE, in which the same numbers suit pixels from 0 to 255
    // and metres.
    int32_t sigma_units;
    // SFEUOT_ACTIVATION_*, of both networks. Default SFEUOT_ACTIVATION_SILU.
    int32_t activation;
    // Units of each hidden layer, 1 to 4096. 128 does for two or three dimensions, 256 for more.
    // Default 128.
    uint32_t hidden_width;
    // Hidden layers of each network, 1 to 16. Default 3.
    uint32_t hidden_layers;
    // Numbers of noise z the generator sees beside the sample, 0 to 4096. With 0 it gives a source
    // sample a mixture of `components` Gaussians whose probabilities, means and deviations are all
    // learnt: the more accurate on the problems measured, and faster to train. With more (8 is a good number) the
    // network's last layer, which is components x (2 dimension + 1) wide without them, is only
    // 2 dimension wide: for samples of thousands of numbers, such as images. Default 0.
    uint32_t latent_dimension;
    // 1 gives the generator no noise of its own beside the latents, and needs latent_dimension to be at
    // least 1, as suits images; 0 lets it learn one. Default 0.
    int32_t deterministic;
    // 1 lets both networks see, beside each number x of a sample, a square of it, less its mean; with x
    // in units of the common spread it is bent to grow like |x| beyond 3. Value functions of Gaussians and
    // mixtures are made of squares, and the more numbers a sample has, the more is gained. The first layers
    // become twice as large. 0 for samples alone. Default 1.
    int32_t squares;
    // Source samples of a step, 1 to 2^20. Default 128.
    uint32_t batch_sources;
    // K, 1 to 4096, and times batch_sources at most 2^24; time grows with both. The Gaussians of the
    // mixture that a source sample is given, and so about how many clusters its images can fall
    // into; with latents, how many are drawn for each source sample of a step, where 16 is a good
    // number. Default 8.
    uint32_t components;
    // Must be 0.
    uint32_t reserved;
    // Adam's rate for the generator, > 0, which has to learn faster than the value network. Default
    // 1e-3.
    double generator_learning_rate;
    // Adam's rate for the value network, > 0. Default 3e-4; 1e-4 is slower and safer.
    double value_learning_rate;
    // Adam's decay of the mean, in [0, 1). Default 0.5.
    double adam_beta1;
    // Adam's decay of the square, in [0, 1). Default 0.99.
    double adam_beta2;
    // Decay of the moving average of both networks' weights, in [0, 1); models use the average. It
    // begins smaller, so that a short training forgets its start. Default 0.998.
    double ema_decay;
    // Largest norm of a network's gradient, longer ones are shortened to it; 0 turns that off. In
    // the units of SfeuotMetrics.value_gradient_norm. Default 0.
    double gradient_clip;
    // Steps over which both rates fall along a cosine to decay_floor, where they stay; 0 keeps
    // them constant. Default 0.
    uint64_t decay_steps;
    // Final rate as a fraction of the first, in [0, 1]. Default 0.02.
    double decay_floor;
    // Seed of everything random. The same seed, data and settings give the same bits on the same
    // device (on CPUs of the same vector instructions), with any number of threads. Default 0.
    uint64_t seed;
    // The value network, or NULL for the one that activation, hidden_width, hidden_layers and squares
    // describe. Read during the call only. Files of a training or model whose networks differ are
    // refused by versions of the library that do not know this field. Default NULL.
    const struct SfeuotNetwork *value_network;
    // The same for the generator's network. Default NULL.
    const struct SfeuotNetwork *generator_network;
} SfeuotTrainerConfig;

// What the last step saw. Fill it with sfeuot_metrics_init before the first use; every call
// rewrites it whole.
typedef struct SfeuotMetrics {
    // Set by sfeuot_metrics_init.
    uint32_t struct_size;
    // Zero.
    uint32_t reserved;
    // Steps done since the trainer was made, those before a checkpoint included.
    uint64_t step;
    // The dual objective potential - action, in units of cost (data units squared), on the last
    // batch. It settles at E of the integral of 1/2 |u|^2 over time, u the drift, plus D(pi1 | nu):
    // the problem's value, not the mean of 1/2 |x0 - x1|^2. Noisy, so average it.
    double dual;
    // -dual, which the value step minimises.
    double value_loss;
    // What the generator step minimises: sigma^2 times a Kullback-Leibler divergence, up to a
    // constant, in units of cost.
    double generator_loss;
    // E[V(1, x1)] over generated x1 minus E[Psi*(V(1, y))] over the target, in units of cost;
    // settles at D(pi1 | nu), which is 0 when balanced.
    double potential;
    // E[1/2 |grad V|^2 + grad V . b] along the bridges, b their drift, in units of cost; settles at
    // minus the kinetic energy E of the integral of 1/2 |u|^2.
    double action;
    // Norm of the value network's gradient, before clipping, in units of the problem that the networks
    // see: both sides around 0 with a spread of 1, the source moved.
    double value_gradient_norm;
    // Norm of the generator's gradient, before clipping, in the same units.
    double generator_gradient_norm;
    // Mean density ratio over the target: 1 when the masses agree, which they do at the end of a
    // training.
    double density_ratio_mean;
    // Training steps per second of the last call that trained.
    double steps_per_second;
} SfeuotMetrics;

// Told about a run, on the thread that called sfeuot_trainer_run. metrics is valid during the
// callback only. Returns SFEUOT_CONTINUE or SFEUOT_STOP; any other number ends the run with
// SFEUOT_ERROR_CALLBACK and that number in the text.
typedef int32_t (*SfeuotProgressCallback)(void *userdata, const struct SfeuotMetrics *metrics);

// What a model is. Fill it with sfeuot_model_info_init before sfeuot_model_info.
typedef struct SfeuotModelInfo {
    // Set by sfeuot_model_info_init.
    uint32_t struct_size;
    // How many axes one sample has; sfeuot_model_sample_shape tells their sizes.
    uint32_t sample_rank;
    // Numbers of one sample: the product of its shape.
    uint64_t dimension;
    // Numbers of noise the generator sees beside the sample; 0 for none.
    uint32_t latent_dimension;
    // Gaussians of the mixture that a source sample is given; with latents, those a training drew for each.
    uint32_t components;
    // SFEUOT_DIVERGENCE_* of the training.
    int32_t divergence;
    // Always 0.
    uint32_t reserved;
    // Noise of the coupling in data units, whichever units it was given in.
    double sigma;
    // Price of unmatched mass in data units squared.
    double tau;
    // The common scale of the samples that the library measured, in data units.
    double data_scale;
    // Training steps behind the model.
    uint64_t steps;
    // Weights of both networks together.
    uint64_t parameters;
} SfeuotModelInfo;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the library that is running: MAJOR << 16 | MINOR << 8 | PATCH.
uint32_t sfeuot_version(void);

// The SFEUOT_ABI_VERSION of the library that is running. A host that loads the library by hand
// (dlopen, LoadLibrary) compares it with the macro before any other call.
uint32_t sfeuot_abi_version(void);

// Why the last failing call on this thread failed: one sentence in UTF-8 that starts with the
// function and names the argument, its value and what is allowed. Never NULL; "" when no call has
// failed on this thread. The text is the library's, belongs to the calling thread and stays until
// the next call on it fails: calls that succeed leave it alone, so a host may release what it
// holds before it prints.
const char *sfeuot_last_error(void);

// The name of a status, such as "SFEUOT_ERROR_BUSY", or "unknown status". A constant of the
// library, never NULL.
const char *sfeuot_status_name(int32_t status);

// Fills info with zeros and its struct_size.
int32_t sfeuot_device_info_init(struct SfeuotDeviceInfo *info);

// Writes how many GPUs the NVIDIA driver shows: 0 where there is no driver, or one too old (what it
// is, sfeuot_context_create with SFEUOT_DEVICE_CUDA says).
// Errors: SFEUOT_ERROR_DEVICE when a GPU does not answer.
int32_t sfeuot_cuda_device_count(uint32_t *count);

// Writes what a GPU is; index lies below the count. Errors: SFEUOT_ERROR_DEVICE when a GPU does not
// answer.
int32_t sfeuot_cuda_device_info(uint32_t index, struct SfeuotDeviceInfo *info);

// Fills config with the defaults.
int32_t sfeuot_context_config_init(struct SfeuotContextConfig *config);

// Makes a context. config NULL means all defaults. Errors: SFEUOT_ERROR_INVALID_ARGUMENT,
// SFEUOT_ERROR_UNSUPPORTED_VERSION, SFEUOT_ERROR_UNSUPPORTED_DEVICE, SFEUOT_ERROR_DEVICE.
int32_t sfeuot_context_create(const struct SfeuotContextConfig *config,
                              struct SfeuotContext **context);

// Writes the number of CPU threads the context uses.
int32_t sfeuot_context_threads(const struct SfeuotContext *context, uint32_t *threads);

// Writes the device that work runs on, SFEUOT_DEVICE_CPU or SFEUOT_DEVICE_CUDA: what
// SFEUOT_DEVICE_AUTO became.
int32_t sfeuot_context_device(const struct SfeuotContext *context, int32_t *device);

// Writes what the GPU of the context is. A context on the CPU has none and gets
// SFEUOT_ERROR_INVALID_ARGUMENT.
int32_t sfeuot_context_device_info(const struct SfeuotContext *context,
                                   struct SfeuotDeviceInfo *info);

// Writes how many bytes of device memory the library has taken through this context, which is what
// memory_limit bounds; 0 on the CPU.
int32_t sfeuot_context_device_memory(const struct SfeuotContext *context, uint64_t *bytes);

// Writes the CUstream (cudaStream_t) on which all work of this context and of what is made from it
// is queued; NULL on the CPU. It is the host's own or ends with the last of these objects.
int32_t sfeuot_context_cuda_stream(const struct SfeuotContext *context, void **stream);

// Waits until all work that was queued on the context's stream is done; the CPU has none. Errors:
// SFEUOT_ERROR_DEVICE when some of it failed.
int32_t sfeuot_context_synchronize(const struct SfeuotContext *context);

// Adds a reference, for a second owner; it is given back with sfeuot_context_release.
int32_t sfeuot_context_retain(struct SfeuotContext *context);

// Gives a reference back; with the last one the handle ends. Trainers, models and sessions made
// from the context keep what they need of it. NULL is allowed and does nothing.
int32_t sfeuot_context_release(struct SfeuotContext *context);

// Fills tensor with the defaults: an empty array of 32-bit floats in host memory, scale 1, offset 0.
int32_t sfeuot_tensor_init(struct SfeuotTensor *tensor);

// Makes tensor, which sfeuot_tensor_init has filled, a view of a DLPack tensor: its elements, shape,
// strides, memory and read_only, with scale 1 and offset 0. dlpack points to a
// DLManagedTensorVersioned of DLPack 1.x, as the capsule "dltensor_versioned" of Python's
// __dlpack__(max_version=(1, 0)) holds. Elements are float of 16, 32 or 64 bits, bfloat of 16 or
// uint of 8, one lane each; 1 to SFEUOT_MAX_RANK axes of at least 1, but for the first, which may be
// 0; on kDLCPU, kDLCUDAHost, kDLCUDA or kDLCUDAManaged. Anything else is
// SFEUOT_ERROR_INVALID_ARGUMENT. Nothing is copied and nothing taken over: the DLPack tensor has to
// live as long as the view is used, and its deleter is the host's to call afterwards. On which GPU
// device memory lies is seen where the view is used.
int32_t sfeuot_tensor_from_dlpack(const void *dlpack,
                                  struct SfeuotTensor *tensor);

// Fills data with the defaults: neither samples nor a callback.
int32_t sfeuot_data_init(struct SfeuotData *data);

// Fills network with the defaults, which are those of SfeuotTrainerConfig.
int32_t sfeuot_network_init(struct SfeuotNetwork *network);

// For programs that were built when SfeuotTrainerConfig ended with seed: fills that much of config.
// In a program that includes this header the name means sfeuot_trainer_config_init_2.
int32_t sfeuot_trainer_config_init(struct SfeuotTrainerConfig *config);

// Fills config with the defaults. sigma has none and has to be set before the config is used. Programs
// that include this header call it as sfeuot_trainer_config_init; whoever looks functions up by name
// (dlsym, bindings of other languages) needs this name.
int32_t sfeuot_trainer_config_init_2(struct SfeuotTrainerConfig *config);

// Fills metrics with zeros and its struct_size.
int32_t sfeuot_metrics_init(struct SfeuotMetrics *metrics);

// Makes a trainer with fresh networks. Samples of source and target must have the same shape;
// arrays are copied, and sample callbacks stay in use until the trainer is released. Errors:
// SFEUOT_ERROR_INVALID_ARGUMENT (which names the field), SFEUOT_ERROR_UNSUPPORTED_VERSION,
// SFEUOT_ERROR_CALLBACK, SFEUOT_ERROR_OUT_OF_MEMORY.
int32_t sfeuot_trainer_create(struct SfeuotContext *context,
                              const struct SfeuotTrainerConfig *config,
                              const struct SfeuotData *source,
                              const struct SfeuotData *target,
                              struct SfeuotTrainer **trainer);

// Takes steps training steps (at least 1) and writes what the last one saw; metrics may be NULL. A
// training has at most 2^53 steps, and after them it is SFEUOT_ERROR_INVALID_ARGUMENT.
// Errors: SFEUOT_ERROR_DIVERGED, SFEUOT_ERROR_CANCELLED, SFEUOT_ERROR_CALLBACK (steps done before
// one of these are kept, but for the last before a divergence; ask sfeuot_trainer_metrics for their
// number), SFEUOT_ERROR_BUSY.
int32_t sfeuot_trainer_step(struct SfeuotTrainer *trainer,
                            uint64_t steps,
                            struct SfeuotMetrics *metrics);

// As sfeuot_trainer_step, and calls progress after every that many steps (at least 1) and after
// the last. progress NULL: nobody is told, and every is ignored. It may not call back into this
// trainer but for sfeuot_trainer_cancel (SFEUOT_ERROR_BUSY).
int32_t sfeuot_trainer_run(struct SfeuotTrainer *trainer,
                           uint64_t steps,
                           uint64_t every,
                           SfeuotProgressCallback progress,
                           void *userdata,
                           struct SfeuotMetrics *metrics);

// Takes steps for about milliseconds (finite, > 0): for a host that trains inside its frame. At
// least one step, and none that is expected to end past the time, going by how long the one before
// it took. Writes how many steps this call did and what the last one saw; both outputs may be NULL.
// After an error, SFEUOT_ERROR_CANCELLED included, sfeuot_trainer_metrics tells the steps so far.
// Errors as of sfeuot_trainer_step.
int32_t sfeuot_trainer_run_for(struct SfeuotTrainer *trainer,
                               double milliseconds,
                               uint64_t *steps_done,
                               struct SfeuotMetrics *metrics);

// Makes the step, run or run_for call that is inside this trainer return SFEUOT_ERROR_CANCELLED.
// On the CPU the step in progress is left when each thread has come to the end of its block of rows
// (64, or components where that is more), and is then not made: nothing of it stays but the samples
// that callbacks gave for it, which it takes when it is made later. On a GPU the steps that are
// queued already, at most 32, are made first. A callback that runs is waited for, and
// sfeuot_trainer_create cannot be cancelled. From any thread, also from a callback; returns at once.
// Whoever got SFEUOT_ERROR_BUSY because of such a call cancels that call if it is still inside, and
// otherwise the one that is inside by then. Without one inside nothing happens: a call that begins
// later is not cancelled.
int32_t sfeuot_trainer_cancel(struct SfeuotTrainer *trainer);

// Writes what the last step saw, zeros before the first.
int32_t sfeuot_trainer_metrics(struct SfeuotTrainer *trainer, struct SfeuotMetrics *metrics);

// Makes a model from what has been learnt so far: a copy of the averaged generator and the value
// network, which further training does not change.
int32_t sfeuot_trainer_model(struct SfeuotTrainer *trainer, struct SfeuotModel **model);

// Writes a checkpoint: settings, networks, averages, optimiser and step number, but not the
// samples. A file of that name is replaced whole or, on failure, left as it was; saves of one file
// at the same time, in any threads and processes, come one after the other. When the one before
// writes nothing for a minute, as one that is stopped, this one fails with SFEUOT_ERROR_IO. Errors:
// SFEUOT_ERROR_IO, SFEUOT_ERROR_FORMAT (a weight or another number is not finite, and the file
// could not be loaded), SFEUOT_ERROR_OUT_OF_MEMORY, SFEUOT_ERROR_BUSY, and SFEUOT_ERROR_DEVICE on a
// GPU.
int32_t sfeuot_trainer_save(struct SfeuotTrainer *trainer, const char *path);

// Makes a trainer from a checkpoint and goes on where it was: with the same data and device, bit
// for bit. Arrays that hold other samples or weights than before are refused with
// SFEUOT_ERROR_INVALID_ARGUMENT; to where a callback's samples go on is the host's to see to. The
// file need not be trusted, as with sfeuot_model_load. Errors: SFEUOT_ERROR_IO,
// SFEUOT_ERROR_FORMAT, and those of sfeuot_trainer_create.
int32_t sfeuot_trainer_load(struct SfeuotContext *context,
                            const char *path,
                            const struct SfeuotData *source,
                            const struct SfeuotData *target,
                            struct SfeuotTrainer **trainer);

// Adds a reference, for a second owner; it is given back with sfeuot_trainer_release.
int32_t sfeuot_trainer_retain(struct SfeuotTrainer *trainer);

// Gives a reference back; with the last one the handle ends, and the trainer with it or, when a
// call is inside it, with that call. No callback runs for it any more then. NULL is allowed and
// does nothing.
int32_t sfeuot_trainer_release(struct SfeuotTrainer *trainer);

// Fills info with zeros and its struct_size.
int32_t sfeuot_model_info_init(struct SfeuotModelInfo *info);

// Writes the model to a file. A file of that name is replaced whole or, on failure, left as it was;
// saves of one file at the same time, in any threads and processes, come one after the other. When
// the one before writes nothing for a minute, as one that is stopped, this one fails with
// SFEUOT_ERROR_IO. Errors: SFEUOT_ERROR_IO, SFEUOT_ERROR_FORMAT (a weight or a setting is not a
// finite number, and the file could not be loaded), SFEUOT_ERROR_OUT_OF_MEMORY.
int32_t sfeuot_model_save(struct SfeuotModel *model, const char *path);

// Reads a model from a file, which need not be trusted: what it asks for beyond any model of this
// library is refused, as is what is not a regular file. Errors: SFEUOT_ERROR_IO,
// SFEUOT_ERROR_FORMAT, SFEUOT_ERROR_OUT_OF_MEMORY, and SFEUOT_ERROR_DEVICE on a GPU.
int32_t sfeuot_model_load(struct SfeuotContext *context,
                          const char *path,
                          struct SfeuotModel **model);

// Reads a model from size bytes (at least 1) in memory, the content of a file; they are copied.
// Errors: SFEUOT_ERROR_FORMAT, SFEUOT_ERROR_OUT_OF_MEMORY, and SFEUOT_ERROR_DEVICE on a GPU.
int32_t sfeuot_model_load_memory(struct SfeuotContext *context,
                                 const void *bytes,
                                 size_t size,
                                 struct SfeuotModel **model);

// Writes what the model is.
int32_t sfeuot_model_info(struct SfeuotModel *model, struct SfeuotModelInfo *info);

// Writes the sample_rank sizes of one sample's axes. shape has room for capacity numbers;
// SFEUOT_MAX_RANK always do, and too few are SFEUOT_ERROR_INVALID_ARGUMENT.
int32_t sfeuot_model_sample_shape(struct SfeuotModel *model, uint32_t capacity, int64_t *shape);

// Adds a reference, for a second owner; it is given back with sfeuot_model_release.
int32_t sfeuot_model_retain(struct SfeuotModel *model);

// Gives a reference back; with the last one the handle ends. Sessions made from the model keep
// what they need of it. NULL is allowed and does nothing.
int32_t sfeuot_model_release(struct SfeuotModel *model);

// Makes a session. A model may have any number of them, one for each thread that generates.
int32_t sfeuot_session_create(struct SfeuotModel *model, struct SfeuotSession **session);

// Draws one sample of the plan for each source row, in one pass through the generator.
//   source     rows x dimension, data units
//   generated  rows x dimension, data units
// The noise of row i depends on seed and first_row + i alone: rows drawn in pieces equal rows
// drawn at once (on a GPU up to rounding, by which about one row in a million draws another
// component), and another seed draws other samples for the same sources.
int32_t sfeuot_session_generate(struct SfeuotSession *session,
                                const float *source,
                                uint64_t rows,
                                uint64_t seed,
                                uint64_t first_row,
                                float *generated);

// As sfeuot_session_generate, for arrays that lie both in host memory or both in the memory of the
// model's GPU. Their shape is {rows, dimension} or {rows, ...shape of a sample}, dtype
// SFEUOT_DTYPE_F32, scale 1, offset 0; the numbers of a row lie one after the other, last axis
// innermost. In host memory the rows do so as well. In device memory they may be any distance
// apart, and generated may be the same rows as source, but not overlap them otherwise.
//   source     only read
//   generated  written, although data is a pointer to const; read_only must be 0
// With host memory the call returns when generated is there. With device memory the work is queued
// on the context's stream in the order of the calls, and the call returns without waiting for it:
// both arrays have to stay allocated until the stream has come past it. Only a call with more rows
// than all before it may wait for earlier work, as it takes memory anew. Neither source nor generated
// is looked at there: values of source that are not finite are not refused and give rows that are
// not finite, and SFEUOT_ERROR_NOT_FINITE is for host memory alone. Device memory that is not the
// GPU's, or ends too early, is SFEUOT_ERROR_INVALID_ARGUMENT. Where the first axis of both shapes is
// 0 the call does nothing, and data may be NULL.
int32_t sfeuot_session_generate_tensor(struct SfeuotSession *session,
                                       const struct SfeuotTensor *source,
                                       uint64_t seed,
                                       uint64_t first_row,
                                       const struct SfeuotTensor *generated);

// The mean of what is generated for each source row: the barycentric map. It is exact where the model
// has no latents (SfeuotModelInfo.latent_dimension is 0): latents, seed and first_row change nothing
// then. Otherwise it is the mean over that many latents, drawn for each row, with the rest of the
// noise averaged exactly. latents is from 1 to 2^24.
//   source  rows x dimension, data units
//   mean    rows x dimension, data units
int32_t sfeuot_session_conditional_mean(struct SfeuotSession *session,
                                        const float *source,
                                        uint64_t rows,
                                        uint32_t latents,
                                        uint64_t seed,
                                        uint64_t first_row,
                                        float *mean);

// Draws the path of each source row to its generated sample, a Brownian bridge of variance sigma^2
// t (1 - t), at given times. Time 0 is the source and time 1 what sfeuot_session_generate draws for
// the same seed and row, both bit for bit.
//   source  rows x dimension, data units
//   times   time_count numbers, ascending, within [0, 1]; with 0 of them nothing is done
//   path    rows x time_count x dimension, data units
int32_t sfeuot_session_trajectory(struct SfeuotSession *session,
                                  const float *source,
                                  uint64_t rows,
                                  const double *times,
                                  uint32_t time_count,
                                  uint64_t seed,
                                  uint64_t first_row,
                                  float *path);

// Writes the optimal drift -grad V(time, state): the mean velocity at that time and place, in data
// units per unit of time. time lies in [0, 1].
//   state  rows x dimension, data units
//   drift  rows x dimension
int32_t sfeuot_session_drift(struct SfeuotSession *session,
                             double time,
                             const float *state,
                             uint64_t rows,
                             float *drift);

// Writes the density of what is generated, relative to the target: about 1 where the target is
// matched, near 0 where it is too costly to reach, as at remote outliers; exactly 1 for
// SFEUOT_DIVERGENCE_BALANCED. It measures cost, not rarity: outliers near the source's way keep a high
// ratio, the more so the larger sigma is.
//   target  rows x dimension, data units
//   ratio   rows
int32_t sfeuot_session_density_ratio(struct SfeuotSession *session,
                                     const float *target,
                                     uint64_t rows,
                                     float *ratio);

// Adds a reference, for a second owner; it is given back with sfeuot_session_release.
int32_t sfeuot_session_retain(struct SfeuotSession *session);

// Gives a reference back; with the last one the handle ends. NULL is allowed and does nothing.
int32_t sfeuot_session_release(struct SfeuotSession *session);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SFEUOT_H */

// Names of structs that have grown: a program gets the function that fills the struct it knows.
#define sfeuot_trainer_config_init sfeuot_trainer_config_init_2
