"""Steps per second on a GPU beside PyTorch on the same GPU, and the generator's rate and latency.

    python bench/gpu_speed.py --rounds 5 --seconds 1 --output speed.md

Every program stays alive throughout and is measured in turn, as in speed.py. They start together, since most of a start is
PyTorch's import and compilation; what is not ready after --patience seconds is left out, and the table says so. PyTorch
draws its batches on the device. Its strongest programs are those that capture the whole step as one CUDA graph, `torch-graph` and,
with both losses compiled, `torch-compile-graph`: where either was not measured, the bar counts as not run. All multiply float32
numbers as they are; the rows marked tf32 and bf16 round them first, the library's by its precision, PyTorch's by its matmul
precision and by autocast. Those are compared with each other, without a bar.

Status 0: every bar was measured and is met.
"""
import argparse
import importlib.util
import json
import pathlib
import queue
import statistics
import subprocess
import sys
import threading
import time
import typing

import numpy as np

import children
import sfeuot_ctypes as sfeuot
from programs import K, PEERS, multiply_adds, width_of

PROGRAMS = {
    "library-auto": ["library_step.py", "--products", "auto"],
    "library-fused": ["library_step.py", "--products", "fused"],
    "library-cublaslt": ["library_step.py", "--products", "cublaslt"],
    "library-auto-tf32": ["library_step.py", "--precision", "tf32"],
    "library-auto-bf16": ["library_step.py", "--precision", "bf16"],
    "library-cublaslt-tf32": ["library_step.py", "--products", "cublaslt", "--precision", "tf32"],
    "library-cublaslt-bf16": ["library_step.py", "--products", "cublaslt", "--precision", "bf16"],
    "torch": ["torch_step.py"],
    "torch-graph": ["torch_step.py", "--graph"],
    "torch-compile": ["torch_step.py", "--compile"],
    "torch-compile-graph": ["torch_step.py", "--compile", "--graph"],
    "torch-compile-graph-tf32": ["torch_step.py", "--compile", "--graph", "--tf32"],
    "torch-compile-graph-bf16": ["torch_step.py", "--compile", "--graph", "--bf16"],
}
# What their names end with, of programs on tensor cores.
ROUNDED = ("tf32", "bf16")
# The strongest of PyTorch's that multiply float32 numbers as they are.
STRONGEST = ("torch-graph", "torch-compile-graph")
SHORT = ("library-auto", *STRONGEST)
OF_ROUNDED = tuple(f"{program}-{arithmetic}" for arithmetic in ROUNDED for program in ("library-auto", "torch-compile-graph"))
# A program that takes so many seconds more than it was asked to measure has stopped.
ANSWER = 60


class Problem(typing.NamedTuple):
    """A batch of `sources` with `k` rows each. `bar`: the library's rate over that of PyTorch's fastest float32 program."""
    dim: int
    width: int
    sources: int
    k: int
    bar: float
    programs: tuple

    def __str__(self):
        return f"d = {self.dim}, width {self.width}, {self.sources} x {self.k} samples a step"


EVERY_FLOAT32 = tuple(name for name in PROGRAMS if not name.endswith(ROUNDED))
# Small networks and batches, where launches and waits are most of a step, and a batch that fills a GPU with arithmetic.
PROBLEMS = [
    Problem(2, width_of(2), 128, K, 2.0, EVERY_FLOAT32),
    Problem(16, width_of(16), 128, K, 2.0, (*EVERY_FLOAT32, *OF_ROUNDED)),
    Problem(2, width_of(2), 64, 16, 2.0, SHORT),
    Problem(16, width_of(16), 64, 16, 2.0, SHORT),
    Problem(16, width_of(16), 2048, K, 1.0, (*SHORT, *OF_ROUNDED, "library-cublaslt", "library-cublaslt-tf32", "library-cublaslt-bf16")),
]
SMOKE_PROBLEMS = [Problem(2, 16, 4, 2, 2.0, tuple(PROGRAMS)), Problem(2, 16, 2, 4, 2.0, SHORT)]


