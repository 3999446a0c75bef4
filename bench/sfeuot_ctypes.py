"""ctypes binding of the C API, for the measurements here.

The library is taken from SFEUOT_LIBRARY, or else from target/release/libsfeuot.so of the repository. Arrays may be NumPy's or
any that has __dlpack__ of DLPack 1.x, on the CPU or on the context's GPU, such as PyTorch's and CuPy's.

    context = Context(threads=2)
    trainer = Trainer(context, source, target, divergence="kl", sigma=0.5)     # arrays, or Sampler(fill, shape)
    metrics = trainer.step(1000)
    with trainer.model().session() as session:
        y = session.generate(x, seed=1)

On a GPU, work runs on one stream. Give the one that your own work runs on, and everything is in order:

    stream = torch.cuda.Stream()
    context = Context(device="cuda", cuda_stream=stream.cuda_stream)
    with torch.cuda.stream(stream):
        y = session.generate(x)

PyTorch's default stream cannot be given: its number is 0, by which the library would understand a stream of its own, without any
order between the two. On a stream of its own arrays that were passed in are ready when the library reads them, but what it wrote to
the GPU is ready for others, and its inputs may be freed, only in the order of that stream: after context.synchronize(), or
without a wait of the host for work that PyTorch is made to queue behind it:

    torch.cuda.current_stream().wait_stream(torch.cuda.ExternalStream(context.cuda_stream))
"""
import contextlib
import ctypes as c
import functools
import math
import operator
import os
import pathlib
import sys
import time
import uuid

import numpy as np

ABI_VERSION = 0
DEVICES = {"auto": 0, "cpu": 1, "cuda": 2}
PRODUCTS = {"auto": 0, "fused": 1, "cublaslt": 2}
PRECISIONS = {"f32": 0, "tf32": 1, "bf16": 2}
NETWORKS = {"mlp": 0, "conv": 1, "conv_tiny": 2, "conv_small": 3, "conv_base": 4}
UPSAMPLINGS = {"nearest": 0, "bilinear": 1}
DIVERGENCES = {"balanced": 0, "kl": 1, "chi2": 2, "softplus": 3}
ACTIVATIONS = {"silu": 0, "tanh": 1, "softplus": 2}
HALVES = {"value": 0, "generator": 1}
SIGMA_UNITS = {"data": 0, "relative": 1}
ONNX_GRAPHS = {"generate": 0, "mean": 1, "value": 2}
LOG_LEVELS = {"error": 0, "warn": 1, "info": 2, "debug": 3}
DTYPES = {"float32": 0, "float64": 1, "float16": 2, "uint8": 4}
ERROR_CANCELLED, ERROR_CALLBACK = 9, 10
CONTINUE, STOP = 0, 1

_u32, _i32, _u64, _i64, _f64, _ptr = c.c_uint32, c.c_int32, c.c_uint64, c.c_int64, c.c_double, c.c_void_p
LogCallback = c.CFUNCTYPE(None, _ptr, _i32, c.c_char_p, c.c_size_t)
SampleCallback = c.CFUNCTYPE(_i32, _ptr, c.POINTER(c.c_float), _u64, _u64)


class ContextConfig(c.Structure):
    _fields_ = [("struct_size", _u32), ("device", _i32), ("threads", _u32), ("log_level", _i32),
                ("log_callback", LogCallback), ("log_userdata", _ptr), ("cuda_device", _i32), ("cuda_products", _i32),
                ("cuda_uuid", c.c_char_p), ("cuda_context", _ptr), ("cuda_stream", _ptr), ("memory_limit", _u64),
                ("cuda_precision", _i32), ("reserved", _u32)]


class DeviceInfo(c.Structure):
    _fields_ = [("struct_size", _u32), ("index", _u32), ("driver_version", _u32), ("capability_major", _u32),
                ("capability_minor", _u32), ("reserved", _u32), ("memory", _u64), ("uuid", c.c_ubyte * 16),
                ("name", c.c_char * 256)]


class Tensor(c.Structure):
    _fields_ = [("struct_size", _u32), ("dtype", _i32), ("data", _ptr), ("rank", _u32), ("shape", c.POINTER(_i64)),
                ("strides", c.POINTER(_i64)), ("scale", _f64), ("offset", _f64), ("memory", _i32), ("read_only", _i32)]


class Data(c.Structure):
    _fields_ = [("struct_size", _u32), ("sample_rank", _u32), ("samples", c.POINTER(Tensor)), ("weights", c.POINTER(Tensor)),
                ("sample_callback", SampleCallback), ("sample_userdata", _ptr), ("sample_shape", c.POINTER(_i64))]


