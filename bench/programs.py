"""The step programs of this library, PyTorch and JAX: kept alive and measured in turn, A B C A B C, so that a slow spell of the
machine meets all of them; and the method's count of multiply-adds, which is the same for all.

PyTorch runs with passive OpenMP waiting, and once more as `-spin` with OpenMP's default, where threads spin for a moment
before they sleep: usually faster on a quiet machine and ruinous on a busy one. JAX runs one step a call, and as `jax-scan`
several steps inside one compiled loop.
"""
import json
import pathlib
import subprocess
import sys
import typing

import children

PEERS = pathlib.Path(__file__).resolve().parent / "peers"
LATENT, K = 0, 8        # the default: the network gives the K components of a source sample itself
PROGRAMS = {
    "library": ["library_step.py"],
    "torch": ["torch_step.py", "--omp-wait", "passive"],
    "torch-spin": ["torch_step.py", "--omp-wait", "default"],
    "torch-compile": ["torch_step.py", "--compile", "--omp-wait", "passive"],
    "torch-compile-spin": ["torch_step.py", "--compile", "--omp-wait", "default"],
    "jax": ["jax_step.py"],
    "jax-scan": ["jax_step.py"],
}


def width_of(dim):
    return 128 if dim <= 2 else 256


class Size(typing.NamedTuple):
    """A training problem: dimension, hidden width, source samples a step (each with K rows), threads."""
    dim: int
    width: int
    sources: int = 128
    threads: int = 2

    @property
    def rows(self):
        return self.sources * K

    def __str__(self):
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        return f"d = {self.dim}, width {self.width}, {self.sources} x {K} rows a step, {threads}"


def multiply_adds(dim, hidden, latent=LATENT, k=K, layers=3):
    """Multiply-adds of one training step per sample (a row of the batch), the dense layers alone.

    Value step: generator forward; two ends, each forward, backward to the input, weight gradient; the action term: forward,
    backward to x, tangent, and the reverse pass over all that, 7 products in all. Generator step: generator forward and
    twice that backward, value forward and backward to x. Without latents the generator runs once for the k rows of a source.
    Networks see a sample's squares beside it.
    """
    inner = (layers - 1) * hidden * hidden
    value = (2 * dim + 1) * hidden + inner + hidden
    if latent:
        generator = (2 * dim + latent) * hidden + inner + hidden * 2 * dim
    else:
        generator = (2 * dim * hidden + inner + hidden * k * (2 * dim + 1)) / k
    return generator + 2 * 3 * value + 7 * value + 3 * generator + 2 * value


def command_of(name, size):
    """Of a step program, but for its warm-up and that it serves."""
    command = [
        PEERS / PROGRAMS[name][0], *PROGRAMS[name][1:], "--dim", size.dim, "--hidden", size.width, "--latent", LATENT, "--sources",
        size.sources, "--k", K, "--threads", size.threads
    ]
    if name == "jax-scan":      # a call of ten large steps would last for most of a minute
        command += ["--inner", 10 if size.rows <= 4096 else 2]
    return command


class Program:
    """A step program that is kept alive."""

    def __init__(self, name, command, warmup):
        self.name = name
        self.process = children.start([sys.executable, *command, "--warmup", warmup, "--serve"], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with status {self.process.wait()} before it answered")
        return line

    def wait_ready(self):
        while self.line().strip() != "ready":
            pass

    def measure(self, seconds):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return json.loads(self.line())

    def close(self):
        children.end(self.process)


def in_turn(names, size, rounds, seconds, warmup=20, command=command_of):
    """{program: [its measurement of each round]}; a program that fails is left out, and standard error says so.

    `command(name, size)` is how a program is started.

    Starts and warm-ups, which are compilation for the most part, share the machine, but for programs whose threads spin: beside
    others these take many times as long. They come one by one, and compiled code is then in the cache.
    """
    programs = []
    rates = {name: [] for name in names}

    def lost(program, error):
        print(error, file=sys.stderr, flush=True)
        program.close()
        rates.pop(program.name)

    try:
        print(f"{size}: starting {', '.join(names)}", file=sys.stderr, flush=True)
        spinning = [[name] for name in names if name.endswith("spin")]
        for together in [[name for name in names if not name.endswith("spin")], *spinning]:
            started = [Program(name, command(name, size), warmup) for name in together]
            programs += started
            for program in started:
                try:
                    program.wait_ready()
                except RuntimeError as error:
                    lost(program, error)
        for _ in range(rounds):
            for program in programs:
                if program.name not in rates:
                    continue
                try:
                    rates[program.name].append(program.measure(seconds))
                except (RuntimeError, OSError) as error:
                    lost(program, error)
        print(
            f"{size}: " + ", ".join(f"{name} {max(m['steps_per_second'] for m in measured):.1f}"
                                    for name, measured in rates.items()), file=sys.stderr, flush=True)
        return rates
    finally:
        for program in programs:
            program.close()