class Program:
    """A step program of one problem; `ready` tells whether it has warmed up."""

    def __init__(self, name, problem, a):
        command = [sys.executable, PEERS / PROGRAMS[name][0], *PROGRAMS[name][1:], "--device", a.device, "--dim", problem.dim,
                   "--hidden", problem.width, "--sources", problem.sources, "--k", problem.k, "--threads", 2, "--warmup", a.warmup, "--serve"]
        self.name, self.ready, self.lines = name, False, None
        self.process = children.start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _listen(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def listen(self):
        """Begins to take what the program says, since a read has no time limit. Not before all programs are started: a process with
        threads forks at some risk."""
        self.lines = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def line(self, seconds):
        """The next line; RuntimeError where the program ends before it or takes longer."""
        try:
            line = self.lines.get(timeout=max(0.0, seconds))
        except queue.Empty:
            raise RuntimeError(f"{self.name} gave no answer in {seconds:.0f} s") from None
        if not line:
            raise RuntimeError(f"{self.name} ended with status {children.wait(self.process, 10)}")
        return line

    def measure(self, seconds):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return json.loads(self.line(seconds + ANSWER))["steps_per_second"]

    def close(self):
        children.end(self.process, 0.0)


def wait_ready(programs, seconds):
    """Until every program is ready or has ended, or the time is over. Those that are not ready are closed: they must not compile
    beside a measurement."""
    end = time.monotonic() + seconds
    for program in programs:
        program.listen()
    for program in programs:
        try:
            # What was ready in time counts, also where one before it took all of the time.
            while program.line(max(1.0, end - time.monotonic())).strip() != "ready":
                pass
            program.ready = True
        except RuntimeError as error:
            print(error, file=sys.stderr, flush=True)
            program.close()


def measure(programs, a):
    """{name: [steps a second of each round]} of those that are ready."""
    rates = {program.name: [] for program in programs if program.ready}
    for _ in range(a.rounds):
        for program in programs:
            if not program.ready:
                continue
            try:
                rates[program.name].append(program.measure(a.seconds))
            except (OSError, RuntimeError, ValueError) as error:
                print(error, file=sys.stderr, flush=True)
                program.ready = False
                rates.pop(program.name)
                program.close()
    return rates


def arithmetic(name):
    """That of a program's products."""
    return next((mark for mark in ROUNDED if name.endswith(mark)), "float32")


def table(problem, rates, without=None):
    """Markdown, and the check of the library against PyTorch's fastest. `without`: why no program of PyTorch was started."""
    median = {name: statistics.median(r) for name, r in rates.items()}
    # The library's fastest of each arithmetic.
    fastest = {}
    for name, rate in median.items():
        if name.startswith("library"):
            fastest[arithmetic(name)] = max(rate, fastest.get(arithmetic(name), 0.0))
    library = fastest.get("float32")
    work = 2e-12 * multiply_adds(problem.dim, problem.width, k=problem.k) * problem.sources * problem.k
    lines = [f"### {problem}", "| program | steps/s, median | lowest to highest | fastest library of its arithmetic / program | TFLOP/s of "
             "the method |",
             "|---|---|---|---|---|"]
    for name in problem.programs:
        if name not in median:
            lines.append(f"| {name} | not ready or failed | | | |")
            continue
        low, high = min(rates[name]), max(rates[name])
        ours = fastest.get(arithmetic(name))
        ratio = f"{ours / median[name]:.2f}" if ours and not name.startswith("library") else "-"
        spread = f"{low:.1f} to {high:.1f} ({100 * (high - low) / median[name]:.0f} %)"
        lines.append(f"| {name} | {median[name]:.1f} | {spread} | {ratio} | {work * median[name]:.2f} |")
    check = {"check": f"{problem}: library / fastest PyTorch", "bar": problem.bar, "value": None, "result": "not run"}
    absent = [name for name in STRONGEST if name not in median]
    if not library:
        return "\n".join(lines), check | {"why": "no program of the library was measured", "result": "failed"}
    if absent:
        return "\n".join(lines), check | {"why": without or f"not ready or failed: {', '.join(absent)}"}
    value = library / max(v for name, v in median.items() if name.startswith("torch") and arithmetic(name) == "float32")
    return "\n".join(lines), check | {"value": value, "result": "passed" if value >= problem.bar else "failed"}


def microseconds(function, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        function()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1e3


def on_device(session, context, many):
    """Microseconds a call for rows that are and stay on the GPU, as PyTorch's tensors through DLPack; None without either."""
    if not hasattr(context, "synchronize"):
        return None
    try:
        import torch
    except ImportError:
        return None
    source = torch.from_numpy(many).cuda()
    out = torch.empty_like(source)
    torch.cuda.synchronize()

    def calls():
        for _ in range(20):
            session.generate(source, out=out)
        context.synchronize()
    calls()
    return microseconds(calls, 9) / 20


def generation(a):
    rows, repeats = (1000, 2) if a.smoke else (65_536, 21)
    lines = [f"### Generation through the ctypes binding, {rows} rows",
             "| network | host to host, M rows/s | device to device, M rows/s | one sample, host to host |", "|---|---|---|---|"]
    for dim in (2, 16):
        width = 16 if a.smoke else width_of(dim)
        points = np.random.default_rng(0).normal(size=(2, 1000, dim)).astype(np.float32)
        with sfeuot.Context(device=a.device) as context, \
                sfeuot.Trainer(context, points[0], points[1] + 3, sigma=1.0, hidden_width=width, components=8) as trainer:
            trainer.step(2)
            with trainer.model() as model, model.session() as session:
                many = np.resize(points[0], (rows, dim))
                session.generate(many)
                host = rows / microseconds(lambda: session.generate(many), repeats)
                one = microseconds(lambda: session.generate(many[:1]), 25 * repeats)
                try:
                    device = on_device(session, context, many)
                except Exception as error:      # the table has to be written whatever the binding offers
                    print(f"device to device: {error}", file=sys.stderr)
                    device = None
                lines.append(f"| d = {dim}, 3 x {width} | {host:.1f} | {f'{rows / device:.1f}' if device else 'not measured'} "
                             f"| {one:.1f} us |")
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu: to try the program")
    p.add_argument("--smoke", action="store_true", help="small networks, few steps: a test of the program")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=1.0, help="measured in each round, for each program")
    p.add_argument("--patience", type=float, default=300, help="seconds for all programs to start")
    p.add_argument("--output", type=pathlib.Path, help="markdown file, written anew after each table; beside it the same name with .json")
    a = p.parse_args()
    a.warmup = 1 if a.smoke else 100
    if a.smoke:
        a.rounds, a.seconds = 1, 0.05

    parts, checks = [], []

    def write(part, check=None):
        parts.append(part)
        if check:
            checks.append(check)
            print(check, flush=True)
        text = "\n\n".join(parts) + "\n"
        if a.output:
            a.output.write_text(text)
            a.output.with_suffix(".json").write_text(json.dumps(checks, indent=1) + "\n")

    write(f"{a.rounds} rounds of {a.seconds:g} s each, interleaved, all programs alive throughout; float32, tf32 and bf16 where "
          "marked.")
    write(generation(a))
    problems = SMOKE_PROBLEMS if a.smoke else PROBLEMS
    without = None if importlib.util.find_spec("torch") else f"{sys.executable} has no PyTorch"
    groups = [(problem, [Program(name, problem, a) for name in problem.programs if not without or name.startswith("library")])
              for problem in problems]
    wait_ready([program for _, programs in groups for program in programs], a.patience)
    for problem, programs in groups:
        write(*table(problem, measure(programs, a), without))
        for program in programs:
            program.close()
    if not a.output:
        print("\n\n".join(parts))
    raise SystemExit(0 if all(check["result"] == "passed" for check in checks) else 1)


if __name__ == "__main__":
    main()