class Network(c.Structure):
    _fields_ = [("struct_size", _u32), ("activation", _i32), ("hidden_width", _u32), ("hidden_layers", _u32), ("squares", _i32),
                ("kind", _i32), ("channels", _u32), ("levels", _u32), ("blocks", _u32), ("residual", _i32), ("low", c.c_float), ("high", c.c_float),
                ("upsampling", _i32), ("norm_groups", _u32), ("attention_heads", _u32)]


class TrainerConfig(c.Structure):
    _fields_ = [("struct_size", _u32), ("divergence", _i32), ("sigma", _f64), ("tau", _f64), ("sigma_units", _i32),
                ("activation", _i32), ("hidden_width", _u32), ("hidden_layers", _u32), ("latent_dimension", _u32),
                ("deterministic", _i32), ("squares", _i32), ("batch_sources", _u32), ("components", _u32), ("reserved", _u32),
                ("generator_learning_rate", _f64), ("value_learning_rate", _f64), ("adam_beta1", _f64), ("adam_beta2", _f64),
                ("ema_decay", _f64), ("gradient_clip", _f64), ("decay_steps", _u64), ("decay_floor", _f64), ("seed", _u64),
                ("value_network", c.POINTER(Network)), ("generator_network", c.POINTER(Network)), ("tau_start", _f64), ("tau_steps", _u64),
                ("gradient_penalty", _f64)]


class Metrics(c.Structure):
    _fields_ = [("struct_size", _u32), ("reserved", _u32), ("step", _u64), ("dual", _f64), ("value_loss", _f64),
                ("generator_loss", _f64), ("potential", _f64), ("action", _f64), ("value_gradient_norm", _f64),
                ("generator_gradient_norm", _f64), ("density_ratio_mean", _f64), ("steps_per_second", _f64),
                ("value_generated", _f64), ("value_target", _f64), ("matched_share", _f64), ("spread", _f64)]


class ModelInfo(c.Structure):
    _fields_ = [("struct_size", _u32), ("sample_rank", _u32), ("dimension", _u64), ("latent_dimension", _u32),
                ("components", _u32), ("divergence", _i32), ("reserved", _u32), ("sigma", _f64), ("tau", _f64), ("data_scale", _f64),
                ("steps", _u64), ("parameters", _u64)]


class ProblemConfig(c.Structure):
    _fields_ = [("struct_size", _u32), ("divergence", _i32), ("sigma", _f64), ("tau", _f64), ("scale", _f64), ("sigma_units", _i32),
                ("components", _u32), ("dimension", _u64), ("latents", _i32), ("deterministic", _i32)]


class ValueLoss(c.Structure):
    _fields_ = [("struct_size", _u32), ("reserved", _u32), ("value_loss", _f64), ("dual", _f64), ("potential", _f64),
                ("action", _f64), ("value_generated", _f64), ("value_target", _f64), ("density_ratio_mean", _f64),
                ("matched_share", _f64)]


WriteCallback = c.CFUNCTYPE(_i32, _ptr, _ptr, c.c_size_t)


class OnnxConfig(c.Structure):
    _fields_ = [("struct_size", _u32), ("graph", _i32), ("latents", _u32), ("reserved", _u32), ("seed", _u64), ("row", _u64),
                ("write", WriteCallback), ("userdata", _ptr)]


ProgressCallback = c.CFUNCTYPE(_i32, _ptr, c.POINTER(Metrics))

