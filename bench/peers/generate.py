"""One-step generation of a model file's generator in one program, for latency.py.

    python generate.py --program onnx --model model.safetensors --rows 1 --threads 1 --serve

Answers to lines of stdin, "SECONDS fixed" or "SECONDS drawn", with the median microseconds of a call: on noise that is given, or
with drawing it in every call, as the library does in any case. A call is what its users write: arrays of the program's own
kind in and out, and an optimised, frozen model. Before that it says "ready" and how far it is from float64. The noise is xi and
what generator.py calls `extra`: the latent z, or what a component is drawn by.
"""
import argparse
import json
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

PROGRAMS = ("library", "torch", "torch-trace", "torch-compile", "jax", "onnx", "onnx-binding")
SEED = 5


def library(a, model, x0, _extra, _xi):
    """The calls of the C API, each session on a thread of its own; the noise is its own in both modes."""
    import numpy as np
    import sfeuot_ctypes as sfeuot
    context = sfeuot.Context(threads=a.threads)
    loaded = sfeuot.Model.load(context, a.model)
    out = np.empty_like(x0)
    parts = min(a.threads, len(x0))
    edges = [len(x0) * i // parts for i in range(parts + 1)]
    sessions = [loaded.session() for _ in range(parts)]
    generate = sfeuot.library().sfeuot_session_generate
    calls = [(s.pointer, s._of(x0[i:j]), j - i, SEED, i, s._of(out[i:j])) for s, i, j in zip(sessions, edges[:-1], edges[1:])]
    if parts == 1:
        def call():
            generate(*calls[0])
            return out
    else:
        pool = ThreadPoolExecutor(parts - 1)

        def call():
            others = [pool.submit(generate, *arguments) for arguments in calls[1:]]
            generate(*calls[0])
            for other in others:
                other.result()
            return out
    call.kept = context, loaded, sessions
    return call, call


def torch(a, model, x0, extra, xi):
    import torch
    torch.set_num_threads(a.threads)
    torch.set_grad_enabled(False)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            linears = []
            for w, b in model.float32():
                linear = torch.nn.Linear(*w.shape)
                linear.weight.copy_(torch.from_numpy(w.T.copy()))
                linear.bias.copy_(torch.from_numpy(b))
                linears += [linear, torch.nn.SiLU()]
            self.layers = torch.nn.Sequential(*linears[:-1])

        def forward(self, x0, extra, xi):
            parts = [x0, extra] if model.latent else [x0]
            if model.along is not None:
                parts.append((1 + (along * x0 + by).square()).sqrt())
            outputs = self.layers(torch.cat(parts, 1))
            raw = outputs if model.latent else self.choose(outputs, extra)
            mean, log_std = raw.chunk(2, 1)
            return torch.addcmul(x0 + mean, log_std.clamp(model.low, model.high).exp(), xi)

        def choose(self, outputs, u):
            raw, logits = outputs.split([model.raw, model.components], 1)
            choice = torch.searchsorted(logits.softmax(1).cumsum(1), u).clamp(max=model.components - 1)
            return raw.unflatten(1, (model.components, -1))[firsts, choice[:, 0]]

    firsts = torch.arange(len(x0))
    by = torch.from_numpy(model.by.astype("float32")) if model.along is not None else None
    along = torch.from_numpy(model.along.astype("float32")) if model.along is not None else None
    net, given = Net().eval(), [torch.from_numpy(array) for array in (x0, extra, xi)]
    draw_extra = torch.randn_like if model.latent else torch.rand_like
    if a.program == "torch-trace":
        net = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(net, given)))
    elif a.program == "torch-compile":
        net = torch.compile(net, dynamic=False)

    def fixed():
        with torch.inference_mode():
            return net(*given)

    def drawn():
        with torch.inference_mode():
            return net(given[0], draw_extra(given[1]), torch.randn_like(given[2]))
    return fixed, drawn


