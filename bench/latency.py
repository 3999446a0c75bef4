"""One-step generation of the same trained weights: time for one sample and rows per second for many, of this library, PyTorch,
JAX and ONNX Runtime.

    pip install -r bench/requirements.txt && cargo build --release
    python bench/latency.py --output latency.md         # 7 minutes; --quick: 15 seconds

The library saves a model; the others read its weights from the file (peers/generator.py, peers/generate.py), and every output is
compared with float64, but for rows whose component only rounding decides. All are called from Python, so that each time has a
call's overhead in it, that of the library's ctypes call too. The library draws its noise in every call; the others are measured
on given noise, and once more drawing theirs. All programs of a size stay alive and are measured in turn.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

import report
import sfeuot_ctypes as sfeuot
from peers.generate import PROGRAMS
from programs import PEERS, width_of

MODES = ("fixed", "drawn")
# ONNX Runtime's time for one sample over the library's, at the least, on one thread and on noise given to ONNX Runtime.
BAR = 1.5


class Program:
    def __init__(self, name, model, rows, threads):
        command = [
            sys.executable, PEERS / "generate.py", "--program", name, "--model", model, "--rows", rows, "--threads", threads,
            "--serve"
        ]
        environment = dict(os.environ, PYTHONWARNINGS="ignore")
        self.name = name
        self.process = subprocess.Popen([str(w) for w in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment)

    def wait_ready(self):
        """The largest difference from float64, relative to the largest number."""
        for line in self.process.stdout:
            if line.startswith("ready"):
                return float(line.split()[1])
        raise SystemExit(f"{self.name} ended with status {self.process.wait()} before it was ready")

    def measure(self, seconds, mode):
        self.process.stdin.write(f"{seconds} {mode}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["microseconds"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def save_model(dim, folder, steps):
    """A model of the standard size after a short training on shifted normals, so many that none seem correlated."""
    points = np.random.default_rng(0).normal(size=(2, 20_000, dim)).astype(np.float32)
    path = pathlib.Path(folder) / f"{dim}.safetensors"
    with sfeuot.Context() as context, sfeuot.Trainer(context, points[0], 0.5 * points[1] + 3, sigma=1.0,
                                                     hidden_width=width_of(dim), components=8) as trainer:
        trainer.step(steps)
        with trainer.model() as model:
            model.save(path)
    return path


def in_turn(names, model, rows, threads, rounds, seconds):
    """{(program, mode): [microseconds of each round]}, {program: difference from float64}"""
    times, differences, programs = {(n, mode): [] for n in names for mode in MODES}, {}, []
    try:
        programs += [Program(name, model, rows, threads) for name in names]
        for program in programs:
            differences[program.name] = program.wait_ready()
        for _ in range(rounds):
            for mode in MODES:
                for program in programs:
                    times[program.name, mode].append(program.measure(seconds, mode))
        return times, differences
    finally:
        for program in programs:
            program.close()


def cells(times, name, mode, rows):
    """Time or rate, and its ratio to the library's, by rounds."""
    own = times[name, mode]
    ratios = [t / ours for t, ours in zip(own, times["library", mode])]
    values = own if rows == 1 else [rows / t for t in own]
    show = lambda v: f"{statistics.median(v):.2f} ({min(v):.2f} to {max(v):.2f})"
    return [show(values), "-" if name == "library" else show(ratios)]


def part(names, rows, measured):
    times, differences = measured
    what = "one sample, us" if rows == 1 else f"{rows} rows, M rows/s"
    head = [
        "program", f"{what}, noise given", "its time / library's", "drawing its noise", "its time / library's",
        "difference from float64"
    ]
    text = report.table(
        head, [[name, *cells(times, name, "fixed", rows), *cells(times, name, "drawn", rows), f"{differences[name]:.0e}"]
               for name in names])
    onnx = [n for n in names if n.startswith("onnx")]
    if rows == 1 and onnx:
        best = min(onnx, key=lambda n: statistics.median(times[n, "fixed"]))
        ratio = statistics.median(t / ours for t, ours in zip(times[best, "fixed"], times["library", "fixed"]))
        text += f"\n\nONNX Runtime in its faster form ({best}), noise given, takes {ratio:.2f} times the library's time; " \
                f"the bar is {BAR} on one thread: {'held' if ratio >= BAR else '**missed**'}."
    return text


def main():
    p = report.parser(__doc__)
    p.add_argument("--programs", nargs="+", choices=PROGRAMS, default=None)
    p.add_argument("--force", action="store_true", help="measure on a busy machine; the table says so")
    a = p.parse_args()
    busy = report.refuse_busy(a)
    start = time.monotonic()
    names = a.programs or report.by_scale(a, list(PROGRAMS), ["library", "onnx", "onnx-binding"],
                                          ["library", "onnx", "onnx-binding", "torch"])
    if "library" not in names:
        names = ["library", *names]
    rounds = report.by_scale(a, 5, 3, 1)
    setups = report.by_scale(a, [(dim, threads) for dim in (2, 16) for threads in (1, 2)], [(2, 1)], [(2, 1)])
    parts = [
        report.provenance(a, ["torch", "jax", "onnxruntime", "numpy"], busy=busy),
        "Median of the rounds, in brackets the lowest to the highest; a round is the median of its calls, and ratios are those "
        "of a round. The library draws its noise in both columns. ONNX Runtime: `onnx` calls `run`, `onnx-binding` has inputs "
        "and output bound. On two threads the library's rows are shared by two sessions, each on a thread of its own; "
        "a single sample is one thread's work."
    ]
    with tempfile.TemporaryDirectory() as folder:
        for dim, threads in setups:
            model = save_model(dim, folder, report.by_scale(a, 500, 50, 2))
            parts.append(f"### d = {dim}, 3 x {width_of(dim)}, {threads} thread{'s' * (threads > 1)}")
            many = report.by_scale(a, 65_536, 65_536, 1024)
            for rows, seconds in zip((1, many), report.by_scale(a, (0.3, 0.7), (0.2, 0.3), (0.02, 0.02))):
                print(f"d = {dim}, {threads} threads, {rows} rows: {', '.join(names)}", file=sys.stderr, flush=True)
                parts.append(part(names, rows, in_turn(names, model, rows, threads, rounds, seconds)))
                if a.output:
                    report.write(a, "Generation", parts)
    parts.append(f"Measured in {(time.monotonic() - start) / 60:.1f} minutes.")
    report.write(a, "Generation", parts)


if __name__ == "__main__":
    main()