_floats = c.POINTER(c.c_float)
_SIGNATURES = {
    "context_config_init_2": [c.POINTER(ContextConfig)], "context_create": [c.POINTER(ContextConfig), c.POINTER(_ptr)],
    "context_threads": [_ptr, c.POINTER(_u32)], "context_release": [_ptr], "context_device": [_ptr, c.POINTER(_i32)],
    "context_device_info": [_ptr, c.POINTER(DeviceInfo)], "context_device_memory": [_ptr, c.POINTER(_u64)],
    "context_cuda_stream": [_ptr, c.POINTER(_ptr)], "context_synchronize": [_ptr],
    "device_info_init": [c.POINTER(DeviceInfo)], "cuda_device_count": [c.POINTER(_u32)],
    "cuda_device_info": [_u32, c.POINTER(DeviceInfo)],
    "tensor_init": [c.POINTER(Tensor)], "tensor_from_dlpack": [_ptr, c.POINTER(Tensor)],
    "data_init": [c.POINTER(Data)], "metrics_init_2": [c.POINTER(Metrics)],
    "model_info_init": [c.POINTER(ModelInfo)], "network_init_3": [c.POINTER(Network)],
    "trainer_config_init_4": [c.POINTER(TrainerConfig)],
    "trainer_create": [_ptr, c.POINTER(TrainerConfig), c.POINTER(Data), c.POINTER(Data), c.POINTER(_ptr)],
    "trainer_step": [_ptr, _u64, c.POINTER(Metrics)],
    "trainer_run": [_ptr, _u64, _u64, ProgressCallback, _ptr, c.POINTER(Metrics)],
    "trainer_run_for": [_ptr, _f64, c.POINTER(_u64), c.POINTER(Metrics)],
    "trainer_cancel": [_ptr], "trainer_metrics": [_ptr, c.POINTER(Metrics)], "trainer_model": [_ptr, c.POINTER(_ptr)],
    "trainer_memory": [_ptr, c.POINTER(_u64), c.POINTER(_u64)],
    "trainer_save": [_ptr, c.c_char_p], "trainer_release": [_ptr],
    "trainer_load": [_ptr, c.c_char_p, c.POINTER(Data), c.POINTER(Data), c.POINTER(_ptr)],
    "model_save": [_ptr, c.c_char_p], "model_load": [_ptr, c.c_char_p, c.POINTER(_ptr)],
    "model_load_memory": [_ptr, c.c_char_p, c.c_size_t, c.POINTER(_ptr)], "model_info": [_ptr, c.POINTER(ModelInfo)],
    "model_sample_shape": [_ptr, _u32, c.POINTER(_i64)], "model_release": [_ptr],
    "problem_config_init": [c.POINTER(ProblemConfig)], "value_loss_init": [c.POINTER(ValueLoss)],
    "problem_create": [_ptr, c.POINTER(ProblemConfig), c.POINTER(_ptr)], "problem_release": [_ptr],
    "common_scale": [_ptr, c.POINTER(Data), c.POINTER(Data), c.POINTER(_f64)],
    "bridge_times": [_ptr, _i32, _u64, _u64, _u64, _u64, _floats],
    "bridge_sample": [_ptr, _i32, *[c.POINTER(Tensor)] * 2, _floats, _u64, _u64, _u64, *[c.POINTER(Tensor)] * 3],
    "value_loss": [_ptr, *[c.POINTER(Tensor)] * 7, c.POINTER(ValueLoss)],
    "generator_loss": [_ptr, *[c.POINTER(Tensor)] * 2, _floats, *[c.POINTER(Tensor)] * 4, c.POINTER(_f64)],
    "onnx_config_init": [c.POINTER(OnnxConfig)], "model_export_onnx": [_ptr, c.POINTER(OnnxConfig), c.c_char_p],
    "model_noise": [_ptr, _u64, _u64, _u64, _floats, _floats, _floats],
    "session_create": [_ptr, c.POINTER(_ptr)], "session_release": [_ptr],
    "session_generate": [_ptr, _floats, _u64, _u64, _u64, _floats],
    "session_generate_tensor": [_ptr, c.POINTER(Tensor), _u64, _u64, c.POINTER(Tensor)],
    "session_conditional_mean": [_ptr, _floats, _u64, _u32, _u64, _u64, _floats],
    "session_trajectory": [_ptr, _floats, _u64, c.POINTER(_f64), _u32, _u64, _u64, _floats],
    "session_drift": [_ptr, _f64, _floats, _u64, _floats], "session_density_ratio": [_ptr, _floats, _u64, _floats],
}


class Error(RuntimeError):
    def __init__(self, status, name, message):
        super().__init__(f"{name}: {message}")
        self.status = status


def library_path():
    default = pathlib.Path(__file__).resolve().parent.parent / "target" / "release" / "libsfeuot.so"
    return pathlib.Path(os.environ.get("SFEUOT_LIBRARY", default))


_library = None