def jax(a, model, x0, extra, xi):
    import jax
    import jax.numpy as jnp
    jax.config.update("jax_platforms", "cpu")
    layers = [(jnp.asarray(w), jnp.asarray(b)) for w, b in model.float32()]
    by = jnp.asarray(model.by, jnp.float32) if model.along is not None else None
    along = jnp.asarray(model.along, jnp.float32) if model.along is not None else None

    @jax.jit
    def net(x0, extra, xi):
        parts = [x0, extra] if model.latent else [x0]
        if model.along is not None:
            parts.append(jnp.sqrt(1 + (along * x0 + by) ** 2))
        h = jnp.concatenate(parts, 1)
        for w, b in layers[:-1]:
            h = jax.nn.silu(h @ w + b)
        w, b = layers[-1]
        out = h @ w + b
        if not model.latent:
            ends = jnp.cumsum(jax.nn.softmax(out[:, model.raw:]), 1)[:, :-1]
            choice = (extra > ends).sum(1)
            out = out[:, :model.raw].reshape(len(x0), model.components, -1)[jnp.arange(len(x0)), choice]
        mean, log_std = jnp.split(out, 2, 1)
        return x0 + mean + jnp.exp(log_std.clip(model.low, model.high)) * xi

    @jax.jit
    def with_noise(x0, key):
        key, one, two = jax.random.split(key, 3)
        return net(x0, draw_extra(one, extra.shape), jax.random.normal(two, xi.shape)), key

    draw_extra = jax.random.normal if model.latent else jax.random.uniform
    given = [jnp.asarray(array) for array in (x0, extra, xi)]
    key = jax.random.key(SEED)

    def drawn():
        nonlocal key
        result, key = with_noise(given[0], key)
        return result.block_until_ready()
    return (lambda: net(*given).block_until_ready()), drawn


