// libsfeuot: entropic unbalanced optimal transport, trained from samples and called as a one-step
// generator. This header is the library's manual. It is C99, and C++ from C++98 on.
//
// Given samples of a source and of a target distribution in R^d (points, colours, small images,
// cells), the library learns how to carry the one into the other, and then carries any source
// sample there in one pass through a network. It learns the plan pi that solves the problem
//
//     minimise  E[1/2 |x0 - x1|^2] - sigma^2 E[H(pi(. | x0))] + D(pi1 | nu)
//
// over all plans whose first marginal is the source. x0 is a source sample and x1 what is generated
// for it. nu is the target, pi1 the law of all x1, H the entropy, and D a divergence with weight
// tau. sigma and tau are the two numbers to choose.
//
//
// Where it says what
//
//     structs and versions            SFEUOT_ABI_VERSION
//     what holds after a failure      sfeuot_last_error, and each SFEUOT_ERROR_*
//     memory, and where it runs out   SFEUOT_ERROR_OUT_OF_MEMORY
//     ownership of handles, threads   SfeuotContext
//     fork(), unloading               sfeuot_context_create
//     the order of work on a GPU      SfeuotContextConfig
//     device memory                   SFEUOT_MEMORY_CUDA, sfeuot_session_generate_tensor
//     samples                         SfeuotTensor, SfeuotData, SfeuotSampleCallback
//     choosing sigma and tau          SfeuotTrainerConfig
//     watching a training             SfeuotMetrics, SfeuotProgressCallback
//     saving                          sfeuot_trainer_save, sfeuot_model_save
//     rows in and out of a session    SfeuotSession
//     graphs for other programs       sfeuot_model_export_onnx, SFEUOT_ONNX_GENERATE
//     look-up tables of colours       sfeuot_session_bake_lut
//     pictures in and out of it       SfeuotTensor, sfeuot_session_generate_tensor
//     networks of your own            SfeuotProblem
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
//     SfeuotData source, target;
//
//     sfeuot_trainer_config_init(&config);
//     config.sigma = 0.1;                            // times the common scale of the samples
//
//     sfeuot_data_init(&source);
//     sfeuot_data_init(&target);
//
//     if (sfeuot_data_set_rows(&source, source_points, 1000, 3) != SFEUOT_OK || // const float *
//         sfeuot_data_set_rows(&target, target_points, 1000, 3) != SFEUOT_OK || // 1000 x 3
//         sfeuot_context_create(NULL, &context) != SFEUOT_OK ||
//         sfeuot_trainer_create(context, &config, &source, &target, &trainer) != SFEUOT_OK ||
//         sfeuot_trainer_step(trainer, 2000, NULL) != SFEUOT_OK ||
//         sfeuot_trainer_model(trainer, &model) != SFEUOT_OK ||
//         sfeuot_session_create(model, &session) != SFEUOT_OK ||
//         sfeuot_session_generate(session, source_points, 1000, 1, 0, generated) != SFEUOT_OK)
//         fprintf(stderr, "%s\n", sfeuot_last_error());
//
//     sfeuot_session_release(session);               // in any order; NULL is allowed
//     sfeuot_model_release(model);
//     sfeuot_trainer_release(trainer);
//     sfeuot_context_release(context);


#ifndef SFEUOT_H
#define SFEUOT_H

#include <stddef.h>
#include <stdint.h>

// Versions of this header and of the binary interface. sfeuot_version and sfeuot_abi_version tell
// those of the library that is running.

// Major number of this header's version.
#define SFEUOT_VERSION_MAJOR 0

// Minor number of this header's version.
#define SFEUOT_VERSION_MINOR 1

// Patch number of this header's version.
#define SFEUOT_VERSION_PATCH 0

// Version of the binary interface. It is also the number at the end of the shared library's SONAME.
// A program built against a header runs with every library that has the same number and is at least
// as new.
//
// Structs are filled by their sfeuot_..._init function before use. It sets struct_size, which tells
// the library how much of the struct the host knows. New fields are only ever appended, so a
// program built against an older header runs unchanged with a newer library: the fields that its
// header lacks have their defaults. A struct of a newer header is refused with
// SFEUOT_ERROR_UNSUPPORTED_VERSION. Enums travel as int32_t, and a number that is no value of the
// enum is refused.
#define SFEUOT_ABI_VERSION 0

// Statuses. Every call that can fail returns one of them. sfeuot_last_error says what holds after
// a failure.

// The call did what it says.
#define SFEUOT_OK 0

// An argument is NULL, zero, out of range, not finite, or does not fit another one. Samples that
// hold a NaN give this status too.
#define SFEUOT_ERROR_INVALID_ARGUMENT 1

// A handle was released, is of another kind, or was never made by this library.
#define SFEUOT_ERROR_INVALID_HANDLE 2

// A struct_size is larger than the library knows: the header is newer than the library.
#define SFEUOT_ERROR_UNSUPPORTED_VERSION 3

// The device asked for cannot be used here: there is no driver or no such GPU, or one of them is
// too old; or the system starts fewer threads than were asked for.
#define SFEUOT_ERROR_UNSUPPORTED_DEVICE 4

// Memory ran out, on the host or on the device.
//
// What grows with the arguments of a call or with a file is asked of the system before it is
// needed. Where the system refuses, the call returns this status and nothing has changed. Limits
// of arguments are checked before that. sfeuot_trainer_create asks for everything that a training
// will take before it reads a sample, on a GPU within memory_limit too; sfeuot_trainer_memory
// tells how much that was. On the CPU the steps allocate nothing. A session asks in its calls, but
// not in one that another of its kind came before with the same latents and time_count and no
// fewer rows. A model takes about 10 bytes for each of its parameters, where narrow layers count
// as whole vectors. Loading a model takes up to twice the file's size beside that.
//
// Small things are not asked for: an object's own struct, a thread's start, the text of an error.
// They are below 4 KiB whatever the arguments. A system that refuses even these ends the process.
// So may a system that promises more memory than it has (overcommit), when the memory is used.
#define SFEUOT_ERROR_OUT_OF_MEMORY 5

// The operating system refused to read or write a file.
#define SFEUOT_ERROR_IO 6

// A file is truncated, is not one of this library's, or was written by a newer version.
#define SFEUOT_ERROR_FORMAT 7

// A loss, a gradient or a new weight stopped being finite. The step it belonged to was not made.
// Where a loss or a gradient was the first one on new weights, the step that led to them is taken
// back too. The trainer is at the last weights that gave finite losses, sfeuot_trainer_metrics
// tells their step, and the trainer stays usable.
#define SFEUOT_ERROR_DIVERGED 8

// sfeuot_trainer_cancel or the progress callback stopped the run. The steps done so far are kept,
// and the text tells their number.
#define SFEUOT_ERROR_CANCELLED 9

// A callback of the host reported failure. The text holds the number that it returned.
#define SFEUOT_ERROR_CALLBACK 10

// Another call is inside this trainer, session or problem: on another thread, or on this one, where
// a callback called back.
#define SFEUOT_ERROR_BUSY 11

// The library caught a bug of its own before it could reach the host. A trainer or session that
// was in use answers this status from then on and has to be released; everything else stays
// usable. In the child of a fork() a trainer or session answers it too if another thread was
// inside of it then.
#define SFEUOT_ERROR_INTERNAL 12

// The device failed in the middle of its work: a GPU was reset, for example, or another program
// made an illegal access in the same CUDA context. The text has the driver's reason. What lived on
// the device is lost: release it, and make a new context.
#define SFEUOT_ERROR_DEVICE 13

// A result of a session is infinite or not a number. Either the model's weights are absurd, as
// after a training that nearly diverged or in a file that was tampered with, or the row lies far
// from the samples. The text names the row. No number that is not finite was written; rows before
// that one may have been.
#define SFEUOT_ERROR_NOT_FINITE 14

// Bytes that are enough for every sentence about an error, with its terminating zero.
#define SFEUOT_TEXT_SIZE 2048

// Devices, for SfeuotContextConfig.device.

// An NVIDIA GPU where one can be used, otherwise the CPU. The log says which it is, and why it is
// not a GPU: at SFEUOT_LOG_WARN where there is a driver or a cuda_ field names a GPU, otherwise at
// SFEUOT_LOG_INFO.
#define SFEUOT_DEVICE_AUTO 0

// The CPU.
#define SFEUOT_DEVICE_CPU 1

// An NVIDIA GPU, or SFEUOT_ERROR_UNSUPPORTED_DEVICE where none can be used. SfeuotContextConfig
// says in which order a GPU works. Its results differ from the CPU's in their last bits and, after
// many steps, in all bits.
#define SFEUOT_DEVICE_CUDA 2

// Who multiplies matrices on a GPU, for SfeuotContextConfig.cuda_products.

// The library's fused kernels for hidden layers of up to 512 units, and cublasLt for networks of
// larger ones where it is installed.
#define SFEUOT_PRODUCTS_AUTO 0

// The library's fused kernels for all layers.
#define SFEUOT_PRODUCTS_FUSED 1

// cublasLt for all layers, except those of convolutional networks, which have the library's own
// kernels in any case. Where it is not installed, the context gets SFEUOT_ERROR_UNSUPPORTED_DEVICE
// or, with SFEUOT_DEVICE_AUTO, the CPU.
#define SFEUOT_PRODUCTS_CUBLASLT 2

// The arithmetic of products of matrices on a GPU, for SfeuotContextConfig.cuda_precision. Sums,
// weights, gradients and whatever is not multiplied as a matrix or a convolution have 32 bits in
// any case.

// Numbers are multiplied as they are.
#define SFEUOT_PRECISION_F32 0

// On tensor cores: the numbers of a product are rounded to 11 significant bits. Needs compute
// capability 8.0, without which the context gets SFEUOT_ERROR_UNSUPPORTED_DEVICE or, with
// SFEUOT_DEVICE_AUTO, the CPU.
#define SFEUOT_PRECISION_TF32 1

// As SFEUOT_PRECISION_TF32, rounded to 8 significant bits.
#define SFEUOT_PRECISION_BF16 2

// Levels of the log, for SfeuotContextConfig.log_level and SfeuotLogCallback.

// Something failed. The call returns the same as a status.
#define SFEUOT_LOG_ERROR 0

// Something works less well than it could.
#define SFEUOT_LOG_WARN 1

// What the library chose: device, threads, sizes.
#define SFEUOT_LOG_INFO 2

// Details for whoever works on the library.
#define SFEUOT_LOG_DEBUG 3

// Answers of a SfeuotProgressCallback.

// Go on.
#define SFEUOT_CONTINUE 0

// End the run with SFEUOT_ERROR_CANCELLED.
#define SFEUOT_STOP 1

// Element types, for SfeuotTensor.dtype.

// 32-bit float.
#define SFEUOT_DTYPE_F32 0

// 64-bit float.
#define SFEUOT_DTYPE_F64 1

// 16-bit float, IEEE 754 binary16.
#define SFEUOT_DTYPE_F16 2

// 16-bit float, bfloat16.
#define SFEUOT_DTYPE_BF16 3

// Unsigned byte. scale and offset map it to the range you want, such as 1/127.5 and -1 for [-1, 1].
#define SFEUOT_DTYPE_U8 4

// Where an array lies, for SfeuotTensor.memory.

// In the host's memory.
#define SFEUOT_MEMORY_HOST 0

// In the memory of the context's GPU, managed memory included. The memory has to belong to the GPU
// and the CUDA context in use. What cudaMalloc gives belongs to the primary context.
#define SFEUOT_MEMORY_CUDA 1

// The most axes a tensor can have, the first one included.
#define SFEUOT_MAX_RANK 8

// Divergences, for SfeuotTrainerConfig.divergence. v is the value function at time 1, and the
// density ratio is the derivative of the conjugate.