def library():
    """The loaded library with its signatures set."""
    global _library
    if _library is None:
        path = library_path()
        if not path.exists():
            raise SystemExit(f"no library at {path}: build it with `cargo build --release` or set SFEUOT_LIBRARY")
        lib = c.CDLL(str(path))
        for name in ("version", "abi_version"):
            getattr(lib, f"sfeuot_{name}").restype = _u32
        lib.sfeuot_last_error.restype = c.c_char_p
        lib.sfeuot_status_name.restype, lib.sfeuot_status_name.argtypes = c.c_char_p, [_i32]
        for name, types in _SIGNATURES.items():
            function = getattr(lib, f"sfeuot_{name}")
            function.restype, function.argtypes = _i32, types
        if lib.sfeuot_abi_version() != ABI_VERSION:
            raise SystemExit(f"{path} has ABI version {lib.sfeuot_abi_version()}, this binding is for {ABI_VERSION}")
        _library = lib
    return _library


_RANGES = {_u32: (0, 2**32), _u64: (0, 2**64), _i32: (-2**31, 2**31), _i64: (-2**63, 2**63), c.c_size_t: (0, 2**64)}


def named(name, numbers, value):
    """The number that a name stands for."""
    if value not in numbers:
        raise ValueError(f"{name} is {value!r}; allowed are {', '.join(numbers)}")
    return numbers[value]


def checked(name, kind, value):
    """The number, if the C type can hold it: ctypes would wrap -1 to 2^64 - 1."""
    if kind not in _RANGES:
        return value
    number, (first, end) = operator.index(value), _RANGES[kind]
    if not first <= number < end:
        raise ValueError(f"{name} is {number}; it must lie in [{first}, {end})")
    return number


@functools.cache
def _function(name):
    """The function, and the places of its arguments that are whole numbers, each with its type."""
    function = getattr(library(), f"sfeuot_{name}")
    return function, [(place, kind) for place, kind in enumerate(function.argtypes) if kind in _RANGES]


def call(name, *arguments):
    lib, (function, whole) = library(), _function(name)
    arguments = list(arguments)
    for place, kind in whole:
        arguments[place] = checked(f"an argument of {name}", kind, arguments[place])
    status = function(*arguments)
    if status != 0:
        raise Error(status, lib.sfeuot_status_name(status).decode(), lib.sfeuot_last_error().decode())


@functools.cache
def _defaults(kind, init):
    # Room for more than the binding knows: a library with a larger struct is to be told, not to write behind it.
    room = c.create_string_buffer(c.sizeof(kind) + 4096)
    call(init, c.cast(room, c.POINTER(kind)))
    struct = kind.from_buffer(room)
    if struct.struct_size != c.sizeof(kind):
        raise SystemExit(f"{kind.__name__} has {struct.struct_size} bytes in the library and {c.sizeof(kind)} in this binding")
    return bytes(struct)


def filled(kind, init):
    """A struct with the library's defaults."""
    return kind.from_buffer_copy(_defaults(kind, init))


@contextlib.contextmanager
def raising(callbacks):
    """Raises what a callback raised, in place of the library's report that it failed."""
    for callback in callbacks:
        callback.error = None
    try:
        yield
    except Error as error:
        cause = next((callback.error for callback in callbacks if callback.error is not None), None)
        if error.status != ERROR_CALLBACK or cause is None:
            raise
        raise cause from None


def as_dict(struct):
    return {name: getattr(struct, name) for name, *_ in struct._fields_ if name not in ("struct_size", "reserved")}


class Handle:
    """Owns one reference; freed by close(), at the end of a `with`, or with the object."""

    release = None

    def __init__(self, pointer):
        self.pointer = pointer

    def close(self):
        if self.pointer:
            pointer, self.pointer = self.pointer, None
            call(self.release, pointer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "pointer", None) and _library is not None:
            getattr(_library, f"sfeuot_{self.release}")(self.pointer)


def created(name, *arguments):
    pointer = _ptr()
    call(name, *arguments, c.byref(pointer))
    return pointer.value


def devices():
    """The GPUs of this machine."""
    count = _u32()
    call("cuda_device_count", c.byref(count))
    return [_device_info("cuda_device_info", index) for index in range(count.value)]


def _device_info(name, argument):
    info = filled(DeviceInfo, "device_info_init")
    call(name, argument, c.byref(info))
    return as_dict(info) | {"uuid": uuid.UUID(bytes=bytes(info.uuid)), "name": info.name.decode()}


def _handle(name, given):
    """A CUDA handle as a number, or None. CUDA's default stream is 0, which the library would read as "your own"."""
    if given is None:
        return None
    number = checked(name, c.c_size_t, given)
    if number == 0:
        raise ValueError(f"{name} is 0: CUDA's default stream or no context, where the library would use its own, in no order with "
                         "yours; give the number of one that you made (torch.cuda.Stream().cuda_stream), or None for the library's own")
    return number