def onnx_model(model, rows):
    """SiLU as a * sigmoid(a), which ONNX Runtime fuses; the shapes are fixed, which is its faster form. Without latents, what gives
    the logits is a product of its own, and so is the sum of probabilities: nothing is cut apart or copied for them."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    nodes, tensors = [], []
    constant = lambda name, value: tensors.append(numpy_helper.from_array(np.asarray(value), name))
    layers = model.float32()
    parts = ["x0", "extra"] if model.latent else ["x0"]
    if model.along is not None:
        constant("along_x", model.along.astype(np.float32))
        constant("by", model.by.astype(np.float32))
        constant("one", np.float32(1))
        nodes += [
            helper.make_node("Mul", ["x0", "along_x"], ["x_along"]),
            helper.make_node("Add", ["x_along", "by"], ["u"]),
            helper.make_node("Mul", ["u", "u"], ["u_squared"]),
            helper.make_node("Add", ["u_squared", "one"], ["under_root"]),
            helper.make_node("Sqrt", ["under_root"], ["root"])
        ]
        parts.append("root")
    if len(parts) > 1:
        nodes.append(helper.make_node("Concat", parts, ["h0"], axis=1))
    if not model.latent:
        w, b = layers[-1]
        layers[-1] = w[:, :model.raw].copy(), b[:model.raw].copy()
        constant("w_logits", w[:, model.raw:].copy())
        constant("b_logits", b[model.raw:].copy())
    for l, (w, b) in enumerate(layers):
        constant(f"w{l}", w)
        constant(f"b{l}", b)
        into = f"h{l}" if l or len(parts) > 1 else "x0"
        nodes.append(helper.make_node("Gemm", [into, f"w{l}", f"b{l}"], [f"a{l}"]))
        if l < len(layers) - 1:
            nodes += [
                helper.make_node("Sigmoid", [f"a{l}"], [f"s{l}"]),
                helper.make_node("Mul", [f"a{l}", f"s{l}"], [f"h{l + 1}"])
            ]
    raw = f"a{len(layers) - 1}"
    if not model.latent:
        constant("cumulate", np.triu(np.ones((model.components, model.components - 1), np.float32)))
        constant("apart", np.array([rows, model.components, 2 * model.dim], np.int64))
        constant("along", np.array([1], np.int64))
        nodes += [
            helper.make_node("Gemm", [f"h{len(layers) - 1}", "w_logits", "b_logits"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["p"], axis=1),
            helper.make_node("MatMul", ["p", "cumulate"], ["ends"]),
            helper.make_node("Greater", ["extra", "ends"], ["beyond"]),
            helper.make_node("Cast", ["beyond"], ["counted"], to=TensorProto.INT64),
            helper.make_node("ReduceSum", ["counted", "along"], ["choice"], keepdims=1),
            helper.make_node("Reshape", [raw, "apart"], ["each"]),
            helper.make_node("GatherND", ["each", "choice"], ["chosen"], batch_dims=1)
        ]
        raw = "chosen"
    constant("halves", np.array([model.dim, model.dim], np.int64))
    constant("low", np.float32(model.low))
    constant("high", np.float32(model.high))
    nodes += [
        helper.make_node("Split", [raw, "halves"], ["mean", "raw"], axis=1),
        helper.make_node("Clip", ["raw", "low", "high"], ["log_std"]),
        helper.make_node("Exp", ["log_std"], ["std"]),
        helper.make_node("Mul", ["std", "xi"], ["spread"]),
        helper.make_node("Add", ["x0", "mean"], ["centre"]),
        helper.make_node("Add", ["centre", "spread"], ["x1"])
    ]
    shape = lambda name, columns: helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, columns])
    graph = helper.make_graph(nodes, "generator",
                              [shape("x0", model.dim), shape("extra", model.latent or 1),
                               shape("xi", model.dim)], [shape("x1", model.dim)], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return made.SerializeToString()


def onnx(a, model, x0, extra, xi):
    import numpy as np
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = a.threads, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(onnx_model(model, len(x0)), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(SEED)
    draw_extra = rng.standard_normal if model.latent else rng.random
    if a.program == "onnx":
        feed, wanted = {"x0": x0, "extra": extra, "xi": xi}, ["x1"]
        call = lambda: session.run(wanted, feed)[0]
    else:       # inputs and output stay where they are; drawing writes to the bound arrays
        out, binding = np.empty_like(x0), session.io_binding()
        for name, array in (("x0", x0), ("extra", extra), ("xi", xi)):
            binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        binding.bind_output("x1", "cpu", 0, np.float32, out.shape, out.ctypes.data)

        def call():
            session.run_with_iobinding(binding)
            return out

    def drawn():
        draw_extra(out=extra, dtype=np.float32)
        rng.standard_normal(out=xi, dtype=np.float32)
        return call()
    return call, drawn


def median_microseconds(call, seconds):
    times, end = [], time.perf_counter_ns() + 1e9 * seconds
    while len(times) < 3 or time.perf_counter_ns() < end:
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1e3


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", choices=PROGRAMS, required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--rows", type=int, default=1)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--serve", action="store_true", help="wait for lines of stdin; else one measurement of a second each")
    a = p.parse_args()
    # Before the numerical libraries: they look at it when they are loaded.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:a.threads])
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(a.threads)
    import common                # noqa: F401 the path of the binding
    import numpy as np
    from generator import Generator
    model = Generator(a.model)
    x0 = np.random.default_rng(1).normal(size=(a.rows, model.dim)).astype(np.float32)
    extra, xi = (array.astype(np.float32) for array in model.library_noise(SEED, a.rows))
    seen = model.seen(x0)
    truth, decided = model(seen, extra, xi), model.decided(seen, extra)
    make = {"library": library, "jax": jax, "onnx": onnx}[a.program.split("-")[0]] if not a.program.startswith("torch") else torch
    # The others are given what the library makes of x0, for nothing.
    fixed, drawn = make(a, model, x0 if a.program == "library" else seen, extra, xi)
    difference = float(np.abs(np.asarray(fixed()) - truth)[decided].max() / np.abs(truth).max())
    for _ in range(3):
        fixed(), drawn()
    print("ready", difference, flush=True)
    for line in sys.stdin if a.serve else ["1 fixed", "1 drawn"]:
        seconds, mode = line.split()
        print(json.dumps({"microseconds": median_microseconds(fixed if mode == "fixed" else drawn, float(seconds))}), flush=True)


if __name__ == "__main__":
    main()