// No mass may be left unmatched: both marginals are met, outliers included (the Schroedinger
// bridge). tau has no meaning.
#define SFEUOT_DIVERGENCE_BALANCED 0

// Kullback-Leibler: the conjugate is tau (exp(v / tau) - 1) and the density ratio exp(v / tau). The
// conjugate is continued linearly past v / tau = 8, so the ratio never exceeds exp(8).
#define SFEUOT_DIVERGENCE_KL 1

// Chi squared: the conjugate is v + v^2 / (4 tau) above v = -2 tau and -tau below. The ratio can
// become exactly 0.
#define SFEUOT_DIVERGENCE_CHI2 2

// Softplus: the conjugate is 2 tau (log(1 + exp(v / tau)) - log 2). The ratio stays below 2.
#define SFEUOT_DIVERGENCE_SOFTPLUS 3

// Activations, for SfeuotTrainerConfig.activation and SfeuotNetwork.activation.

// x sigmoid(x).
#define SFEUOT_ACTIVATION_SILU 0

// tanh(x).
#define SFEUOT_ACTIVATION_TANH 1

// log(1 + exp(x)).
#define SFEUOT_ACTIVATION_SOFTPLUS 2

// Kinds of networks, for SfeuotNetwork.kind.

// A multilayer perceptron, which sees a sample as a list of numbers.
#define SFEUOT_NETWORK_MLP 0

// A convolutional network, for samples of the shape {channels, height, width} or {height, width}:
// SFEUOT_NETWORK_CONV_TINY where a side is below 16 pixels, else SFEUOT_NETWORK_CONV_BASE where one
// is above 64, else SFEUOT_NETWORK_CONV_SMALL.
#define SFEUOT_NETWORK_CONV 1

// A convolutional network with 16 channels.
#define SFEUOT_NETWORK_CONV_TINY 2

// A convolutional network with 32 channels.
#define SFEUOT_NETWORK_CONV_SMALL 3

// A convolutional network with 64 channels and 2 blocks a level.
#define SFEUOT_NETWORK_CONV_BASE 4

// How a convolutional generator comes to finer levels, for SfeuotNetwork.upsampling.

// Each pixel is repeated in a square of 2 x 2.
#define SFEUOT_UPSAMPLING_NEAREST 0

// Each pixel is interpolated linearly, along both sides, between those next to it.
#define SFEUOT_UPSAMPLING_BILINEAR 1

// Units, for SfeuotTrainerConfig.sigma_units.

// sigma is in data units, and tau in data units squared.
#define SFEUOT_SIGMA_DATA_UNITS 0

// sigma is a multiple of the common scale that the library measures on the samples, and tau a
// multiple of that scale's square times the numbers of a sample. Costs are sums over these numbers,
// so one tau means the same for samples of 2 numbers and of 1000. The scale is the root mean
// square, over both sides and all components, of the deviation from the midpoint of the two sides'
// means. SfeuotModelInfo.data_scale tells it. Where all samples of both sides are one point, a
// thousand times what 32-bit numbers resolve there takes its place (or sigma in data units, where
// that is larger), and log_callback is given a warning.
#define SFEUOT_SIGMA_RELATIVE 1

// Halves of a training step, for the calls on an SfeuotProblem.

// The value function's half: the generator is held, and its components are drawn.
#define SFEUOT_HALF_VALUE 0

// The generator's half: the value function is held, and each component of a source sample has one
// row.
#define SFEUOT_HALF_GENERATOR 1

// The ONNX operator set of what sfeuot_model_export_onnx writes.
#define SFEUOT_ONNX_OPERATOR_SET 13

// Graphs, for SfeuotOnnxConfig.graph. All take and give samples in data units, as the sessions do:
// normalisation, axes and squares are part of the graph. The first size of every input and output
// is the number of rows, which is free; "sample" is the shape of a sample.

// Draws what sfeuot_session_generate draws, from noise that comes in. sfeuot_model_noise gives the
// noise of a session; any other of the same law does as well.
//   input   x0         rows x sample   source samples
//   input   latent     rows x L        standard normal; only where the model has L latents
//   input   component  rows x 1        uniform in (0, 1]; only of several components, no latents
//   input   noise      rows x d        standard normal; not where the generator is deterministic
//   output  x1         rows x sample   draws
#define SFEUOT_ONNX_GENERATE 0

// The conditional mean, without noise: sfeuot_session_conditional_mean. With latents it is the mean
// over SfeuotOnnxConfig.latents of them, which are part of the graph; with 1 latent a generator for
// pictures becomes a map without noise.
//   input   x0    rows x sample
//   output  mean  rows x sample
#define SFEUOT_ONNX_MEAN 1

// The value function and the drift at time t from 0 to 1: sfeuot_session_drift. The density ratio
// of sfeuot_session_density_ratio is a function of value at t = 1.
//   input   x      rows x sample
//   input   t      rows x 1
//   output  value  rows x 1        V(t, x), in data units squared
//   output  drift  rows x sample   -grad V(t, x)
#define SFEUOT_ONNX_VALUE 2

// Where work runs: a device, its threads, and where the log goes.
//
// Ownership. Contexts, trainers, models, sessions and problems are opaque handles. Creating one
// gives the host one reference, retain adds one, release takes one away, and the object ends with
// the last one. An object keeps alive whatever it needs from the objects it was made from, so
// handles may be released in any order. A handle is a number, not an address: one that was
// released, is of another kind, or was never made is refused with SFEUOT_ERROR_INVALID_HANDLE. A
// host must not dereference or free a handle, or save it to a file. Memory belongs to whoever
// allocated it: the library frees nothing of the host's and hands out nothing to free. Arrays and
// structs passed in are read during the call only, except for the device memory of
// sfeuot_session_generate_tensor. What a callback needs (userdata) has to outlive the object that
// calls it. A CUDA context or stream of the host's has to outlive everything made from the context.
//
// Threads. Any handle may be used from any thread. Many threads may use a context or a model at
// once. A trainer, session or problem does one call at a time: a second thread inside it, or a
// callback that calls back into it, gets SFEUOT_ERROR_BUSY at once, unless it asks to wait for
// some time (sfeuot_trainer_model_wait). Nothing else waits and nothing deadlocks. To generate on
// several threads, give each thread its own session on the same model, or a session several
// threads (SfeuotSessionConfig). A trainer is open while it tells of progress: see
// sfeuot_trainer_run.
// sfeuot_trainer_cancel, memory, retain and release are never busy. After a call returned, no
// callback that it started runs any more. Callbacks must return: no C++ exception and no longjmp
// may leave one.
//
// Floating-point mode. The calling thread may be in any mode (rounding, flushing of tiny numbers,
// traps). The library computes in the standard mode, callbacks run in the thread's own, and a
// call returns with that mode, exception flags included.
typedef struct SfeuotContext SfeuotContext;

// What a training learnt: a generator and a value network. It never changes, and many threads may
// use it at once.
typedef struct SfeuotModel SfeuotModel;

// A problem for networks of your own: what sfeuot_trainer_step computes beside networks and
// optimiser, as calls. SfeuotContext says how handles live. One call at a time is inside a problem;
// another one gets SFEUOT_ERROR_BUSY.
//
// Your two networks are the value function V(t, x), one number, and the generator. For a source
// sample x0 of d numbers the generator gives the numbers that the calls know as outputs:
//   latents = 0   K (2 d + 1) numbers: for each component k its displacement m_k - x0 (d numbers)
//                 and l_k (d numbers), one component after the other; then K logits, whose softmax
//                 is the components' probabilities p_k
//   latents = 1   K rows, one for each of K latents z that you draw and pass to the network beside
//                 x0: m_k - x0 (d numbers) and, unless deterministic, l_k (d numbers); p_k = 1 / K
// x1 given its component is Gaussian with mean m_k and the deviations s_k = sigma / 2 exp(l_k),
// which stay within [min(e^-6, e^-4 sigma / (2 scale)), max(e^3, e sigma / (2 scale))] times scale,
// with no gradient outside. A deterministic component is the point m_k. Outputs near zero are
// therefore a start that suits every problem. A batch has n source samples and n K rows; row
// i K + k belongs to source sample i. A step has two halves, each with fresh samples and noise:
//
//   The value function's half (SFEUOT_HALF_VALUE): minimise
//       -E[V(1, x1)] + E[Psi*(V(1, y))] + E[<grad V(t, x_t), 1/2 grad V(t, x_t) + b>]
//   1. draw n source samples x0, n K target samples y and n K times t (sfeuot_bridge_times)
//   2. pass the generator; sfeuot_bridge_sample gives x1, x_t and the drift b
//   3. pass V at (1, x1), (1, y) and (t, x_t), and take its gradient g by x_t
//   4. sfeuot_value_loss gives the numbers a_r, c_r and the rows w_r
//   5. step V along the gradient by its weights of
//      sum of a_r V(1, x1_r) + sum of c_r V(1, y_r) + sum of <grad V(t_r, x_t_r), w_r>
//      with a, c and w held constant. The last term is a directional derivative of V: forward
//      mode, or one number made of g that reverse mode differentiates again.
//
//   The generator's half (SFEUOT_HALF_GENERATOR): minimise
//       E[sum of p_k (V(t, x_t) + sigma^2 (log p(x_t | x0) - log N(x_t; x0, sigma^2 t)))]
//   1. draw n source samples x0 and n times t (sfeuot_bridge_times), one for all rows of a sample
//   2. pass the generator; sfeuot_bridge_sample gives x_t, one row for each component
//   3. pass V at (t, x_t), and take its gradient g by x_t
//   4. sfeuot_generator_loss gives the gradient by the generator's outputs, from which you step it
//
// The generator has to learn the faster of the two: with Adam, rates of 2e-3 and 1e-3 and decays of
// 0.5 and 0.99 are what sfeuot_trainer_create takes. Its trainings also begin from the plan between
// Gaussians, unless they are of pictures, and turn the samples to axes that suit them. These calls
// are of the problem as it is, so bring samples to a mean of about 0 and a spread of about 1
// yourself.
//
// Arrays are SfeuotTensors of 32-bit floats without gaps, of any shape with as many numbers, and of
// a call all lie in host memory or all in the memory of the context's GPU. Outputs are written,
// although data is a pointer to const; read_only must be 0. They must not overlap anything else.
// Lengths are in data units, V and losses in data units squared, and g in data units. times always
// lie in host memory. Each call returns when its results are there: on a GPU it is queued behind
// the work of the context's stream and then waited for. Bridges have the same bits however a batch
// is cut into calls, and everything has them for any number of threads. A GPU's results equal the
// CPU's up to rounding.
//
// Numbers that are not finite are not refused. Where a loss is not finite, the call gives
// SFEUOT_ERROR_NOT_FINITE, and the gradients that it wrote must not be used.
//
// On the CPU a call allocates nothing if one of its kind came before it with no fewer times.
typedef struct SfeuotProblem SfeuotProblem;

// One thread's workspace on a model. On the CPU its calls wait for no lock. A call allocates
// nothing if one of its kind came before it with the same latents and time_count and no fewer
// rows; on several threads it has to have had as many rows. sfeuot_session_bake_lut takes 48 KiB
// in each call.
//
// Rows. A block of "rows x dimension" floats holds one sample after the other without gaps.
// dimension is the product of the sample's shape, and the last axis is innermost. Values are in
// data units, the units that the samples were given in; the library scales inside. Inputs are
// finite, and no further from the samples' centre than 10^9 times the scale that the networks see
// them in; a refusal names that scale. Outputs must not overlap inputs, unless they are the same
// rows: samples may be answered in place. With 0 rows a call on a valid session does nothing and
// returns SFEUOT_OK: it looks at none of its other arguments except the shapes of tensors, and
// arrays may be NULL.
//
// The calls whose names end in _tensor take rows of any type and layout, such as pictures of bytes.
typedef struct SfeuotSession SfeuotSession;

