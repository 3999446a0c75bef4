"""Steps per second of this library beside PyTorch and JAX, and the share of the machine's matrix-product rate.

    pip install -r bench/requirements.txt && cargo build --release
    python bench/speed.py --rounds 5 --seconds 3 --output speed.md

Every program stays alive throughout and is measured in turn, A B C A B C, so that a slow spell of the machine
meets all of them. PyTorch runs with passive OpenMP waiting, and once more as `-spin` with OpenMP's default, where threads
spin for a moment before they sleep: usually faster on a quiet machine and ruinous on a busy one; the faster counts.
The run is refused when the machine is busy, unless --force is given.
"""
import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

PEERS = pathlib.Path(__file__).resolve().parent / "peers"
PROGRAMS = {
    "library": ["library_step.py"],
    "torch": ["torch_step.py", "--omp-wait", "passive"],
    "torch-spin": ["torch_step.py", "--omp-wait", "default"],
    "torch-compile": ["torch_step.py", "--compile", "--omp-wait", "passive"],
    "torch-compile-spin": ["torch_step.py", "--compile", "--omp-wait", "default"],
    "jax": ["jax_step.py"],
    "jax-scan": ["jax_step.py", "--inner", "10"],
}
LOAD_LIMIT = 0.3


def width_of(dim):
    return 128 if dim <= 2 else 256


def multiply_adds(dim, hidden, latent, layers=3):
    """Multiply-adds of one training step per sample (a row of the batch), the dense layers alone.

    Value step: generator forward; two ends, each forward, backward to the input, weight gradient; the action term: forward,
    backward to x, tangent, and the reverse pass over all that, 7 products in all. Generator step: generator forward and
    twice that backward, value forward and backward to x.
    """
    inner = (layers - 1) * hidden * hidden
    value = (dim + 1) * hidden + inner + hidden
    generator = (dim + latent) * hidden + inner + hidden * 2 * dim
    return generator + 2 * 3 * value + 7 * value + 3 * generator + 2 * value


class Program:
    """One step program, warm and waiting."""

    def __init__(self, name, dim, a):
        command = [sys.executable, str(PEERS / PROGRAMS[name][0]), *PROGRAMS[name][1:], "--dim", dim, "--hidden", width_of(dim),
                   "--latent", a.latent, "--sources", a.sources, "--k", a.k, "--threads", a.threads, "--warmup", a.warmup, "--serve"]
        self.name = name
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with status {self.process.wait()} before it answered")
        return line

    def wait_ready(self):
        while self.line().strip() != "ready":
            pass

    def measure(self, seconds):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return json.loads(self.line())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def measure(dim, a):
    """{program: [steps per second of each round]}"""
    programs = []
    try:
        for name in a.programs:         # one after the other: two warm-ups at once would only slow each other down
            print(f"d={dim}: starting {name}", file=sys.stderr, flush=True)
            programs.append(Program(name, dim, a))
            programs[-1].wait_ready()
        rates = {name: [] for name in a.programs}
        for i in range(a.rounds):
            for program in programs:
                rates[program.name].append(program.measure(a.seconds)["steps_per_second"])
            print(f"d={dim} round {i + 1}: " + ", ".join(f"{n} {r[-1]:.1f}" for n, r in rates.items()), file=sys.stderr, flush=True)
        return rates
    finally:
        for program in programs:
            program.close()


def matrix_product_rates(a):
    """{size: {library: GFLOP/s}}"""
    command = [sys.executable, str(PEERS / "matmul_rate.py"), "--threads", str(a.threads), "--rows", str(a.sources * a.k), "--json"]
    rates = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["gflops"]
    return {size: {name: v for name, v in by_library.items() if name != "best"} for size, by_library in rates.items()}


def table(dim, rates, gflops, a):
    hidden, rows = width_of(dim), a.sources * a.k
    count = multiply_adds(dim, hidden, a.latent)
    size = f"{rows}x{hidden}x{hidden}"
    best = max(gflops[size].values())
    median = {name: statistics.median(r) for name, r in rates.items()}
    lines = [f"### d = {dim}, width {hidden}, {a.sources} x {a.k} samples a step",
             f"{count / 1e6:.3f} M multiply-adds per sample ({count}). Best matrix-product rate at {size}: {best:.0f} GFLOP/s "
             f"({', '.join(f'{n} {v:.0f}' for n, v in gflops[size].items())}).", "",
             "| program | steps/s, median | lowest to highest | library / program | share of the matrix-product rate |",
             "|---|---|---|---|---|"]
    for name, r in rates.items():
        ratio = f"{median['library'] / median[name]:.2f}" if "library" in median and name != "library" else "-"
        share = 2e-9 * count * rows * median[name] / best
        spread = f"{min(r):.1f} to {max(r):.1f} ({100 * (max(r) - min(r)) / median[name]:.0f} %)"
        lines.append(f"| {name} | {median[name]:.1f} | {spread} | {ratio} | {100 * share:.0f} % |")
    for family in ("torch", "jax"):
        members = [name for name in median if name.startswith(family)]
        if "library" in median and members:
            lines += ["", f"Against the faster {family} program: {median['library'] / max(median[m] for m in members):.2f} times."]
    return "\n".join(lines)


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--dims", type=int, nargs="+", default=[2, 16])
    p.add_argument("--programs", nargs="+", choices=list(PROGRAMS), default=list(PROGRAMS))
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=3.0, help="measured in each round, for each program")
    p.add_argument("--warmup", type=int, default=50, help="steps")
    p.add_argument("--latent", type=int, default=8)
    p.add_argument("--sources", type=int, default=64)
    p.add_argument("--k", type=int, default=16)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--force", action="store_true", help="measure on a busy machine; the table says so")
    p.add_argument("--output", type=pathlib.Path, help="markdown file; standard output if left out")
    a = p.parse_args()

    load = os.getloadavg()[0]
    if load > LOAD_LIMIT and not a.force:
        raise SystemExit(f"load average {load:.2f} is above {LOAD_LIMIT}: wait until the machine is quiet, or pass --force")
    before = matrix_product_rates(a)
    measured = {dim: measure(dim, a) for dim in a.dims}
    after = matrix_product_rates(a)
    gflops = {size: {name: max(v, after[size][name]) for name, v in rates.items()} for size, rates in before.items()}
    versions = {name: importlib.metadata.version(name) for name in ("torch", "jax", "numpy")}
    parts = [f"{processor()}, {a.threads} threads, float32; {', '.join(f'{n} {v}' for n, v in versions.items())}; "
             f"{a.rounds} rounds of {a.seconds:g} s each, interleaved; matrix products before and after, the higher counts; "
             f"load average at the start {load:.2f}."
             + (" **The machine was busy: these numbers are rough.**" if load > LOAD_LIMIT else "")]
    parts += [table(dim, measured[dim], gflops, a) for dim in a.dims]
    large = next(size for size in gflops if size.startswith("2048"))
    parts.append(f"Matrix products at {large}: {', '.join(f'{n} {v:.0f}' for n, v in gflops[large].items())} GFLOP/s.")
    text = "\n\n".join(parts) + "\n"
    a.output.write_text(text) if a.output else print(text)


if __name__ == "__main__":
    main()