class Context(Handle):
    """A device. A GPU is chosen by its number or its UUID (bytes or uuid.UUID), or by a CUcontext or CUstream (integers). The
    CPU unless asked otherwise, so that measurements say what they measure. A stream or context of 0 is refused; None is the
    library's own."""

    release = "context_release"

    def __init__(self, device="cpu", threads=0, log=None, log_level="warn", cuda_device=-1, cuda_uuid=None, cuda_context=None,
                 cuda_stream=None, cuda_products="auto", cuda_precision="f32", memory_limit=0):
        config = filled(ContextConfig, "context_config_init_2")
        config.device, config.threads = named("device", DEVICES, device), checked("threads", _u32, threads)
        config.cuda_device = checked("cuda_device", _i32, cuda_device)
        config.cuda_products, config.memory_limit = named("cuda_products", PRODUCTS, cuda_products), checked("memory_limit", _u64, memory_limit)
        config.cuda_precision = named("cuda_precision", PRECISIONS, cuda_precision)
        config.cuda_context, config.cuda_stream = _handle("cuda_context", cuda_context), _handle("cuda_stream", cuda_stream)
        if cuda_uuid is not None:
            config.cuda_uuid = uuid.UUID(bytes=bytes(getattr(cuda_uuid, "bytes", cuda_uuid))).bytes
        if log:
            self._log = LogCallback(lambda _, level, text, size: log(level, c.string_at(text, size).decode()))
            config.log_callback, config.log_level = self._log, LOG_LEVELS[log_level]
        super().__init__(created("context_create", c.byref(config)))

    @property
    def threads(self):
        value = _u32()
        call("context_threads", self.pointer, c.byref(value))
        return value.value

    @property
    def device(self):
        """"cpu" or "cuda": what "auto" became."""
        value = _i32()
        call("context_device", self.pointer, c.byref(value))
        return next(name for name, number in DEVICES.items() if number == value.value)

    def device_info(self):
        """Of the GPU."""
        return _device_info("context_device_info", self.pointer)

    @property
    def device_memory(self):
        """Bytes that the library has taken."""
        value = _u64()
        call("context_device_memory", self.pointer, c.byref(value))
        return value.value

    @property
    def cuda_stream(self):
        """The CUstream of all work as a number; None on the CPU."""
        value = _ptr()
        call("context_cuda_stream", self.pointer, c.byref(value))
        return value.value

    def synchronize(self):
        """Waits until the work on the GPU is done."""
        call("context_synchronize", self.pointer)


class Sampler:
    """One side of a problem as a function: `fill(batch)` writes into a float32 array of rows x prod(shape)."""

    def __init__(self, fill, shape):
        self.shape, self.error = tuple(shape), None

        def callback(_, batch, rows, dimension):
            try:
                fill(np.ctypeslib.as_array(batch, (rows, dimension)))
                return 0
            except BaseException as error:      # ctypes would print it and let the library read an unfilled batch
                self.error = error
                return 1

        self.callback = SampleCallback(callback)


class _Progress:
    def __init__(self, progress):
        self.error = None

        def callback(_, metrics):
            try:
                return STOP if progress(as_dict(metrics.contents)) else CONTINUE
            except BaseException as error:
                self.error = error
                return -1

        self.callback = ProgressCallback(callback)


_capsule_pointer = c.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype, _capsule_pointer.argtypes = _ptr, [c.py_object, c.c_char_p]
_DLPACK_GPU = (2, 13)


def unmasked(given):
    """The array of what was given. What stands behind a mask is no sample, so an array that hides some is refused."""
    if np.ma.is_masked(given):
        raise ValueError(f"array masks {np.ma.count_masked(given)} of its {given.size} elements: samples have no missing numbers; "
                         "leave such rows out")
    return np.asarray(given)


@functools.lru_cache(1024)
def _integers(numbers):
    return (_i64 * len(numbers))(*numbers)


@functools.cache
def _are_plain(dtype, layout):
    return str(dtype) == "torch.float32" and str(layout) == "torch.strided"


def is_plain(given):
    """Whether it is a PyTorch tensor whose numbers lie in host memory as they are."""
    return (hasattr(given, "data_ptr") and given.is_cpu and _are_plain(given.dtype, given.layout) and not given.requires_grad
            and not given.is_neg())