// A problem with its networks and data, which steps train. SfeuotContext says how handles live.
typedef struct SfeuotTrainer SfeuotTrainer;

// What a GPU is. Fill it with sfeuot_device_info_init before sfeuot_cuda_device_info or
// sfeuot_context_device_info.
typedef struct SfeuotDeviceInfo {
    // Set by sfeuot_device_info_init.
    uint32_t struct_size;
    // The GPU's number among those that the driver shows, from 0. CUDA_VISIBLE_DEVICES changes it.
    uint32_t index;
    // The newest CUDA version that the driver supports: 1000 times its major number plus 10 times
    // its minor number, such as 12040 for 12.4.
    uint32_t driver_version;
    // Compute capability, major number.
    uint32_t capability_major;
    // Compute capability, minor number.
    uint32_t capability_minor;
    // Zero.
    uint32_t reserved;
    // Bytes of the GPU's memory.
    uint64_t memory;
    // The GPU's UUID. It is the same in every process and under every numbering.
    uint8_t uuid[16];
    // The driver's name for the GPU: UTF-8 that ends with a zero, cut where it is longer.
    char name[256];
} SfeuotDeviceInfo;

// Receives one line of the log. level is one of SFEUOT_LOG_*. utf8 holds len bytes without a
// terminating zero and is valid during the callback only. The library may call it from several
// threads at once, and only while a call on the context or on something made from it runs.
typedef void (*SfeuotLogCallback)(void *userdata, int32_t level, const char *utf8, size_t len);

// How to make a context. Fill it with sfeuot_context_config_init, then change what you need.
//
// Order on a GPU. A context on an NVIDIA GPU queues all of its work, and that of what is made from
// it, on one stream in the order of the calls. The stream is yours (cuda_stream) or one that the
// library makes. Device memory that the library reads has to be complete, or be written by work
// that comes earlier on that stream. Device memory that the library writes is ready when the stream
// has come past it: continue on the same stream, let another stream wait for an event recorded on
// it (sfeuot_context_cuda_stream tells which it is), or call sfeuot_context_synchronize. Outputs in
// host memory are ready when the call returns. sfeuot_session_generate_tensor on device memory is
// the one call that returns before its work is done. A failure of such work is told by a later
// call, as SFEUOT_ERROR_DEVICE. The CUDA context that was current on the calling thread is current
// again when a call returns. Streams that record a graph (stream capture) cannot be used.
typedef struct SfeuotContextConfig {
    // Set by sfeuot_context_config_init.
    uint32_t struct_size;
    // SFEUOT_DEVICE_*. Default SFEUOT_DEVICE_AUTO.
    int32_t device;
    // CPU threads to train with, the calling one included, from 1 to 1024. 0 takes one for each
    // core, and on a GPU the calling thread alone. Results do not depend on it. Default 0.
    uint32_t threads;
    // SFEUOT_LOG_*: the least urgent level that log_callback receives. Default SFEUOT_LOG_WARN.
    int32_t log_level;
    // Receives the log; NULL for no log. The library itself writes nothing to stdout, and to stderr
    // only when it has caught a bug of its own. Default NULL.
    SfeuotLogCallback log_callback;
    // Passed to log_callback. It has to live as long as the context and everything made from it.
    void *log_userdata;
    // The GPU's number among those that the driver shows. -1 takes the GPU of cuda_uuid,
    // cuda_context or cuda_stream, or else the first one. On the CPU the cuda_ fields and
    // memory_limit mean nothing. Default -1.
    int32_t cuda_device;
    // SFEUOT_PRODUCTS_*. Default SFEUOT_PRODUCTS_AUTO.
    int32_t cuda_products;
    // The 16 bytes of the GPU's UUID, which are copied; NULL for none. It must be NULL where
    // cuda_device is not -1. Default NULL.
    const uint8_t *cuda_uuid;
    // A CUcontext of yours to work in. It has to outlive the context and everything made from it.
    // NULL takes that of cuda_stream, or else the primary context of the GPU, which the CUDA
    // runtime uses as well. Default NULL.
    void *cuda_context;
    // A CUstream (cudaStream_t) of yours on which all work is queued. It has to outlive the context
    // and everything made from it. CUDA's legacy default stream needs cuda_context beside it. The
    // default stream per thread is refused, because it is another one on each thread. NULL takes a
    // stream that the library makes and that waits for no other; it is not the default stream.
    // Default NULL.
    void *cuda_stream;
    // The most bytes of device memory that the library takes through this context; 0 for no limit
    // but the GPU's. A call that needs more fails with
    // SFEUOT_ERROR_OUT_OF_MEMORY. What the driver needs for
    // itself does not count. Default 0.
    uint64_t memory_limit;
    // SFEUOT_PRECISION_*. Default SFEUOT_PRECISION_F32.
    int32_t cuda_precision;
    // Always 0.
    uint32_t reserved;
} SfeuotContextConfig;

// A strided array of the host's. The first axis counts samples, and the others are the shape of one
// sample: n points in three dimensions have shape {n, 3}, n colour pictures {n, 3, height, width}.
// The value of an element is element * scale + offset. "Data units" everywhere in this header are
// the units of that value.
//
// The colours of width * height RGBA pixels of one byte a channel, as numbers from 0 to 1:
//   dtype = SFEUOT_DTYPE_U8, rank = 2, shape = {width * height, 3}, strides = {4, 1},
//   scale = 1.0 / 255
// n pictures of bytes, one after the other, with rows that begin `pitch` bytes apart and colours as
// numbers from -1 to 1, differ in their strides alone:
//   dtype = SFEUOT_DTYPE_U8, rank = 4, shape = {n, 3, height, width},
//   scale = 1 / 127.5, offset = -1
//   RGB pixels          strides = {height * pitch, 1, pitch, 3}
//   RGBX pixels         strides = {height * pitch, 1, pitch, 4}
//   BGRX pixels         strides = {height * pitch, -1, pitch, 4}, data = the first pixel + 2
//   a plane a channel   strides = {3 * height * pitch, height * pitch, pitch, 1}
//   from bottom to top  strides = {height * pitch, 1, -pitch, 3}, data = the start of the last row
typedef struct SfeuotTensor {
    // Set by sfeuot_tensor_init.
    uint32_t struct_size;
    // SFEUOT_DTYPE_*. Default SFEUOT_DTYPE_F32.
    int32_t dtype;
    // The address of element (0, ..., 0), aligned for its type. The library only reads there,
    // except through the outputs of sessions. The call that takes the tensor says for how long it
    // reads.
    const void *data;
    // The number of axes, which is the length of shape and of strides: 1 to SFEUOT_MAX_RANK.
    uint32_t rank;
    // The size of each axis, at least 1. For a session the first one may be 0: there are no rows
    // then, and data may be NULL.
    const int64_t *shape;
    // Elements (not bytes) from one index of an axis to the next. Negative numbers and zero are
    // allowed. NULL means row-major without gaps. Default NULL.
    const int64_t *strides;
    // The factor of each element; finite, not 0. Default 1.
    double scale;
    // What is added to each scaled element; finite. Default 0.
    double offset;
    // SFEUOT_MEMORY_*: the memory that data is an address in. shape and strides always lie in host
    // memory. Default SFEUOT_MEMORY_HOST.
    int32_t memory;
    // 1 if the memory may not be written, so that the tensor is refused as an output; otherwise 0.
    // Default 0.
    int32_t read_only;
} SfeuotTensor;

// Fills batch with independent samples: rows of them, with dimension numbers each, row after row,
// in data units, all finite. Returns 0, or any other number to end the call with
// SFEUOT_ERROR_CALLBACK and that number in the text. It runs during calls on the trainer only, on
// the thread that made the call. sfeuot_trainer_create asks for 4096 samples in all, to measure
// their scale. Each step asks for batch_sources rows of the source, twice, and once for
// batch_sources x components rows of the target. What it gave for a step that was cancelled on the
// CPU is kept for that step, in the trainer but not in its checkpoints.
typedef int32_t (*SfeuotSampleCallback)(void *userdata,
                                        float *batch,
                                        uint64_t rows,
                                        uint64_t dimension);

// One side of the problem, the source or the target: either an array of samples, or a callback that
// draws fresh ones. Both sides have samples of the same shape. Rows of numbers one after the other
// are set by one call, sfeuot_data_set_rows; arrays of any type, layout and place are tensors.
typedef struct SfeuotData {
    // Set by sfeuot_data_init.
    uint32_t struct_size;
    // With sample_callback: how many axes one sample has, 1 to SFEUOT_MAX_RANK - 1, or 0 where it
    // has row_dimension numbers. Ignored with samples.
    uint32_t sample_rank;
    // The samples: up to 2^32 - 1 of up to 2^20 numbers each, all finite. They are copied before
    // the call returns. Device memory is read where it lies, in the order of the context's stream.
    // NULL with sample_callback.
    const struct SfeuotTensor *samples;
    // How often each sample is drawn, relative to the others: a tensor of rank 1 with one number
    // for each sample, finite, >= 0, not all zero. Only ratios matter, as the total mass is 1 on
    // both sides. It is copied as well, from device memory all that its elements span, up to 2^36
    // bytes. NULL draws all alike. Only with samples.
    const struct SfeuotTensor *weights;
    // Draws samples whenever the trainer needs some. NULL with samples.
    SfeuotSampleCallback sample_callback;
    // Passed to sample_callback. It has to live as long as the trainer.
    void *sample_userdata;
    // With sample_callback: the shape of one sample, sample_rank numbers, which are copied. Ignored
    // with samples.
    const int64_t *sample_shape;
    // The samples as rows without gaps in host memory, row_count x row_dimension elements, in place
    // of samples: sfeuot_data_set_rows sets them. They are copied before the call returns. NULL
    // with samples or sample_callback.
    const void *rows;
    // With rows: the number of samples.
    uint64_t row_count;
    // With rows, or with sample_callback where sample_rank is 0: the numbers of one sample.
    uint64_t row_dimension;
    // With rows: SFEUOT_DTYPE_*.
    int32_t row_dtype;
    // Always 0.
    uint32_t reserved;
    // With rows: the value of an element is element * row_scale + row_offset. Default 1.
    double row_scale;
    // See row_scale. Default 0.
    double row_offset;
    // 1: a picture, a sample of the shape { channels, height, width } or { height, width }, is
    // drawn mirrored, left to right, half of the time. Which one is a function of the seed, the
    // step and its place in the batch. Only with samples, and where networks are convolutional.
    // All pixels of a channel then lie about one centre, so the common scale that sigma and tau
    // are relative to is that about the channel's mean. Default 0.
    int32_t flip;
    // The most pixels by which a picture is moved up or down, and to either side, whenever it is
    // drawn, less than the pixels of the shorter side; those of its edge are repeated. Under the
    // same conditions as flip. A training that is resumed needs the same flip and crop. Default 0.
    uint32_t crop;
} SfeuotData;

