"""Steps per second of this library beside PyTorch and JAX, the share of the machine's matrix-product rate, and memory.

    pip install -r bench/requirements.txt && cargo build --release
    python bench/speed.py --output speed.md         # 20 to 25 minutes; --quick: a minute

First both standard sizes with every program, then one quantity at a time away from them: dimension, width, batch, threads. In
the sweeps PyTorch and JAX run in the variant that was the fastest at the standard size, and torch.compile, which compiles for
half a minute, in one or two rows of each. All programs of a row stay alive and are measured in turn (programs.py). The run is
refused when the machine is busy, unless --force is given.
"""
import statistics
import sys
import time

import report
from peers import matmul_rate
from programs import PROGRAMS, Size, in_turn, multiply_adds

STANDARD = [Size(2, 128), Size(16, 256)]
# The library's rate over that of PyTorch's fastest program, at the least; above 1 is asked of every row against every program.
BARS = {Size(2, 128): 2.0, Size(16, 256): 1.4}
# (what changes, from which standard size, the sizes, those among them with torch.compile)
D2, D16 = STANDARD
SWEEPS = [
    ("dimension", D2, [D2._replace(dim=d) for d in (3, 16, 128)], [3]),
    ("dimension", D16, [D16._replace(dim=d) for d in (2, 3, 128)], [128]),
    ("width", D2, [D2._replace(width=w) for w in (64, 256, 512)], [64]),
    ("width", D16, [D16._replace(width=w) for w in (64, 128, 512)], [512]),
    ("batch", D2, [D2._replace(sources=n) for n in (2048, 8192)], []),
    ("batch", D16, [D16._replace(sources=n) for n in (2048, 8192)], []),
    ("threads", D2, [D2._replace(threads=1)], [1]),
    ("threads", D16, [D16._replace(threads=1)], [1]),
]
FIELD = {"dimension": "dim", "width": "width", "batch": "sources", "threads": "threads"}


def rate(measured):
    return statistics.median(m["steps_per_second"] for m in measured)


def ratios(rates, name):
    """The library's rate over the program's, round by round."""
    return [ours["steps_per_second"] / theirs["steps_per_second"] for ours, theirs in zip(rates["library"], rates[name])]


def spread(values, digits=2):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def fastest(rates, family):
    """The fastest variant of "torch", "torch-compile" or "jax", or None. Compiled programs do not count as "torch"."""
    names = [n for n in rates if n.startswith(family) and ("compile" in n) == ("compile" in family)]
    return max(names, key=lambda n: rate(rates[n]), default=None)


def memory(measured):
    return f"{max(m['peak_mib'] for m in measured):.0f} ({max(m['own_mib'] for m in measured):.0f})"


def standard_table(size, rates, gflops, seconds):
    best = max(gflops.values())
    count = multiply_adds(size.dim, size.width)
    rows = []
    for name, measured in rates.items():
        share = 2e-9 * count * size.rows * rate(measured) / best
        rows.append([
            name,
            spread([m["steps_per_second"] for m in measured], 1),
            spread(ratios(rates, name)) if "library" in rates and name != "library" else "-", f"{100 * share:.0f} %",
            memory(measured)
        ])
    head = ["program", "steps/s", "library / program", "share of the matrix-product rate", "peak memory, MiB (its own)"]
    parts = [
        f"### {size}",
        f"{count / 1e6:.3f} M multiply-adds per row. Matrix products at {matmul_rate.named(size.rows, size.width)}: "
        f"{best:.0f} GFLOP/s ({', '.join(f'{n} {v:.0f}' for n, v in gflops.items())}). "
        f"{len(rates.get('library', []))} round(s), {seconds:.0f} s with the starts.",
        report.table(head, rows)
    ]
    return "\n\n".join(parts + [verdict(size, rates)])


def verdict(size, rates):
    lines = []
    for family in ("PyTorch", "JAX"):
        names = [n for n in rates if n.startswith({"PyTorch": "torch", "JAX": "jax"}[family])]
        if "library" not in rates or not names:
            continue
        name = max(names, key=lambda n: rate(rates[n]))
        value, bar = statistics.median(ratios(rates, name)), BARS.get(size, 1.0) if family == "PyTorch" else 1.0
        lines.append(f"Against the fastest {family} program ({name}): {value:.2f} times; the bar is {bar:g}: "
                     f"{'held' if value >= bar else '**missed**'}.")
    return " ".join(lines)


def sweep_programs(size, base, compiled, a):
    """Library, and the variants that `base`'s rates show as the fastest; all of them with no rates."""
    torch, jax, compile_ = (fastest(base, family) for family in ("torch", "jax", "torch-compile"))
    if size.threads == 1:       # nobody waits for anybody
        torch, compile_ = torch and "torch", compile_ and "torch-compile"
    wanted = ["library", torch or "torch", jax or "jax"] + [compile_ or "torch-compile-spin"] * compiled
    return [name for name in wanted if name in a.programs]


