"""Steps per second on a GPU beside PyTorch on the same GPU, and the generator's rate and latency.

    python bench/gpu_speed.py --rounds 5 --seconds 1 --output speed.md

Every program stays alive throughout and is measured in turn, as in speed.py. They start together, since most of a start is
PyTorch's import and compilation; what is not ready after --patience seconds is left out, and the table says so. PyTorch
draws its batches on the device. Its strongest program is `torch-compile-graph`: both losses compiled, and the whole step
captured as one CUDA graph. All multiply float32 numbers as they are; the rows marked tf32 round them first.
"""
import argparse
import json
import pathlib
import selectors
import statistics
import subprocess
import sys
import time

import numpy as np

import sfeuot_ctypes as sfeuot
from programs import K, PEERS, multiply_adds, width_of

PROGRAMS = {
    "library-auto": ["library_step.py", "--products", "auto"],
    "library-fused": ["library_step.py", "--products", "fused"],
    "library-cublaslt": ["library_step.py", "--products", "cublaslt"],
    "torch": ["torch_step.py"],
    "torch-graph": ["torch_step.py", "--graph"],
    "torch-compile": ["torch_step.py", "--compile"],
    "torch-compile-graph": ["torch_step.py", "--compile", "--graph"],
    "torch-compile-graph-tf32": ["torch_step.py", "--compile", "--graph", "--tf32"],
}
# dimension, sources a batch, each with K rows
PROBLEMS = [(2, 128), (16, 128), (16, 2048)]
# The library's rate over that of PyTorch's fastest float32 program, at the least.
BAR = 1.0


class Program:
    """A step program of one problem; `ready` tells whether it has warmed up."""

    def __init__(self, name, dim, sources, a):
        command = [sys.executable, PEERS / PROGRAMS[name][0], *PROGRAMS[name][1:], "--device", a.device, "--dim", dim,
                   "--hidden", width_of(dim), "--sources", sources, "--k", K, "--threads", 2, "--warmup", 100, "--serve"]
        self.name, self.ready = name, False
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def measure(self, seconds):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with status {self.process.wait()}")
        return json.loads(line)["steps_per_second"]

    def close(self):
        self.process.kill()
        self.process.wait()


def wait_ready(programs, seconds):
    """Until every program is ready or has ended, or the time is over."""
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for program in programs:
            selector.register(program.process.stdout, selectors.EVENT_READ, program)
        while selector.get_map() and time.monotonic() < end:
            for key, _ in selector.select(end - time.monotonic()):
                # The programs print this line first and nothing before it.
                line = key.fileobj.readline()
                key.data.ready = line.strip() == "ready"
                if key.data.ready or not line:
                    selector.unregister(key.fileobj)


def measure(programs, a):
    """{name: [steps a second of each round]} of those that are ready."""
    rates = {program.name: [] for program in programs if program.ready}
    for _ in range(a.rounds):
        for program in programs:
            if not program.ready:
                continue
            try:
                rates[program.name].append(program.measure(a.seconds))
            except (OSError, RuntimeError) as error:
                print(error, file=sys.stderr)
                program.ready = False
                rates.pop(program.name)
    return rates


def table(dim, sources, rates, names):
    """Markdown, and (check, value) of the library against PyTorch's fastest."""
    median = {name: statistics.median(r) for name, r in rates.items()}
    library = max((v for name, v in median.items() if name.startswith("library")), default=None)
    work = 2e-12 * multiply_adds(dim, width_of(dim)) * sources * K
    title = f"d = {dim}, width {width_of(dim)}, {sources} x {K} samples a step"
    lines = [f"### {title}", "| program | steps/s, median | lowest to highest | fastest library / program | TFLOP/s of the method |",
             "|---|---|---|---|---|"]
    for name in names:
        if name not in median:
            lines.append(f"| {name} | not ready or failed | | | |")
            continue
        low, high = min(rates[name]), max(rates[name])
        ratio = f"{library / median[name]:.2f}" if library and not name.startswith("library") else "-"
        spread = f"{low:.1f} to {high:.1f} ({100 * (high - low) / median[name]:.0f} %)"
        lines.append(f"| {name} | {median[name]:.1f} | {spread} | {ratio} | {work * median[name]:.2f} |")
    peers = [v for name, v in median.items() if name.startswith("torch") and not name.endswith("tf32")]
    value = library / max(peers) if library and peers else None
    return "\n".join(lines), (f"{title}: library / fastest PyTorch", value)


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


def generation(a, rows=65_536):
    lines = [f"### Generation through the ctypes binding, {rows} rows",
             "| network | host to host, M rows/s | device to device, M rows/s | one sample, host to host |", "|---|---|---|---|"]
    for dim in (2, 16):
        points = np.random.default_rng(0).normal(size=(2, 1000, dim)).astype(np.float32)
        with sfeuot.Context(device=a.device) as context, \
                sfeuot.Trainer(context, points[0], points[1] + 3, sigma=1.0, hidden_width=width_of(dim)) as trainer:
            trainer.step(2)
            with trainer.model() as model, model.session() as session:
                many = np.resize(points[0], (rows, dim))
                session.generate(many)
                host = rows / microseconds(lambda: session.generate(many), 21)
                one = microseconds(lambda: session.generate(many[:1]), 500)
                try:
                    device = on_device(session, context, many)
                except Exception as error:      # the table has to be written whatever the binding offers
                    print(f"device to device: {error}", file=sys.stderr)
                    device = None
                lines.append(f"| d = {dim}, 3 x {width_of(dim)} | {host:.1f} | {f'{rows / device:.1f}' if device else 'not measured'} "
                             f"| {one:.1f} us |")
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu: to try the program")
    p.add_argument("--programs", nargs="+", choices=list(PROGRAMS), default=list(PROGRAMS))
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=1.0, help="measured in each round, for each program")
    p.add_argument("--patience", type=float, default=300, help="seconds for all programs to start")
    p.add_argument("--output", type=pathlib.Path, help="markdown file, written anew after each table; beside it the same name with .json")
    a = p.parse_args()

    parts, checks = [], []

    def write(part, check=None):
        parts.append(part)
        if check:
            name, value = check
            checks.append({"check": name, "bar": BAR, "value": value, "pass": value is not None and value >= BAR})
        text = "\n\n".join(parts) + "\n"
        if a.output:
            a.output.write_text(text)
            a.output.with_suffix(".json").write_text(json.dumps(checks, indent=1) + "\n")

    write(f"{a.rounds} rounds of {a.seconds:g} s each, interleaved, all programs alive throughout; float32, tf32 off but where marked.")
    write(generation(a))
    groups = [(dim, sources, []) for dim, sources in PROBLEMS]
    try:
        for dim, sources, programs in groups:
            programs.extend(Program(name, dim, sources, a) for name in a.programs)
        wait_ready([program for *_, programs in groups for program in programs], a.patience)
        for *_, programs in groups:
            for program in programs:
                if not program.ready:       # it must not compile beside a measurement
                    program.close()
        for dim, sources, programs in groups:
            write(*table(dim, sources, measure(programs, a), a.programs))
    finally:
        for *_, programs in groups:
            for program in programs:
                program.close()
    if not a.output:
        print("\n\n".join(parts))
    raise SystemExit(0 if all(check["pass"] for check in checks) else 1)


if __name__ == "__main__":
    main()