// One network, for SfeuotTrainerConfig.value_network and generator_network. Fill it with
// sfeuot_network_init, then change what you need.
//
// Convolutional networks need SfeuotTrainerConfig.deterministic = 1, components = 1 and a
// latent_dimension of at least 1, and both networks have to be convolutional. They see pictures as
// they are, without the contraction that other networks' sources get: begin with a source that is
// not wider than the target. With SFEUOT_SIGMA_RELATIVE begin with tau = 2 and sigma = 0.3. See
// "Pictures" in docs/guide.md.
typedef struct SfeuotNetwork {
    // Set by sfeuot_network_init.
    uint32_t struct_size;
    // SFEUOT_ACTIVATION_*. Default SFEUOT_ACTIVATION_SILU.
    int32_t activation;
    // Units of each hidden layer of a perceptron, 1 to 4096. Default 128.
    uint32_t hidden_width;
    // Hidden layers of a perceptron, 1 to 16. Default 3.
    uint32_t hidden_layers;
    // 1 lets a perceptron see squares of a sample's numbers, as SfeuotTrainerConfig.squares says; 0
    // the sample alone. Default 1.
    int32_t squares;
    // SFEUOT_NETWORK_*. Default SFEUOT_NETWORK_MLP.
    int32_t kind;
    // Channels of the finest level of a convolutional network, up to 1024; coarser levels have
    // twice as many each, up to four times. 0 takes those of its kind. Default 0. This and the next
    // two have to be 0 for a perceptron.
    uint32_t channels;
    // Levels of a convolutional network, up to 6, each with half of the sides of the one before. 0
    // takes as many as leave sides of 4 pixels or more. Pictures with sides of 12 or more begin
    // with the four pixels of each square beside each other as channels. Default 0.
    uint32_t levels;
    // Residual blocks of each level, up to 8. 0 takes those of the kind. Default 0.
    uint32_t blocks;
    // 1 lets a convolutional generator add what it computes to the source sample, as suits a
    // translation between pictures. 0 lets it draw the picture anew, as suits a source of noise.
    // Default 1.
    int32_t residual;
    // The least and the largest number that a convolutional generator gives, in data units, low <
    // high: those of black and white, for pictures of which many pixels are one of both. Costs the
    // steps nothing and sharpens what is generated. Both 0, the default: no range.
    float low;
    // See low.
    float high;
    // SFEUOT_UPSAMPLING_*, of a convolutional generator; the value function has no finer levels to
    // come to. Default SFEUOT_UPSAMPLING_NEAREST, which has to stay for a perceptron.
    int32_t upsampling;
    // Groups of channels that each block of a convolutional generator normalises in each picture,
    // before a scale and a shift of every channel: group normalisation. It has to divide the
    // channels. 0 normalises nothing, and is what a value network needs. Default 0.
    uint32_t norm_groups;
    // Heads of the self-attention between the pixels of a convolutional generator's coarsest
    // level, up to 16. They have to divide that level's channels, which are 2 or 4 times as many as
    // the finest's where there are more levels, and it may have 1024 pixels. 0 is without
    // attention, and is what a value network needs. Default 0.
    uint32_t attention_heads;
} SfeuotNetwork;

// How to make a trainer. Fill it with sfeuot_trainer_config_init, set sigma, then change what you
// need.
//
// Choosing sigma. It is the noise of the coupling: it says how widely the samples that one source
// point is sent to may spread, as a multiple of the data's common scale or, with
// SFEUOT_SIGMA_DATA_UNITS, in data units. A small sigma approaches a deterministic map and is
// harder to train. A large sigma blurs, and forgets where a sample came from. Begin with 0.1; 0.05
// to 0.5 is usual. Solvers that take a weight epsilon of the entropy mean sigma^2 when their cost
// is 1/2 |x - y|^2, and 2 sigma^2 when it is |x - y|^2.
//
// Choosing tau. It is the price of leaving mass of the target unmatched, in units of cost, which
// are those of sigma squared. Every source sample is sent somewhere, so only differences in cost
// count. A part of the target that costs more than the others by clearly more than tau, as
// outliers do, gets less mass: with SFEUOT_DIVERGENCE_KL about exp(-difference / tau) of its own.
// A large tau approaches the balanced problem, which SFEUOT_DIVERGENCE_BALANCED is exactly. A
// small tau trusts the target less. Begin with 1, relative: the price of one spread of the samples
// in every number. In data units that is the number of a sample's numbers times the square of their
// spread.
typedef struct SfeuotTrainerConfig {
    // Set by sfeuot_trainer_config_init.
    uint32_t struct_size;
    // SFEUOT_DIVERGENCE_*: how the generated distribution may differ from the target. Default
    // SFEUOT_DIVERGENCE_KL.
    int32_t divergence;
    // Noise of the coupling, in sigma_units: 10^-6 to 10^3 times the common scale of the samples.
    // It has no default; see "Choosing sigma" above.
    double sigma;
    // Price of leaving mass of the target unmatched, in the square of sigma_units, and for each
    // number of a sample where they are relative: 10^-90 to 10^90 times the square of the common
    // scale in all. Default 1; see "Choosing tau" above.
    double tau;
    // SFEUOT_SIGMA_*. Default SFEUOT_SIGMA_RELATIVE, in which the same numbers suit pixels from 0
    // to 255 and metres.
    int32_t sigma_units;
    // SFEUOT_ACTIVATION_*, of both networks. Default SFEUOT_ACTIVATION_SILU.
    int32_t activation;
    // Units of each hidden layer, 1 to 4096. 128 is enough for two or three dimensions; take 256
    // for more. Default 128.
    uint32_t hidden_width;
    // Hidden layers of each network, 1 to 16. Default 3.
    uint32_t hidden_layers;
    // Numbers of noise z that the generator sees beside the sample, 0 to 4096. With 0 it gives
    // each source sample a mixture of `components` Gaussians and learns their probabilities, means
    // and deviations. This form is the more accurate one on the problems measured, and trains
    // faster. The network's last layer is then components x (2 dimension + 1) wide. With more
    // latents (8 is a good number) that layer is only 2 dimension wide, for samples of thousands
    // of numbers, such as images. Default 0.
    uint32_t latent_dimension;
    // 1 gives the generator no noise of its own beside the latents, as suits images, and needs
    // latent_dimension to be at least 1. 0 lets the generator learn its noise. Default 0.
    int32_t deterministic;
    // 1 lets both networks see, beside each number x of a sample, a square of x, less its mean.
    // With x in units of the common spread, the square is bent to grow like |x| beyond 3. Value
    // functions of Gaussians and mixtures are made of squares; the more numbers a sample has, the
    // more squares gain. The first layers become twice as large. 0 lets them see samples alone.
    // Default 1.
    int32_t squares;
    // Source samples of a step, up to 2^20. With 0 as many as make 1024 rows with components, but
    // at most 128; 64 where networks are convolutional. Default 0.
    uint32_t batch_sources;
    // K, up to 4096; K times batch_sources is limited to 2^24, and time grows with both. A source
    // sample is given a mixture of K Gaussians, so K is about the number of clusters that its
    // images can fall into. With latents, K of them are drawn for each source sample of a step,
    // and 16 is a good number. With 0 it is 16 for samples of up to 4 numbers, 8 for others and
    // with latents, and 1 where networks are convolutional. A balanced training without latents, of
    // samples of up to 128 numbers, has 16 or 32 where the target comes apart into more clusters
    // than these 8 or 16 and there is memory for it; the log says so. Default 0.
    uint32_t components;
    // Must be 0.
    uint32_t reserved;
    // Adam's rate for the generator, > 0. The generator has to learn faster than the value
    // network. Default 2e-3.
    double generator_learning_rate;
    // Adam's rate for the value network, > 0. Default 1e-3; 3e-4 is slower and safer.
    double value_learning_rate;
    // Adam's decay of the mean, in [0, 1). Default 0.5.
    double adam_beta1;
    // Adam's decay of the square, in [0, 1). Default 0.99.
    double adam_beta2;
    // Decay of the moving average of both networks' weights, in [0, 1). Models use the average.
    // The decay begins smaller, so that a short training forgets its start. Default 0.998.
    double ema_decay;
    // Largest norm of a network's gradient, in the units of SfeuotMetrics.value_gradient_norm. A
    // longer gradient is shortened to it; 0 turns that off. Default 0.
    double gradient_clip;
    // Steps over which both rates fall along a cosine to decay_floor, where they stay. 0 keeps
    // them constant. Default 0.
    uint64_t decay_steps;
    // Final rate as a fraction of the first, in [0, 1]. Default 0.02.
    double decay_floor;
    // Seed of all randomness. The same seed, data and settings give the same bits on the same
    // device (on CPUs with the same vector instructions), with any number of threads. Default 0.
    uint64_t seed;
    // The value network, or NULL for the one that activation, hidden_width, hidden_layers and
    // squares describe. Read during the call only. If the two networks differ from each other,
    // versions of the library that lack this field refuse the files. Default NULL.
    const struct SfeuotNetwork *value_network;
    // The same for the generator's network. Default NULL.
    const struct SfeuotNetwork *generator_network;
    // tau at the first step, as a multiple of tau: > 0, and together with tau in tau's range. It
    // then rises or falls to tau, evenly in the logarithm. A training that begins with a smaller
    // tau, such as 0.1 times its own, meets far parts of the target after the near ones. Balanced
    // transport ignores it. Where networks are not convolutional, what is known of the value
    // function before the training has the final tau, so begin less far from it. A model that is
    // taken before tau_steps are over has the tau of its last step. Default 1.
    double tau_start;
    // Steps until tau has its value; 0 keeps it constant, and tau_start must be 1 then. Default 0.
    uint64_t tau_steps;
    // gamma, from 0 to 1000: gamma/2 |grad V(1, y)|^2, averaged over the target samples y, is added
    // to the value network's loss, as gradient penalties of discriminators are. It smooths the
    // value function where few samples tell it, and makes its step about half as long again. It
    // has no unit. What is known of the value function before the training has no penalty. Between
    // two sets of pictures begin with 0.01. Default 0: none.
    double gradient_penalty;
} SfeuotTrainerConfig;

// What the last step saw. Fill it with sfeuot_metrics_init before the first use; every call
// rewrites it whole. u is the drift, V the value function. The values are estimates from one batch:
// average them.
//
// Where the source is a sampler, dual and action carry a constant of relative size 1 / sqrt(4096
// dimension), from the 4096 samples that its moments were measured on. Averages do not remove it.
typedef struct SfeuotMetrics {
    // Set by sfeuot_metrics_init.
    uint32_t struct_size;
    // Zero.
    uint32_t reserved;
    // Steps done since the trainer was made, those before a checkpoint included.
    uint64_t step;
    // The dual objective potential - action on the last batch, in units of cost (data units
    // squared). It settles at the problem's value, E of the integral of 1/2 |u|^2 over time plus
    // D(pi1 | nu). That is not the mean of 1/2 |x0 - x1|^2.
    double dual;
    // -dual, which the value step minimises.
    double value_loss;
    // What the generator step minimises: sigma^2 times a Kullback-Leibler divergence, up to a
    // constant, in units of cost.
    double generator_loss;
    // E[V(1, x1)] over generated x1 minus E[Psi*(V(1, y))] over the target, in units of cost. It
    // settles at D(pi1 | nu), which is 0 when balanced.
    double potential;
    // E[1/2 |grad V|^2 + grad V . b] along the bridges, where b is their drift, in units of cost.
    // It settles at minus the kinetic energy, E of the integral of 1/2 |u|^2 over time.
    double action;
    // Norm of the value network's gradient, before clipping, in units of the problem that the
    // networks see: the source is moved, and both sides lie around 0 with a spread of 1.
    double value_gradient_norm;
    // Norm of the generator's gradient, before clipping, in the same units.
    double generator_gradient_norm;
    // Mean density ratio over the target. It is 1 when the masses agree, which they do at the end
    // of a training.
    double density_ratio_mean;
    // Training steps per second of the last call that trained.
    double steps_per_second;
    // E[V(1, x1)] over generated x1, in units of cost.
    double value_generated;
    // E[V(1, y)] over the target, in units of cost. When balanced, only its difference from
    // value_generated has a meaning.
    double value_target;
    // The share of the target's samples that is matched, from 0 to 1: (sum of r)^2 / (n sum of
    // r^2) of the density ratio r at the n samples of the batch. It is 1 when balanced, and
    // small from the start where tau is small against the costs. Where it falls to less than a
    // tenth, the value function has mostly collapsed onto few samples.
    double matched_share;
    // How much generated samples vary, relative to the target's, in the units that the networks
    // see: the root of E|x1 - x1'|^2 / E|y - y'|^2 over pairs of the batch. Near 1 is good, and
    // near 0 the generator has collapsed. It is 0 where it is not known, as with batch_sources = 1.
    double spread;
} SfeuotMetrics;