def sweep_row(size, rates, seconds):
    def against(family):
        name = fastest(rates, family)
        return f"{name}: {spread(ratios(rates, name))}" if name and "library" in rates else "-"
    ahead = [statistics.median(ratios(rates, name)) > 1 for name in rates if name != "library"] if "library" in rates else []
    kept = ", ".join(f"{name} {memory(measured)}" for name, measured in rates.items())
    return [
        size.dim, size.width, size.rows, size.threads,
        spread([m["steps_per_second"] for m in rates["library"]]) if "library" in rates else "-",
        against("torch"),
        against("torch-compile"),
        against("jax"), ("yes" if all(ahead) else "**no**") if ahead else "-", kept, f"{seconds:.0f}"
    ]


SWEEP_HEAD = [
    "d", "width", "rows", "threads", "library, steps/s", "library / PyTorch", "library / torch.compile", "library / JAX",
    "ahead of all", "peak memory, MiB (its own)", "measured for, s"
]


def options():
    p = report.parser(__doc__)
    p.add_argument("--programs", nargs="+", choices=list(PROGRAMS), help="only these")
    p.add_argument("--parts", nargs="+", choices=["standard", "sweeps"], default=["standard", "sweeps"])
    p.add_argument("--rounds", type=int, help="default 5 at the standard sizes, 3 in the sweeps")
    p.add_argument("--seconds", type=float, help="measured in each round, for each program; default 3 and 1.5")
    p.add_argument("--force", action="store_true", help="measure on a busy machine; the table says so")
    a = p.parse_args()
    light = ["library", "torch", "torch-spin", "jax-scan"]
    a.programs = a.programs or report.by_scale(a, list(PROGRAMS), light, ["library", "torch", "jax"])
    return a


def main():
    a = options()
    busy = report.refuse_busy(a)
    start = time.monotonic()
    rounds = [a.rounds or n for n in report.by_scale(a, (5, 3), (2, 1), (1, 1))]
    seconds = [a.seconds or n for n in report.by_scale(a, (3.0, 1.5), (1.0, 0.5), (0.05, 0.05))]
    warmup = report.by_scale(a, 50, 10, 1)
    standard = report.by_scale(a, STANDARD, STANDARD, [Size(2, 16, 4, 1)])
    sweeps = report.by_scale(a, SWEEPS, [],
                             [("batch", standard[0], [Size(2, 16, 8, 1)], [])])
    sweep_of = [n for n in a.programs if a.scale != "smoke" or n != "jax"]     # one start less
    parts = [
        report.provenance(a, ["torch", "jax", "jaxlib", "numpy"], busy=busy),
        "float32; every cell is the median, and in brackets the lowest to the highest round. Ratios are those of a round. "
        "Memory is the highest resident memory of the process since it began to build its networks, and in brackets what of it "
        "lies above interpreter, packages and sample pools; compilers that run as processes of their own are not in it."
    ]
    ahead = []

    def write(*more):
        minutes = f"Measured in {(time.monotonic() - start) / 60:.0f} minutes."
        report.write(a, "Speed", [*parts, *more, minutes])

    widths = sorted({size.width for size in standard})
    sizes = [(standard[0].rows, width) for width in widths] + [(2048, 2048)] * (a.scale == "full")
    gflops = matmul_rate.measure(standard[0].threads, sizes, report.by_scale(a, 1.0, 0.2, 0.02))
    bases = {}
    for size in standard if "standard" in a.parts else []:
        began = time.monotonic()
        bases[size] = in_turn(a.programs, size, rounds[0], seconds[0], warmup)
        parts.append(standard_table(size, bases[size], gflops[matmul_rate.named(size.rows, size.width)],
                                    time.monotonic() - began))
        ahead += [statistics.median(ratios(bases[size], n)) > 1 for n in bases[size]
                  if n != "library"] if "library" in bases[size] else []
        write()
    if "sweeps" not in a.parts or not sweeps:
        return write()
    rows = []
    text = (
        "### Away from the standard sizes\n\nOne quantity changes at a time, from d = 2, width 128 and from d = 16, "
        "width 256 (1024 rows, 2 threads), "
        "whose own numbers are above. torch.compile is in the rows that name it.")
    for what, base, sizes, compiled in sweeps:
        for size in sizes:
            began = time.monotonic()
            large = size.rows > 4096        # a step lasts for up to seconds there
            names = [
                n for n in sweep_programs(size, bases.get(base, {}),
                                          getattr(size, FIELD[what]) in compiled, a) if n in sweep_of
            ]
            rates = in_turn(names, size, rounds[1], 2 * seconds[1] if large else seconds[1], min(warmup, 2 if large else 20))
            rows.append(sweep_row(size, rates, time.monotonic() - began))
            ahead += [statistics.median(ratios(rates, n)) > 1 for n in rates if n != "library"] if "library" in rates else []
            write(text, report.table(SWEEP_HEAD, rows))
    write(text, report.table(SWEEP_HEAD, rows), f"The library is ahead in {sum(ahead)} of {len(ahead)} comparisons.")
    print(f"{(time.monotonic() - start) / 60:.1f} minutes", file=sys.stderr)


if __name__ == "__main__":
    main()