def tensor_of(given, context):
    """A Tensor that views an array, which it keeps alive."""
    tensor = filled(Tensor, "tensor_init")
    # Of PyTorch's tensors in host memory, which wait for nothing: DLPack takes five times as long to tell the same.
    if is_plain(given):
        tensor.dtype, tensor.data, tensor.rank = DTYPES["float32"], given.data_ptr(), given.ndim
        tensor.shape, tensor.strides = _integers(tuple(given.shape)), _integers(given.stride())
        tensor.array = given
        return tensor
    if hasattr(given, "__dlpack__") and not isinstance(given, np.ndarray):
        # The producer makes the stream wait for what it has queued. A view only, so the capsule keeps its name and its
        # destructor gives the array back.
        stream = {"stream": context.cuda_stream} if given.__dlpack_device__()[0] in _DLPACK_GPU else {}
        tensor.array = given.__dlpack__(max_version=(1, 0), **stream)
        call("tensor_from_dlpack", _capsule_pointer(tensor.array, b"dltensor_versioned"), c.byref(tensor))
        return tensor
    array = unmasked(given)
    if array.dtype.name not in DTYPES or not array.dtype.isnative:
        raise TypeError(f"array of {array.dtype.str}: allowed are {', '.join(DTYPES)} in the machine's byte order; convert it with astype")
    if any(stride % array.itemsize for stride in array.strides):
        raise ValueError(f"array has strides of {array.strides} bytes, which must be multiples of its elements' {array.itemsize}; "
                         "pass numpy.ascontiguousarray of it")
    tensor.dtype, tensor.data, tensor.rank = DTYPES[array.dtype.name], array.ctypes.data, array.ndim
    tensor.shape = _integers(array.shape)
    tensor.strides = _integers(tuple(s // array.itemsize for s in array.strides))
    tensor.read_only = not array.flags.writeable
    tensor.array = array
    return tensor


class _Side:
    """A Data struct and whatever it points at."""

    def __init__(self, context, given, weights=None):
        self.struct = filled(Data, "data_init")
        if isinstance(given, Sampler):
            self.shape = (_i64 * len(given.shape))(*given.shape)
            self.struct.sample_rank, self.struct.sample_shape = len(given.shape), self.shape
            self.struct.sample_callback = given.callback
            return
        self.samples = tensor_of(given, context)
        self.struct.samples = c.pointer(self.samples)
        if weights is not None:
            self.weights = tensor_of(weights, context)
            self.struct.weights = c.pointer(self.weights)


class Trainer(Handle):
    """Trains a map from `source` to `target`: arrays (rows x ...) or Samplers. `config` takes the fields of TrainerConfig."""

    release = "trainer_release"

    def __init__(self, context, source, target, source_weights=None, target_weights=None, **config):
        struct = trainer_config(**config)
        self._make(context, "trainer_create", c.byref(struct), (source, source_weights), (target, target_weights))

    @classmethod
    def load(cls, context, path, source, target, source_weights=None, target_weights=None):
        self = cls.__new__(cls)
        self._make(context, "trainer_load", os.fsencode(path), (source, source_weights), (target, target_weights))
        return self

    def _make(self, context, name, what, source, target):
        self.context = context
        self._samplers = [given for given, _ in (source, target) if isinstance(given, Sampler)]
        sides = _Side(context, *source), _Side(context, *target)
        with raising(self._samplers):
            Handle.__init__(self, created(name, context.pointer, what, *(c.byref(side.struct) for side in sides)))

    def _train(self, name, *arguments, callbacks=()):
        metrics = filled(Metrics, "metrics_init_2")
        with raising([*self._samplers, *callbacks]):
            call(name, self.pointer, *arguments, c.byref(metrics))
        return as_dict(metrics)

    def step(self, steps=1):
        """Python handles signals between calls of the library alone, so many steps are several calls, of about a tenth of a
        second once it is known how many those are: Ctrl-C ends a training after that."""
        left, most = operator.index(steps), 1
        while left > most:
            began = time.perf_counter()
            self._train("trainer_step", most)
            left -= most
            if time.perf_counter() - began < 0.05:
                most *= 2
        return self._train("trainer_step", left)

    def run(self, steps, every, progress):
        """`progress(metrics)` after every `every` steps; a true return value stops the run with ERROR_CANCELLED."""
        told = _Progress(progress)
        return self._train("trainer_run", steps, every, told.callback, None, callbacks=[told])

    def run_for(self, milliseconds):
        """(steps done, metrics)"""
        done = _u64()
        metrics = self._train("trainer_run_for", milliseconds, c.byref(done))
        return done.value, metrics

    def cancel(self):
        call("trainer_cancel", self.pointer)

    def metrics(self):
        return self._train("trainer_metrics")

    @property
    def memory(self):
        """Bytes that the training takes on the host, and of the GPU's memory."""
        host, device = _u64(), _u64()
        call("trainer_memory", self.pointer, c.byref(host), c.byref(device))
        return host.value, device.value

    def model(self):
        return Model(created("trainer_model", self.pointer), self.context)

    def save(self, path):
        call("trainer_save", self.pointer, os.fsencode(path))


def trainer_config(**fields):
    """A TrainerConfig. `value_network` and `generator_network` are dicts of the fields of Network, or None."""
    networks = {name: fields.pop(name, None) for name in ("value_network", "generator_network")}
    struct = set_fields(filled(TrainerConfig, "trainer_config_init_4"), fields)
    for name, network in networks.items():
        if network is not None:
            setattr(struct, name, c.pointer(set_fields(filled(Network, "network_init_3"), network)))
    return struct


def set_fields(struct, fields):
    names = {"divergence": DIVERGENCES, "activation": ACTIVATIONS, "sigma_units": SIGMA_UNITS, "kind": NETWORKS,
             "upsampling": UPSAMPLINGS}
    kinds = dict(struct._fields_)
    for name, value in fields.items():
        if name not in kinds:
            raise TypeError(f"no {type(struct).__name__} field {name!r}")
        value = names[name][value] if name in names and isinstance(value, str) else value
        setattr(struct, name, checked(name, kinds[name], value))
    return struct


def common_scale(context, source, target):
    """The scale of both sides' samples of which a relative sigma is a multiple."""
    sides, scale = [_Side(context, given) for given in (source, target)], _f64()
    call("common_scale", context.pointer, *(c.byref(side.struct) for side in sides), c.byref(scale))
    return scale.value


class Problem(Handle):
    """The bridge and the losses for networks of one's own. Arrays are of 32-bit floats without gaps; those that are written are
    given. Times are NumPy's."""

    release = "problem_release"

    def __init__(self, context, dimension, sigma, **config):
        struct = set_fields(filled(ProblemConfig, "problem_config_init"), {"dimension": dimension, "sigma": sigma, **config})
        super().__init__(created("problem_create", context.pointer, c.byref(struct)))
        self.context, self.config = context, struct

    def _pointers(self, arrays):
        tensors = [None if array is None else tensor_of(array, self.context) for array in arrays]
        return tensors, [None if tensor is None else c.byref(tensor) for tensor in tensors]

    def times(self, half, sources, seed=0, step=0, first_source=0):
        """Times (sources, components) of the value half, (sources,) of the generator's."""
        number = named("half", HALVES, half)
        times = np.empty((sources, self.config.components) if number == 0 else sources, np.float32)
        call("bridge_times", self.pointer, number, sources, seed, step, first_source, times.ctypes.data_as(_floats))
        return times

    def sample(self, half, source, outputs, times, end=None, state=None, drift=None, seed=0, step=0, first_source=0):
        """Writes the bridges' ends, states and drifts."""
        number, times = named("half", HALVES, half), self._times(times, half, source)
        kept, pointers = self._pointers((source, outputs, end, state, drift))
        call("bridge_sample", self.pointer, number, *pointers[:2], times.ctypes.data_as(_floats), seed, step, first_source,
             *pointers[2:])
        del kept

    def value_loss(self, generated, target, gradient, drift, by_generated, by_target, direction):
        """Writes what the value function's loss is to be differentiated by, and returns the loss with its terms."""
        loss = filled(ValueLoss, "value_loss_init")
        kept, pointers = self._pointers((generated, target, gradient, drift, by_generated, by_target, direction))
        call("value_loss", self.pointer, *pointers, c.byref(loss))
        del kept
        return as_dict(loss)

    def generator_loss(self, source, outputs, times, state, value, gradient, by_outputs):
        """Writes the gradient by the generator's outputs, and returns the loss."""
        loss, times = _f64(), self._times(times, "generator", source)
        kept, pointers = self._pointers((source, outputs, state, value, gradient, by_outputs))
        call("generator_loss", self.pointer, *pointers[:2], times.ctypes.data_as(_floats), *pointers[2:], c.byref(loss))
        del kept
        return loss.value

    def _times(self, times, half, source):
        sources = math.prod(source.shape) // self.config.dimension
        count = sources * (self.config.components if half == "value" else 1)
        times = np.ascontiguousarray(times, np.float32)
        if times.size != count:
            raise ValueError(f"times has {times.size} numbers, but must have {count}")
        return times


class Model(Handle):
    release = "model_release"

    def __init__(self, pointer, context):
        super().__init__(pointer)
        self.context = context

    @classmethod
    def load(cls, context, path):
        return cls(created("model_load", context.pointer, os.fsencode(path)), context)

    @classmethod
    def load_memory(cls, context, data):
        return cls(created("model_load_memory", context.pointer, data, len(data)), context)

    def save(self, path):
        call("model_save", self.pointer, os.fsencode(path))

    def info(self):
        info = filled(ModelInfo, "model_info_init")
        call("model_info", self.pointer, c.byref(info))
        return as_dict(info)

    def sample_shape(self):
        rank = self.info()["sample_rank"]
        shape = (_i64 * rank)()
        call("model_sample_shape", self.pointer, rank, shape)
        return tuple(shape)

    def onnx(self, graph="generate", **fields):
        """The bytes of an ONNX file."""
        config, parts = filled(OnnxConfig, "onnx_config_init"), []
        config.graph = named("graph", ONNX_GRAPHS, graph)
        config.write = WriteCallback(lambda _, data, size: parts.append(c.string_at(data, size)) or 0)
        call("model_export_onnx", self.pointer, c.byref(set_fields(config, fields)), None)
        return b"".join(parts)

    def noise(self, rows, seed=0, first_row=0):
        """What a graph that draws takes: latents, component choices and endpoint noise."""
        info = self.info()
        lists = [np.empty((rows, numbers), np.float32) for numbers in (info["latent_dimension"], 1, info["dimension"])]
        call("model_noise", self.pointer, rows, seed, first_row, *(Session._of(numbers) for numbers in lists))
        return dict(zip(("latent", "component", "noise"), lists))

    def session(self):
        return Session(created("session_create", self.pointer), self.info()["dimension"], self.context)


class Session(Handle):
    """Rows are float32, rows x dimension; NumPy arrays and lists of another kind are converted."""

    release = "session_release"

    def __init__(self, pointer, dimension, context):
        super().__init__(pointer)
        self.dimension, self.context = dimension, context

    def _rows(self, given):
        rows = np.ascontiguousarray(unmasked(given), np.float32)
        if rows.size % self.dimension or rows.ndim > 1 and rows.size != len(rows) * self.dimension:
            raise ValueError(f"array of shape {rows.shape}: rows of {self.dimension} numbers are needed")
        return rows.reshape(-1, self.dimension)

    @staticmethod
    def _of(array):
        return array.ctypes.data_as(_floats)

    def generate(self, source, seed=0, first_row=0, out=None):
        """`source` may be an array of another library, which then gives the result as well, or any two with `out`. On a GPU
        the result is ready in the order of the context's stream."""
        if out is None and (isinstance(source, np.ndarray) or not hasattr(source, "__dlpack__")):
            x = self._rows(source)
            y = np.empty_like(x)
            call("session_generate", self.pointer, self._of(x), len(x), seed, first_row, self._of(y))
            return y
        if out is None:
            out = sys.modules[type(source).__module__.partition(".")[0]].empty_like(source)
        x, y = tensor_of(source, self.context), tensor_of(out, self.context)
        call("session_generate_tensor", self.pointer, c.byref(x), seed, first_row, c.byref(y))
        return out

    def conditional_mean(self, source, latents=1, seed=0, first_row=0):
        """Exact where the model has no latents; the mean over so many otherwise."""
        x = self._rows(source)
        mean = np.empty_like(x)
        call("session_conditional_mean", self.pointer, self._of(x), len(x), latents, seed, first_row, self._of(mean))
        return mean

    def trajectory(self, source, times, seed=0, first_row=0):
        """rows x times x dimension"""
        x, t = self._rows(source), np.ascontiguousarray(times, np.float64)
        path = np.empty((len(x), len(t), self.dimension), np.float32)
        call("session_trajectory", self.pointer, self._of(x), len(x), t.ctypes.data_as(c.POINTER(_f64)), len(t), seed, first_row,
             self._of(path))
        return path

    def drift(self, time, state):
        x = self._rows(state)
        drift = np.empty_like(x)
        call("session_drift", self.pointer, time, self._of(x), len(x), self._of(drift))
        return drift

    def density_ratio(self, target):
        y = self._rows(target)
        ratio = np.empty(len(y), np.float32)
        call("session_density_ratio", self.pointer, self._of(y), len(y), self._of(ratio))
        return ratio