// Is told about a run, on the thread that called sfeuot_trainer_run. metrics is valid during the
// callback only. Returns SFEUOT_CONTINUE or SFEUOT_STOP; any other number ends the run with
// SFEUOT_ERROR_CALLBACK and that number in the text.
typedef int32_t (*SfeuotProgressCallback)(void *userdata, const struct SfeuotMetrics *metrics);

// What a model is. Fill it with sfeuot_model_info_init before sfeuot_model_info.
typedef struct SfeuotModelInfo {
    // Set by sfeuot_model_info_init.
    uint32_t struct_size;
    // How many axes one sample has; sfeuot_model_sample_shape tells their sizes.
    uint32_t sample_rank;
    // Numbers of one sample, which is the product of its shape.
    uint64_t dimension;
    // Numbers of noise that the generator sees beside the sample; 0 for none.
    uint32_t latent_dimension;
    // Gaussians of the mixture that a source sample is given. With latents: how many of them a
    // training drew for each source sample.
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

// Settings of a session. Fill it with sfeuot_session_config_init, then change what you need.
typedef struct SfeuotSessionConfig {
    // Set by sfeuot_session_config_init.
    uint32_t struct_size;
    // The most threads that work on a call, with the calling one. They are those of the context
    // that the model was made on, and no more than it has. 0 takes all of them; the largest number
    // is 1024. Default 1, which leaves all other cores to the host. Results are the same bits for
    // any number. Ignored where the model is on a GPU.
    //
    // Each thread takes rows of its own, from about 2^20 multiply-adds on. Pictures that are too
    // few for all threads are computed one after the other by all threads together, so a single
    // one takes less time as well. While another call or a training works with the context's
    // threads, a call does not wait for them and works on its own thread alone; so does a training
    // while a call has them.
    uint32_t threads;
} SfeuotSessionConfig;

// How to make an SfeuotProblem. Fill it with sfeuot_problem_config_init, set sigma and dimension,
// then change what you need.
typedef struct SfeuotProblemConfig {
    // Set by sfeuot_problem_config_init.
    uint32_t struct_size;
    // SFEUOT_DIVERGENCE_*. Default SFEUOT_DIVERGENCE_KL.
    int32_t divergence;
    // Noise of the coupling, in sigma_units: 10^-6 to 10^3 times scale. It has no default;
    // SfeuotTrainerConfig says how to choose it.
    double sigma;
    // Price of leaving mass of the target unmatched, in the square of sigma_units, and for each
    // number of a sample where they are relative: 10^-90 to 10^90 times the square of scale in all.
    // Default 1.
    double tau;
    // A length in data units: the common scale of the samples, which sfeuot_common_scale measures,
    // or 1 where your networks see samples with a spread of about 1. 10^-15 to 10^15. Relative
    // sigma and tau are multiples of it and of its square for each number, and it bounds what a
    // deviation may be (see SfeuotProblem). Default 1.
    double scale;
    // SFEUOT_SIGMA_*. With SFEUOT_SIGMA_DATA_UNITS sigma and tau are in data units whatever scale
    // is. Default SFEUOT_SIGMA_RELATIVE.
    int32_t sigma_units;
    // K, the rows of each source sample, 1 to 4096. Default 8.
    uint32_t components;
    // d, the numbers of a sample, 1 to 2^20. It has no default.
    uint64_t dimension;
    // 0 if the generator's network gives a source sample all K components with their logits; 1 if
    // it gives one component for each of K latents. Default 0.
    int32_t latents;
    // 1 if components are points without deviations, which needs latents to be 1; otherwise 0.
    // Default 0.
    int32_t deterministic;
} SfeuotProblemConfig;

// The value function's loss with its terms, means over the rows of a call. SfeuotMetrics has the
// same ones of a trainer. Fill it with sfeuot_value_loss_init before sfeuot_value_loss.
typedef struct SfeuotValueLoss {
    // Set by sfeuot_value_loss_init.
    uint32_t struct_size;
    // Zero.
    uint32_t reserved;
    // What the value function minimises: minus dual.
    double value_loss;
    // potential - action.
    double dual;
    // E[V(1, x1)] - E[Psi*(V(1, y))].
    double potential;
    // E[<grad V(t, x_t), 1/2 grad V(t, x_t) + b>].
    double action;
    // E[V(1, x1)].
    double value_generated;
    // E[V(1, y)].
    double value_target;
    // E[Psi*'(V(1, y))], the mean density ratio.
    double density_ratio_mean;
    // As SfeuotMetrics.matched_share.
    double matched_share;
} SfeuotValueLoss;

// Converts rows colours of 3 floats each in place, such as from sRGB to Oklab. Returns 0, or any
// other number to end the call with SFEUOT_ERROR_CALLBACK and that number in the text.
typedef int32_t (*SfeuotColourCallback)(void *userdata, float *colours, uint64_t rows);

// A look-up table, for sfeuot_session_bake_lut. Fill it with sfeuot_lut_config_init, then change
// what you need.
typedef struct SfeuotLutConfig {
    // Set by sfeuot_lut_config_init.
    uint32_t struct_size;
    // Entries along each axis, from 2 to 256. Default 33.
    uint32_t size;
    // For a model with latents: how many of them each mean is taken over, from 1 to 2^24. Default
    // 64.
    uint32_t latents;
    // Always 0.
    uint32_t reserved;
    // Seed of these latents. Default 0.
    uint64_t seed;
    // They are those that sfeuot_session_conditional_mean draws for the row of this number, for
    // every entry, so that the table is as smooth as the model. Default 0.
    uint64_t row;
    // The colour of the first entry. Default 0, 0, 0.
    double low[3];
    // The colour of the last entry, above low in each number. Default 1, 1, 1.
    double high[3];
    // Takes the table's colours to the data units of the model. Default NULL: they are the same.
    SfeuotColourCallback to_model;
    // Takes what the model gives to the table's colours. Default NULL.
    SfeuotColourCallback from_model;
    // Handed to both. Default NULL.
    void *userdata;
} SfeuotLutConfig;

// Takes the next size bytes of a file that is written from front to back. Returns 0, or any other
// number to end the call with SFEUOT_ERROR_CALLBACK and that number in the text.
typedef int32_t (*SfeuotWriteCallback)(void *userdata, const void *bytes, size_t size);

// What sfeuot_model_export_onnx writes, and where. Fill it with sfeuot_onnx_config_init, then
// change what you need.
typedef struct SfeuotOnnxConfig {
    // Set by sfeuot_onnx_config_init.
    uint32_t struct_size;
    // SFEUOT_ONNX_*. Default SFEUOT_ONNX_GENERATE.
    int32_t graph;
    // For SFEUOT_ONNX_MEAN of a model with latents: how many of them the mean is taken over, from 1
    // to 4096. The graph passes the generator as often for each row. Default 16.
    uint32_t latents;
    // Always 0.
    uint32_t reserved;
    // Seed of these latents. Default 0.
    uint64_t seed;
    // They are those that sfeuot_session_conditional_mean draws for the row of this number, and the
    // same for every row of the graph. Default 0.
    uint64_t row;
    // Takes the file where path is NULL. Default NULL.
    SfeuotWriteCallback write;
    // Handed to write. Default NULL.
    void *userdata;
} SfeuotOnnxConfig;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Returns the version of the library that is running: MAJOR << 16 | MINOR << 8 | PATCH.
uint32_t sfeuot_version(void);

// Returns the SFEUOT_ABI_VERSION of the library that is running. A host that loads the library by
// hand (dlopen, LoadLibrary) compares it with the macro before any other call.
uint32_t sfeuot_abi_version(void);

// Returns why the last failing call on this thread failed: one sentence in UTF-8 that starts with
// the function and names the argument, its value and what is allowed. The result is never NULL; it
// is "" when no call has failed on this thread. The text is the library's. It belongs to the
// calling thread and stays until the next call on this thread fails. Calls that succeed leave it
// alone, so a host may release what it holds before it prints. A host whose calls move between
// threads asks the object instead: sfeuot_context_error, and its likes for trainers, models,
// sessions and problems.
//
// What holds after a failure. Every call that can fail returns a status, SFEUOT_OK (0) or one of
// SFEUOT_ERROR_*. A call that failed changed nothing, unless its description says so. Outputs are
// the last arguments and are written on success only; after a failure they hold what they held
// before. The arrays of session calls are the exception: after SFEUOT_ERROR_INTERNAL,
// SFEUOT_ERROR_DEVICE and SFEUOT_ERROR_NOT_FINITE some of their rows may be written, the first ones
// where one thread works. Numbers that a call writes to host memory are finite whenever it returns
// SFEUOT_OK.
//
// Some statuses may come from any call and are not repeated at each: SFEUOT_ERROR_INVALID_ARGUMENT,
// SFEUOT_ERROR_INVALID_HANDLE, SFEUOT_ERROR_UNSUPPORTED_VERSION, SFEUOT_ERROR_OUT_OF_MEMORY and
// SFEUOT_ERROR_INTERNAL; for trainers, sessions and problems SFEUOT_ERROR_BUSY; for calls that
// write rows SFEUOT_ERROR_NOT_FINITE; and on a GPU SFEUOT_ERROR_DEVICE.
const char *sfeuot_last_error(void);

// Returns the name of a status, such as "SFEUOT_ERROR_BUSY", or "unknown status". The text is a
// constant of the library and never NULL.
const char *sfeuot_status_name(int32_t status);

// Fills info with zeros and its struct_size.
int32_t sfeuot_device_info_init(struct SfeuotDeviceInfo *info);

// Writes how many GPUs the NVIDIA driver shows. That is 0 where there is no driver or the driver is
// too old; sfeuot_context_create with SFEUOT_DEVICE_CUDA says which of these it is. Errors:
// SFEUOT_ERROR_DEVICE when a GPU does not answer.
int32_t sfeuot_cuda_device_count(uint32_t *count);

// Writes what the GPU with number index is. index lies below the count of sfeuot_cuda_device_count.
// Errors: SFEUOT_ERROR_DEVICE when a GPU does not answer.
int32_t sfeuot_cuda_device_info(uint32_t index, struct SfeuotDeviceInfo *info);

// Fills config with the defaults.
//
// In C and C++ call this name: a macro below makes it sfeuot_context_config_init_2. The symbol
// itself is for programs that were built when the struct ended with memory_limit, and fills no
// more than that.
int32_t sfeuot_context_config_init(struct SfeuotContextConfig *config);

// The function that sfeuot_context_config_init names in C and C++. Bindings to other languages
// call it themselves, with a struct as the header has it.
int32_t sfeuot_context_config_init_2(struct SfeuotContextConfig *config);

// Makes a context. config NULL means all defaults. Errors: SFEUOT_ERROR_INVALID_ARGUMENT,
// SFEUOT_ERROR_UNSUPPORTED_VERSION, SFEUOT_ERROR_UNSUPPORTED_DEVICE, SFEUOT_ERROR_DEVICE.
//
// After a fork() the child may use and release what it inherited, and make objects of its own. On
// the CPU results have the same bits as in the parent. A context starts its threads anew in the
// child, and works on the calling thread alone if the system starts none. A trainer or session that
// another thread of the parent was inside of at the fork may be half changed. It answers
// SFEUOT_ERROR_INTERNAL in the child: release it. A GPU that was in use does not follow into the
// child: what lives on it answers SFEUOT_ERROR_DEVICE there at once, and is released without a call
// of the driver. A child made by other means than fork() (vfork, _Fork, clone) may not call the
// library.
//
// dlclose never unloads the shared library: handles stay valid over it. A host may reload a plug-in
// that is linked to the library, once it has released or cancelled what calls back into the plug-in
// (samplers, progress, log).
int32_t sfeuot_context_create(const struct SfeuotContextConfig *config,
                              struct SfeuotContext **context);

// Writes the number of CPU threads that the context uses.
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
// is queued; NULL on the CPU. The stream is the host's own, or it ends with the last of these
// objects.
int32_t sfeuot_context_cuda_stream(const struct SfeuotContext *context, void **stream);

// Waits until all work that was queued on the context's stream is done. On the CPU there is none.
// Errors: SFEUOT_ERROR_DEVICE when some of the work failed.
int32_t sfeuot_context_synchronize(const struct SfeuotContext *context);

// Copies the sentence of the last call that failed on this context: what sfeuot_last_error returned
// for it on its own thread. Hosts whose calls move between threads, such as tasks and goroutines,
// read it here, where no other object's call can take its place. A call that makes something of the
// context is a call on it, so the reason of a creation that failed is here. "" where no call has
// failed. SFEUOT_ERROR_BUSY and refused handles leave the sentence alone, and so does this
// function, which may be called from any thread at any time.
//   buffer  size bytes; gets a C string in UTF-8, cut at a character where it is too short
//   size    1 or more; SFEUOT_TEXT_SIZE is always enough
int32_t sfeuot_context_error(struct SfeuotContext *context, char *buffer, size_t size);

// Adds a reference, for a second owner. sfeuot_context_release gives it back.
int32_t sfeuot_context_retain(struct SfeuotContext *context);

// Gives a reference back. With the last one the handle ends. Trainers, models and sessions made
// from the context keep what they need of it. NULL is allowed and does nothing.
int32_t sfeuot_context_release(struct SfeuotContext *context);

// Fills tensor with the defaults: an empty array of 32-bit floats in host memory, scale 1, offset
// 0.
int32_t sfeuot_tensor_init(struct SfeuotTensor *tensor);

// Makes tensor, which sfeuot_tensor_init has filled, a view of a DLPack tensor. It gets the DLPack
// tensor's elements, shape, strides, memory and read_only, with scale 1 and offset 0. dlpack points
// to a DLManagedTensorVersioned of DLPack 1.x, which the capsule "dltensor_versioned" of Python's
// __dlpack__(max_version=(1, 0)) holds. Nothing is copied and nothing taken over: the DLPack tensor
// has to live while the view is used, and the host calls its deleter afterwards.
//
// Its elements are float of 16, 32 or 64 bits, bfloat of 16 or uint of 8, one lane each. It has 1
// to SFEUOT_MAX_RANK axes of at least 1, but the first axis may be 0. It lies on kDLCPU,
// kDLCUDAHost, kDLCUDA or kDLCUDAManaged. Anything else is SFEUOT_ERROR_INVALID_ARGUMENT. On which
// GPU device memory lies is checked where the view is used.
int32_t sfeuot_tensor_from_dlpack(const void *dlpack, struct SfeuotTensor *tensor);

// Fills data with the defaults: neither samples nor a callback.
//
// In C and C++ call this name: a macro below makes it sfeuot_data_init_3. The symbol itself is for
// programs that were built when the struct ended with sample_shape, and fills no more than that.
int32_t sfeuot_data_init(struct SfeuotData *data);

// As sfeuot_data_init, for programs that were built when the struct ended with row_offset.
int32_t sfeuot_data_init_2(struct SfeuotData *data);

// The function that sfeuot_data_init names in C and C++. Bindings to other languages call it
// themselves, with a struct as the header has it.
int32_t sfeuot_data_init_3(struct SfeuotData *data);

// Makes rows of numbers the samples of data, which sfeuot_data_init has filled: rows x dimension
// 32-bit floats in host memory, one sample after the other without gaps. It takes the place of
// samples, rows and callback that were set before and leaves the weights. Nothing is copied yet:
// sfeuot_trainer_create reads the numbers, and they have to stay until it returns.
//   rows       1 to 2^32 - 1
//   dimension  1 to 2^20
int32_t sfeuot_data_set_rows(struct SfeuotData *data,
                             const float *samples,
                             uint64_t rows,
                             uint64_t dimension);

// Does the same for rows of bytes, such as pixels. The value of a byte is byte * scale + offset.
//   scale   finite and not 0, such as 1.0 / 255
//   offset  finite
int32_t sfeuot_data_set_bytes(struct SfeuotData *data,
                              const uint8_t *samples,
                              uint64_t rows,
                              uint64_t dimension,
                              double scale,
                              double offset);

// Makes a callback the samples of data, which sfeuot_data_init has filled: it draws samples of
// dimension numbers. It takes the place of samples, rows, callback and weights that were set
// before.
//   callback   not NULL
//   userdata   passed to callback; it has to live as long as the trainer
//   dimension  1 to 2^20
int32_t sfeuot_data_set_sampler(struct SfeuotData *data,
                                SfeuotSampleCallback callback,
                                void *userdata,
                                uint64_t dimension);

// In C and C++ call this name: a macro below makes it sfeuot_network_init_3. The symbol itself is
// for programs that were built when SfeuotNetwork ended with kind, and fills that much of network.
int32_t sfeuot_network_init(struct SfeuotNetwork *network);

// As sfeuot_network_init, for programs that were built when SfeuotNetwork ended with high.
int32_t sfeuot_network_init_2(struct SfeuotNetwork *network);

// Fills network with the defaults, which are those of SfeuotTrainerConfig. Programs that include
// this header call it as sfeuot_network_init; whoever looks functions up by name (dlsym, bindings
// of other languages) needs this name.
int32_t sfeuot_network_init_3(struct SfeuotNetwork *network);

// In C and C++ call this name: a macro below makes it sfeuot_trainer_config_init_4. The symbol
// itself is for programs that were built when SfeuotTrainerConfig ended with seed, and fills that
// much of config.
int32_t sfeuot_trainer_config_init(struct SfeuotTrainerConfig *config);

// As sfeuot_trainer_config_init, for programs that were built when the struct ended with
// generator_network.
int32_t sfeuot_trainer_config_init_2(struct SfeuotTrainerConfig *config);

// As sfeuot_trainer_config_init, for programs that were built when the struct ended with tau_steps.
int32_t sfeuot_trainer_config_init_3(struct SfeuotTrainerConfig *config);

// Fills config with the defaults. sigma has none and has to be set before the config is used.
// Programs that include this header call it as sfeuot_trainer_config_init; whoever looks functions
// up by name (dlsym, bindings of other languages) needs this name.
int32_t sfeuot_trainer_config_init_4(struct SfeuotTrainerConfig *config);

// In C and C++ call this name: a macro below makes it sfeuot_metrics_init_2. The symbol itself is
// for programs that were built when SfeuotMetrics ended with steps_per_second, and fills that much
// of metrics.
int32_t sfeuot_metrics_init(struct SfeuotMetrics *metrics);

// Fills metrics with zeros and its struct_size. Programs that include this header call it as
// sfeuot_metrics_init; whoever looks functions up by name (dlsym, bindings of other languages)
// needs this name.
int32_t sfeuot_metrics_init_2(struct SfeuotMetrics *metrics);

// Makes a trainer with fresh networks. Samples of source and target must have the same shape.
// Arrays are copied, and sample callbacks stay in use until the trainer is released. Errors:
// SFEUOT_ERROR_INVALID_ARGUMENT (which names the field), SFEUOT_ERROR_UNSUPPORTED_VERSION,
// SFEUOT_ERROR_CALLBACK, SFEUOT_ERROR_OUT_OF_MEMORY.
int32_t sfeuot_trainer_create(struct SfeuotContext *context,
                              const struct SfeuotTrainerConfig *config,
                              const struct SfeuotData *source,
                              const struct SfeuotData *target,
                              struct SfeuotTrainer **trainer);

// Takes steps training steps (at least 1) and writes what the last one saw. metrics may be NULL. A
// training ends at 2^53 steps, and a call for more is SFEUOT_ERROR_INVALID_ARGUMENT. Errors:
// SFEUOT_ERROR_DIVERGED, SFEUOT_ERROR_CANCELLED, SFEUOT_ERROR_CALLBACK, SFEUOT_ERROR_BUSY. The
// steps done before one of the first three are kept, except for the last one before a divergence;
// sfeuot_trainer_metrics tells their number.
int32_t sfeuot_trainer_step(struct SfeuotTrainer *trainer,
                            uint64_t steps,
                            struct SfeuotMetrics *metrics);

// Trains like sfeuot_trainer_step, and calls progress after every that many steps (at least 1) and
// after the last one. With progress NULL nobody is told, and every is ignored. While progress runs,
// calls on this trainer that train are SFEUOT_ERROR_BUSY, on any thread. All others work:
// sfeuot_trainer_model gives what has been learnt so far, so a training can show itself.
int32_t sfeuot_trainer_run(struct SfeuotTrainer *trainer,
                           uint64_t steps,
                           uint64_t every,
                           SfeuotProgressCallback progress,
                           void *userdata,
                           struct SfeuotMetrics *metrics);

// Takes steps for about milliseconds (finite, > 0), for a host that trains inside its frame. It
// takes at least one step, and starts none that is expected to end past the time, by how long the
// one before it took. It writes how many steps this call did and what the last one saw; both
// outputs may be NULL. Errors are those of sfeuot_trainer_step. After one, SFEUOT_ERROR_CANCELLED
// included, sfeuot_trainer_metrics tells the steps so far.
int32_t sfeuot_trainer_run_for(struct SfeuotTrainer *trainer,
                               double milliseconds,
                               uint64_t *steps_done,
                               struct SfeuotMetrics *metrics);

// Makes the step, run or run_for call that is inside this trainer return SFEUOT_ERROR_CANCELLED. It
// may be called from any thread, also from a callback, and returns at once.
//
// On the CPU the step in progress is left when each thread has come to the end of its block of rows
// (64, or components where that is more). The step is then not made: nothing of it stays but the
// samples that callbacks gave for it, which it takes when it is made later. A training that goes on
// has the bits of one that was never cancelled. On a GPU the steps that are queued already, up to
// 32, are made first. A callback that runs is waited for, and sfeuot_trainer_create cannot be
// cancelled.
//
// After SFEUOT_ERROR_BUSY it stops whichever call is inside by then, also when that is not the one
// that made the trainer busy. Without one inside nothing happens: a call that begins later is not
// cancelled.
int32_t sfeuot_trainer_cancel(struct SfeuotTrainer *trainer);

// Writes what the last step saw; zeros before the first step.
int32_t sfeuot_trainer_metrics(struct SfeuotTrainer *trainer, struct SfeuotMetrics *metrics);

// Writes how many bytes the training takes of host memory, and of the GPU's memory (0 on the CPU).
// Either output may be NULL. sfeuot_trainer_create works both numbers out before it reads a
// sample, and refuses a training that finds no room for them. The trainer takes all of it when it
// is made, so the numbers never change. This call is never SFEUOT_ERROR_BUSY.
//
// Counted are the trainer's copies of arrays, both networks with their gradients and the state of
// the optimiser, the workspaces of all threads, and the batches of callbacks. On a GPU all of it
// lies in the GPU's memory but for these batches, about 70 bytes for each component of a sample,
// and 8 bytes for each weight of samples in device memory.
//
// Not counted are what the process had before, such as your arrays and the context with its
// threads; on a GPU what the driver takes, and 32 MiB for cublasLt that the trainings of a context
// share; models and sessions; and what a call takes while it runs. sfeuot_trainer_save and
// sfeuot_trainer_model take about 16 bytes for each parameter of both networks for a while.
// sfeuot_trainer_create measures and copies the samples before it takes anything else. For that it
// takes 40 bytes for each weighted sample beside the copies, and for a callback 12 bytes for
// each number of 4096 samples, but at most 12 MiB. Of samples of up to 512 numbers it keeps up
// to 65,536 a side (4,194,304 numbers) for a while, with 8 bytes a number and 9 a sample, and of
// the target then three times 32,768 (2,097,152 numbers) in place of the source's. Of balanced
// trainings that may begin with clusters (up to 128 numbers, two components or more, no
// latents) it keeps up to 262,144 a side beside these. Creation asks the system for the larger
// of that and host_bytes.
int32_t sfeuot_trainer_memory(struct SfeuotTrainer *trainer,
                              uint64_t *host_bytes,
                              uint64_t *device_bytes);

// Makes a model from what has been learnt so far: a copy of the averaged generator and of the
// averaged value network. Further training does not change it, and is not changed by it: it goes on
// with the same bits. While another call is inside the trainer this is SFEUOT_ERROR_BUSY at once;
// sfeuot_trainer_model_wait waits for the end of a step.
int32_t sfeuot_trainer_model(struct SfeuotTrainer *trainer, struct SfeuotModel **model);

// Makes the same while another thread trains. Where a call is inside the trainer, it waits for the
// end of the current step, up to milliseconds, and then the training goes on. On a GPU that is the
// end of up to 32 steps that are queued at once. SFEUOT_ERROR_BUSY tells that the time was over: a
// step took longer, or the call that is inside is not one that trains. A callback of samples is
// inside a step, so there it waits in vain; a progress callback is between steps, and there it need
// not wait. Other calls wait for this one rather than be SFEUOT_ERROR_BUSY because of it, for up to
// ten seconds.
//   milliseconds  finite, 0 or more; about the time, as it looks every tenth of one
int32_t sfeuot_trainer_model_wait(struct SfeuotTrainer *trainer,
                                  double milliseconds,
                                  struct SfeuotModel **model);

// Writes a checkpoint: settings, networks, averages, optimiser, step number and a fingerprint of
// the samples, but not the samples. The file is replaced as sfeuot_model_save says. Errors:
// SFEUOT_ERROR_IO, SFEUOT_ERROR_FORMAT (a weight or another number is not finite, so that the file
// could not be loaded), SFEUOT_ERROR_OUT_OF_MEMORY, SFEUOT_ERROR_BUSY, and SFEUOT_ERROR_DEVICE on a
// GPU.
int32_t sfeuot_trainer_save(struct SfeuotTrainer *trainer, const char *path);

// Makes a trainer from a checkpoint and goes on where it was: with the same data and device, bit
// for bit. Arrays that hold other samples or weights than before, or have another flip or crop, are
// refused with SFEUOT_ERROR_INVALID_ARGUMENT. A callback is the host's to rewind to where its
// samples go on. The file need not be trusted, as with sfeuot_model_load. Errors: SFEUOT_ERROR_IO,
// SFEUOT_ERROR_FORMAT, and those of sfeuot_trainer_create.
int32_t sfeuot_trainer_load(struct SfeuotContext *context,
                            const char *path,
                            const struct SfeuotData *source,
                            const struct SfeuotData *target,
                            struct SfeuotTrainer **trainer);

// Copies the sentence of the last call that failed on this trainer, sfeuot_trainer_model included.
// See sfeuot_context_error.
int32_t sfeuot_trainer_error(struct SfeuotTrainer *trainer, char *buffer, size_t size);

// Adds a reference, for a second owner. sfeuot_trainer_release gives it back.
int32_t sfeuot_trainer_retain(struct SfeuotTrainer *trainer);

// Gives a reference back. With the last one the handle ends, and the trainer with it or, when a
// call is inside it, with that call. No callback runs for it any more then. NULL is allowed and
// does nothing.
int32_t sfeuot_trainer_release(struct SfeuotTrainer *trainer);

// Fills info with zeros and its struct_size.
int32_t sfeuot_model_info_init(struct SfeuotModelInfo *info);

// Writes the model to a file. A file of that name is replaced whole or, on failure, left as it was.
// Saves of one file at the same time, in any threads and processes, come one after the other. A
// save fails with SFEUOT_ERROR_IO when the one before it has written nothing for a minute, as one
// that is stopped. Errors: SFEUOT_ERROR_IO, SFEUOT_ERROR_FORMAT (a weight or a setting is not a
// finite number, so that the file could not be loaded), SFEUOT_ERROR_OUT_OF_MEMORY.
int32_t sfeuot_model_save(struct SfeuotModel *model, const char *path);

// Reads a model from a file, which need not be trusted. A file that asks for more than any model of
// this library has is refused, as is what is not a regular file. Errors: SFEUOT_ERROR_IO,
// SFEUOT_ERROR_FORMAT, SFEUOT_ERROR_OUT_OF_MEMORY, and SFEUOT_ERROR_DEVICE on a GPU.
int32_t sfeuot_model_load(struct SfeuotContext *context,
                          const char *path,
                          struct SfeuotModel **model);

// Reads a model from size bytes (at least 1) in memory, which are the content of a file and are
// copied. Errors: SFEUOT_ERROR_FORMAT, SFEUOT_ERROR_OUT_OF_MEMORY, and SFEUOT_ERROR_DEVICE on a
// GPU.
int32_t sfeuot_model_load_memory(struct SfeuotContext *context,
                                 const void *bytes,
                                 size_t size,
                                 struct SfeuotModel **model);

// Writes what the model is.
int32_t sfeuot_model_info(struct SfeuotModel *model, struct SfeuotModelInfo *info);

// Writes the sample_rank sizes of one sample's axes. shape has room for capacity numbers.
// SFEUOT_MAX_RANK is always enough, and too small a capacity is SFEUOT_ERROR_INVALID_ARGUMENT.
int32_t sfeuot_model_sample_shape(struct SfeuotModel *model, uint32_t capacity, int64_t *shape);

// Copies the sentence of the last call that failed on this model, sfeuot_session_create included.
// See sfeuot_context_error.
int32_t sfeuot_model_error(struct SfeuotModel *model, char *buffer, size_t size);

// Adds a reference, for a second owner. sfeuot_model_release gives it back.
int32_t sfeuot_model_retain(struct SfeuotModel *model);

// Gives a reference back. With the last one the handle ends. Sessions made from the model keep what
// they need of it. NULL is allowed and does nothing.
int32_t sfeuot_model_release(struct SfeuotModel *model);

// Fills config with the defaults.
int32_t sfeuot_session_config_init(struct SfeuotSessionConfig *config);

// Makes a session whose calls work on the calling thread alone. A model may have any number of
// them, one for each thread that generates.
int32_t sfeuot_session_create(struct SfeuotModel *model, struct SfeuotSession **session);

// Makes a session with settings of its own, such as the number of threads that its calls work on.
// config NULL means the defaults, those of sfeuot_session_create.
int32_t sfeuot_session_create_with(struct SfeuotModel *model,
                                   const struct SfeuotSessionConfig *config,
                                   struct SfeuotSession **session);

// Copies the sentence of the last call that failed on this session. See sfeuot_context_error.
int32_t sfeuot_session_error(struct SfeuotSession *session, char *buffer, size_t size);

// Adds a reference, for a second owner. sfeuot_session_release gives it back.
int32_t sfeuot_session_retain(struct SfeuotSession *session);

// Gives a reference back. With the last one the handle ends. NULL is allowed and does nothing.
int32_t sfeuot_session_release(struct SfeuotSession *session);

// Draws one sample of the plan for each source row, in one pass through the generator.
//   source     rows x dimension, data units
//   generated  rows x dimension, data units; it may be source itself
// The noise of row i depends on seed and first_row + i alone. So rows drawn in pieces equal rows
// drawn at once, and a particle keeps its fate from frame to frame if it keeps its number. On a GPU
// that holds up to rounding, by which about one row in a million draws another component. Another
// seed draws other samples for the same sources.
int32_t sfeuot_session_generate(struct SfeuotSession *session,
                                const float *source,
                                uint64_t rows,
                                uint64_t seed,
                                uint64_t first_row,
                                float *generated);

// Draws the same as sfeuot_session_generate, for arrays that lie both in host memory or both in the
// memory of the model's GPU. Their shape is {rows, dimension} or {rows, ...shape of a sample}.
//   source     only read
//   generated  written, although data is a pointer to const; read_only must be 0
//
// In host memory both may have any element types, strides, scales and offsets, so that pictures go
// from one buffer into another as they are; SfeuotTensor shows some. The value v is written as the
// element nearest to (v - offset) / scale; what lies beyond the range of the type becomes its
// largest or smallest finite element, so 0 or 255 in bytes. No two elements of generated may share
// memory, and each stride has to go past all that smaller ones reach. generated may be the same
// memory as source where row for row both have the same bytes, in any order of the numbers in a
// row. Otherwise they must not overlap, but rows of both may lie beside each other in one array, as
// pictures in a sheet do, where both have the same strides. Where they are no rows of floats
// without gaps, the session keeps 8 MiB to bring them over, or the size of two rows where that is
// more. The call returns when generated is there.
//
// In device memory the type is SFEUOT_DTYPE_F32, scale is 1, and offset is 0. The numbers of a row
// lie one after the other, last axis innermost. The rows may be any distance apart, and generated
// may be the same rows as source, but not overlap them otherwise. The work is queued on the
// context's stream in the order of the calls, and the call returns without waiting for it: both
// arrays have to stay allocated until the stream has come past it. A call with more rows than all
// before it takes memory anew and may wait for earlier work. The library does not look at the
// values there: values of source that are not finite are not refused and give rows that are not
// finite, and SFEUOT_ERROR_NOT_FINITE is for host memory alone. Device memory that is not the
// GPU's, or ends too early, is SFEUOT_ERROR_INVALID_ARGUMENT. Where the first axis of both shapes
// is 0 the call does nothing, and data may be NULL.
int32_t sfeuot_session_generate_tensor(struct SfeuotSession *session,
                                       const struct SfeuotTensor *source,
                                       uint64_t seed,
                                       uint64_t first_row,
                                       const struct SfeuotTensor *generated);

// Writes the mean of what is generated for each source row: the barycentric map. It is exact where
// the model has no latents (SfeuotModelInfo.latent_dimension is 0); latents, seed and first_row
// then change nothing. With latents it is the mean over that many of them, drawn for each row, with
// the rest of the noise averaged exactly. latents is from 1 to 2^24.
//   source  rows x dimension, data units
//   mean    rows x dimension, data units; it may be source itself
int32_t sfeuot_session_conditional_mean(struct SfeuotSession *session,
                                        const float *source,
                                        uint64_t rows,
                                        uint32_t latents,
                                        uint64_t seed,
                                        uint64_t first_row,
                                        float *mean);

// Writes the same as sfeuot_session_conditional_mean, for arrays in host memory as
// sfeuot_session_generate_tensor has them.
//   source  only read
//   mean    written, although data is a pointer to const; read_only must be 0
int32_t sfeuot_session_conditional_mean_tensor(struct SfeuotSession *session,
                                               const struct SfeuotTensor *source,
                                               uint32_t latents,
                                               uint64_t seed,
                                               uint64_t first_row,
                                               const struct SfeuotTensor *mean);

// Draws the path of each source row to its generated sample at given times. The path is a Brownian
// bridge of variance sigma^2 t (1 - t). At time 0 it is the source, and at time 1 what
// sfeuot_session_generate draws for the same seed and row, both bit for bit. So paths between
// pictures are a source picture that fades into the generated one, with noise of that variance on
// every number in between. The value network has no part in them.
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
// units per unit of time. time lies in [0, 1]. It is exact for the V that was learnt, and as good
// as that: V is trained where the paths of sfeuot_session_trajectory run. For pictures V is no more
// than the critic that the generator learns from, and no accurate drift: a simulation with it gives
// worse pictures than the one step.
//   state  rows x dimension, data units
//   drift  rows x dimension; it may be state itself
int32_t sfeuot_session_drift(struct SfeuotSession *session,
                             double time,
                             const float *state,
                             uint64_t rows,
                             float *drift);

// Writes the density of what is generated, relative to the target. It is about 1 where the target
// is matched, near 0 where the target is too costly to reach, as at remote outliers, and exactly 1
// for SFEUOT_DIVERGENCE_BALANCED. It measures cost, not rarity: outliers near the source's way keep
// a high ratio, which rises with sigma.
//   target  rows x dimension, data units
//   ratio   rows
int32_t sfeuot_session_density_ratio(struct SfeuotSession *session,
                                     const float *target,
                                     uint64_t rows,
                                     float *ratio);

// Writes the same as sfeuot_session_density_ratio, for samples in host memory as
// sfeuot_session_generate_tensor has them.
//   target  only read
//   ratio   one number for each row of target
int32_t sfeuot_session_density_ratio_tensor(struct SfeuotSession *session,
                                            const struct SfeuotTensor *target,
                                            float *ratio);

// Fills config with the defaults. sigma and dimension have none and have to be set before the
// config is used.
int32_t sfeuot_problem_config_init(struct SfeuotProblemConfig *config);

// Makes a problem and takes the memory that its calls on the CPU need; a GPU's is taken in its
// first calls. Errors: SFEUOT_ERROR_INVALID_ARGUMENT (which names the field),
// SFEUOT_ERROR_UNSUPPORTED_VERSION, SFEUOT_ERROR_OUT_OF_MEMORY.
int32_t sfeuot_problem_create(struct SfeuotContext *context,
                              const struct SfeuotProblemConfig *config,
                              struct SfeuotProblem **problem);

// Copies the sentence of the last call that failed on this problem. See sfeuot_context_error.
int32_t sfeuot_problem_error(struct SfeuotProblem *problem, char *buffer, size_t size);

// Adds a reference, which needs one more sfeuot_problem_release.
int32_t sfeuot_problem_retain(struct SfeuotProblem *problem);

// Gives a reference back. With the last one the handle ends, and the problem with it or, when a
// call is inside it, with that call. NULL is allowed and does nothing.
int32_t sfeuot_problem_release(struct SfeuotProblem *problem);

// Measures the common scale of two sides' samples, in data units: what SFEUOT_SIGMA_RELATIVE of an
// SfeuotTrainerConfig is a multiple of. Sample callbacks are called during the call only. Errors:
// SFEUOT_ERROR_INVALID_ARGUMENT, SFEUOT_ERROR_CALLBACK, SFEUOT_ERROR_OUT_OF_MEMORY.
int32_t sfeuot_common_scale(struct SfeuotContext *context,
                            const struct SfeuotData *source,
                            const struct SfeuotData *target,
                            double *scale);

// Draws the times at which a training's networks are evaluated: together they cover their interval
// evenly, each is uniform on it. Times of your own are as good.
//   times  in the value function's half sources x components numbers in [0, 0.995]; in the
//          generator's sources numbers in [0.2, 1]. Deterministic problems end at 0.995, except
//          that with one component every second time of the generator's half is 1.
// They follow from seed, half, step and first_source alone: a batch that is drawn in pieces has the
// times of one that is drawn at once. step is below 2^53.
int32_t sfeuot_bridge_times(struct SfeuotProblem *problem,
                            int32_t half,
                            uint64_t sources,
                            uint64_t seed,
                            uint64_t step,
                            uint64_t first_source,
                            float *times);

// Draws the bridges of n source samples: for each row an end x1, and at its time a state x_t of the
// Brownian bridge from x0 to x1, with the drift's mean there.
//   source   n x d         x0
//   outputs  of the generator, as SfeuotProblem says
//   times    n x K numbers for SFEUOT_HALF_VALUE, n for SFEUOT_HALF_GENERATOR, in host memory; from
//            0 to 1, for the generator's half above 0. For deterministic problems they are below 1,
//            except in the generator's half with one component
//   end      n x K x d     x1 = m + s xi
//   state    n x K x d     x_t = (1 - t) x0 + t x1 + sigma sqrt(t (1 - t)) eta
//   drift    n x K x d     b = m - x0 + (s^2 - sigma^2) / (t s^2 + sigma^2 (1 - t))
//                          (x_t - (1 - t) x0 - t m), the mean of (x1 - x_t) / (1 - t) given x0, the
//                          component and x_t
// Each of end, state and drift may be NULL. xi and eta are standard normals.
//
// With SFEUOT_HALF_VALUE and latents = 0, the component of each row is drawn by the softmax of the
// logits: the K rows of a source sample take them at even distances along the cumulated
// probabilities, so component k is taken by K p_k rows to within one. Otherwise row k has component
// k. The noise follows from seed, half, step and the row's number (first_source + i) K + k alone,
// and is that of an sfeuot_trainer_step of this seed. step is below 2^53; raise it from batch to
// batch, and first_source within one that is drawn in pieces.
int32_t sfeuot_bridge_sample(struct SfeuotProblem *problem,
                             int32_t half,
                             const struct SfeuotTensor *source,
                             const struct SfeuotTensor *outputs,
                             const float *times,
                             uint64_t seed,
                             uint64_t step,
                             uint64_t first_source,
                             const struct SfeuotTensor *end,
                             const struct SfeuotTensor *state,
                             const struct SfeuotTensor *drift);

// Fills loss with zeros and its struct_size.
int32_t sfeuot_value_loss_init(struct SfeuotValueLoss *loss);

// Computes the value function's loss over R rows, and what is to be differentiated. R is the rows
// of the batch, n K, or any other number.
//   generated     R      V(1, x1)
//   target        R      V(1, y)
//   gradient      R x d  g = grad V(t, x_t), the gradient by x
//   drift         R x d  b of sfeuot_bridge_sample
//   by_generated  R      a = -1 / R, the derivative of the loss by V(1, x1)
//   by_target     R      c = Psi*'(V(1, y)) / R, the derivative of the loss by V(1, y)
//   direction     R x d  w = (g + b) / R
//   loss                 the loss and its terms; may be NULL
// The gradient of the loss by the value function's weights is that of
//   sum of a V(1, x1) + sum of c V(1, y) + sum of <grad V(t, x_t), w>
// with a, c and w held constant: the last sum has the gradient of the action,
// 1/R sum of <g, g / 2 + b>, because g is differentiated in it once and not held in w.
int32_t sfeuot_value_loss(struct SfeuotProblem *problem,
                          const struct SfeuotTensor *generated,
                          const struct SfeuotTensor *target,
                          const struct SfeuotTensor *gradient,
                          const struct SfeuotTensor *drift,
                          const struct SfeuotTensor *by_generated,
                          const struct SfeuotTensor *by_target,
                          const struct SfeuotTensor *direction,
                          struct SfeuotValueLoss *loss);

// Computes the generator's loss over n source samples, and its gradient by the generator's outputs.
//   source    n x d      x0
//   outputs   of the generator, as SfeuotProblem says
//   times     n numbers in host memory, as for sfeuot_bridge_sample
//   state     n x K x d  x_t of sfeuot_bridge_sample with SFEUOT_HALF_GENERATOR, from these
//                        outputs and times
//   value     n x K      V(t, x_t)
//   gradient  n x K x d  g = grad V(t, x_t), the gradient by x
//   by_outputs           the gradient of the loss, with the shape of outputs
//   loss                 the loss, in data units squared: sigma^2 times a Kullback-Leibler
//                        divergence, up to a constant; may be NULL
// With F_k = V(t, x_t) + sigma^2 (log p(x_t | x0) - log N(x_t; x0, sigma^2 t)) at component k's
// x_t, the loss is the mean of sum of p_k F_k over the source samples, where
//   p(x | x0) = sum of p_k N(x; (1 - t) x0 + t m_k, t^2 s_k^2 + sigma^2 t (1 - t)).
// Its gradient goes through x_t and, for logit k, is p_k (F_k - sum of p_j F_j). What it leaves
// out, the part through the components of p, is zero on average. With latents p is an estimate
// from the K components drawn, whose bias of order 1 / K is taken off. A deterministic problem
// takes the whole gradient; with one component its loss is V(t, x_t) + t / 2 |m - x0|^2.
int32_t sfeuot_generator_loss(struct SfeuotProblem *problem,
                              const struct SfeuotTensor *source,
                              const struct SfeuotTensor *outputs,
                              const float *times,
                              const struct SfeuotTensor *state,
                              const struct SfeuotTensor *value,
                              const struct SfeuotTensor *gradient,
                              const struct SfeuotTensor *by_outputs,
                              double *loss);

// Computes the conjugate of a divergence and its derivative, the density ratio, as
// SFEUOT_DIVERGENCE_* state them. It needs no handle, and any number of threads may be inside it.
//   divergence  SFEUOT_DIVERGENCE_*
//   tau         the divergence's weight, a finite number above 0, in the units of v
//   v           count numbers: the value function at time 1
//   conjugate   count numbers Psi*(v), or NULL
//   ratio       count numbers Psi*'(v), or NULL
// The outputs must not overlap v or each other. With a count of 0 nothing is done, and arrays may
// be NULL. A v that is not a number gives results that are not either.
int32_t sfeuot_conjugate(int32_t divergence,
                         double tau,
                         const double *v,
                         uint64_t count,
                         double *conjugate,
                         double *ratio);

// Fills config with the defaults.
int32_t sfeuot_lut_config_init(struct SfeuotLutConfig *config);

// Writes the conditional mean of a model of 3 numbers a sample on a grid of colours: a look-up
// table that grading programs and engines apply. config may be NULL for the defaults. Entry (i,
// j, k) of size^3 lies at 3 x (i + size x (j + size x k)), as in .cube files; its colour is low
// plus (high - low) times (i, j, k) / (size - 1). Results are not kept within any range.
// examples-c/common has writers of .cube files and HALD pictures.
//   table  3 x size^3 floats
// Errors: SFEUOT_ERROR_INVALID_ARGUMENT also for a model of another dimension,
// SFEUOT_ERROR_CALLBACK, SFEUOT_ERROR_NOT_FINITE.
int32_t sfeuot_session_bake_lut(struct SfeuotSession *session,
                                const struct SfeuotLutConfig *config,
                                float *table);

// Fills config with the defaults.
int32_t sfeuot_onnx_config_init(struct SfeuotOnnxConfig *config);

// Writes a graph of the model as an ONNX file (operator set SFEUOT_ONNX_OPERATOR_SET), for programs
// without this library. Its operators are those that TensorRT, DirectML and Unity's Sentis have,
// all numbers are 32-bit floats, and results are those of a session up to rounding. config may be
// NULL for the defaults. Either path names the file, which is replaced whole or, on failure, left
// as it was, or path is NULL and config->write takes the bytes. Errors: SFEUOT_ERROR_IO,
// SFEUOT_ERROR_CALLBACK, SFEUOT_ERROR_FORMAT (a weight is not a finite number, or the file would be
// longer than 2 GiB), SFEUOT_ERROR_OUT_OF_MEMORY.
int32_t sfeuot_model_export_onnx(struct SfeuotModel *model,
                                 const struct SfeuotOnnxConfig *config,
                                 const char *path);

// Writes the noise by which sfeuot_session_generate draws these rows, in the form in which a graph
// of SFEUOT_ONNX_GENERATE takes it. The same seed and row numbers then give the same draws there.
// Each array may be NULL; those that the graph has no input for need not be given.
//   latent     rows x latent_dimension of SfeuotModelInfo
//   component  rows
//   noise      rows x dimension
int32_t sfeuot_model_noise(struct SfeuotModel *model,
                           uint64_t rows,
                           uint64_t seed,
                           uint64_t first_row,
                           float *latent,
                           float *component,
                           float *noise);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SFEUOT_H */

// Names of structs that have grown: a program gets the function that fills the struct it knows.
#define sfeuot_trainer_config_init sfeuot_trainer_config_init_4
#define sfeuot_network_init sfeuot_network_init_3
#define sfeuot_metrics_init sfeuot_metrics_init_2
#define sfeuot_data_init sfeuot_data_init_3
#define sfeuot_context_config_init sfeuot_context_config_init_2
