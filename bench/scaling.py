"""Training steps per second of this library as one quantity changes, beside what the processor could do at most.

    cargo build --release
    python bench/scaling.py --output scaling.md --plots plots       # 4 minutes; --quick: 20 seconds

Two curves, through the standard sizes d = 2, width 128 and d = 16, width 256, in dimension, components a source (with as many
rows), batch, width and threads. All points of a panel are measured in turn, each for a moment, several times over.

The arithmetic bound is the rate of matrix products (peers/matmul_rate.py in the same run, the fastest library, 1024 rows of that
width) over the method's count of multiply-adds (programs.py): the library makes 6 % fewer, and narrow layers count in full. The
bandwidth bound is what the optimiser moves at the least: four vectors of each network read and written, at the rate of copying
as much memory.
"""
import statistics
import sys
import time
import typing
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import report
import sfeuot_ctypes as sfeuot
from peers import matmul_rate
from problems import Mixture, pools
from programs import K, LATENT, multiply_adds

CORES = 2


class Point(typing.NamedTuple):
    dim: int
    width: int
    sources: int = 128
    k: int = K
    threads: int = CORES

    @property
    def rows(self):
        return self.sources * self.k

    @property
    def state_bytes(self):
        """Read and written by one step of the optimiser: weights, average and two moments of both networks."""
        hidden = 2 * (self.width + 1) * self.width
        value = (2 * self.dim + 2) * self.width + hidden + self.width + 1
        outputs = 2 * self.dim if LATENT else self.k * (2 * self.dim + 1)
        generator = (2 * self.dim + LATENT + 1) * self.width + hidden + (self.width + 1) * outputs
        return 2 * 4 * 4 * (value + generator)


STANDARD = [Point(2, 128), Point(16, 256)]


def panels(full):
    """{quantity: [[points of a curve], ...]}"""
    choose = lambda values: values if full else values[::3]
    vary = lambda change, values: [[change(p, v) for v in choose(values)] for p in STANDARD]
    return {
        "dimension": vary(lambda p, d: p._replace(dim=d), [1, 2, 4, 8, 16, 32, 64, 128, 256]),
        "components": vary(lambda p, k: p._replace(sources=p.rows // k, k=k), [1, 2, 4, 8, 16, 32, 64]),
        "rows a step": vary(lambda p, n: p._replace(sources=n // p.k), [64, 256, 1024, 4096, 16384, 65536]),
        "width": vary(lambda p, w: p._replace(width=w), [32, 64, 128, 256, 512, 1024]),
        "threads": vary(lambda p, t: p._replace(threads=t), range(1, CORES + 1)),
    }


def coordinate(quantity, p):
    return {"dimension": p.dim, "components": p.k, "rows a step": p.rows, "width": p.width, "threads": p.threads}[quantity]


class Training:
    """A trainer of one size, warm."""

    def __init__(self, point):
        sides = pools(Mixture(point.dim, 1.0), min(20_000, 1_000_000 // point.dim))
        self.context = sfeuot.Context(threads=point.threads)
        self.trainer = sfeuot.Trainer(self.context, *sides, divergence="balanced", sigma=1.0, sigma_units="data",
                                      hidden_width=point.width, latent_dimension=LATENT, batch_sources=point.sources,
                                      components=point.k)
        start = time.perf_counter()
        self.trainer.step(2)
        self.step_seconds = (time.perf_counter() - start) / 2

    def rate(self, seconds):
        steps = max(1, round(seconds / self.step_seconds))
        start = time.perf_counter()
        self.trainer.step(steps)
        elapsed = time.perf_counter() - start
        self.step_seconds = elapsed / steps
        return steps / elapsed

    def close(self):
        self.trainer.close()
        self.context.close()


def copy_rate(size, threads):
    """Bytes read and written a second in copying so many bytes, shared by the threads."""
    parts = [(np.ones(size // 2 // threads, np.uint8), np.zeros(size // 2 // threads, np.uint8)) for _ in range(threads)]
    times, repeats = [], max(1, 20_000_000 // size)

    def copy(part):
        for _ in range(repeats):
            np.copyto(part[1], part[0])
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(7):
            start = time.perf_counter()
            list(pool.map(copy, parts))
            times.append((time.perf_counter() - start) / repeats)
    return size / statistics.median(times)


def measure(points, rounds, seconds):
    """{point: [steps per second of each round]}"""
    made = {}
    try:
        made = {point: Training(point) for point in points}
        rates = {point: [] for point in points}
        for _ in range(rounds):
            for point, training in made.items():
                rates[point].append(training.rate(seconds))
        return rates
    finally:
        for training in made.values():
            training.close()


def draw(a, found, bound):
    fig, axes = report.figure(columns=3, rows=2)
    for axis, (quantity, curves) in zip(axes.flat, found.items()):
        for color, curve in zip(("C0", "C1"), curves):
            x = [coordinate(quantity, p) for p in curve]
            axis.plot(x, [statistics.median(r) for r in curve.values()], "o-", color=color, label=curve_name(quantity, curve))
            arithmetic, bandwidth = zip(*(bound[p] for p in curve))
            axis.plot(x, arithmetic, "--", color=color, alpha=0.6)
            if quantity in ("rows a step", "width"):
                axis.plot(x, bandwidth, ":", color=color, alpha=0.6)
        axis.set(xlabel=quantity, ylabel="steps/s", yscale="log")
        if quantity != "threads":
            axis.set_xscale("log", base=2)
        else:
            axis.set_xticks(x)
        axis.legend()
    for axis in axes.flat[len(found):]:
        axis.axis("off")
        axis.text(0, 0.5, "dashed: arithmetic bound\ndotted: bandwidth bound of the optimiser")
    return report.save(a, fig, "scaling")


def curve_name(quantity, curve):
    p = next(iter(curve))
    return {"dimension": f"width {p.width}", "width": f"d = {p.dim}"}.get(quantity, f"d = {p.dim}, width {p.width}")


def rows_of(quantity, curves, bound):
    for curve in curves:
        for p, rates in curve.items():
            median, (arithmetic, bandwidth) = statistics.median(rates), bound[p]
            yield [
                quantity, p.dim, p.width, f"{p.sources} x {p.k}", p.threads,
                f"{median:.1f} ({min(rates):.1f} to {max(rates):.1f})", f"{arithmetic:.1f}", f"{100 * median / arithmetic:.0f} %",
                f"{bandwidth:.0f}"
            ]


def main():
    p = report.parser(__doc__)
    p.add_argument("--force", action="store_true", help="measure on a busy machine; the table says so")
    a = p.parse_args()
    busy = report.refuse_busy(a)
    start = time.monotonic()
    rounds, seconds = report.by_scale(a, (5, 0.3), (2, 0.1), (1, 0.001))
    wanted = panels(a.scale == "full")
    if a.scale != "full":
        most = report.by_scale(a, None, 4096, 1024)
        wanted = {
            q: [[p for p in curve if p.rows <= most and p.width <= 512] for curve in curves]
            for q, curves in wanted.items()
        }
    points = {p for curves in wanted.values() for curve in curves for p in curve}
    widths = sorted({p.width for p in points})
    counts = sorted({p.threads for p in points}) if a.scale == "full" else [CORES]
    libraries = report.by_scale(a, matmul_rate.LIBRARIES, matmul_rate.LIBRARIES, ("numpy",))
    gflops = {
        threads: matmul_rate.best(threads, 1024, widths, report.by_scale(a, 0.4, 0.1, 0.01), libraries)
        for threads in counts
    }
    copies = {}

    def bounds(p):
        key = p.state_bytes, p.threads
        if key not in copies:
            copies[key] = copy_rate(*key)
        rate = gflops.get(p.threads, gflops[CORES])[p.width] * (1 if p.threads in gflops else p.threads / CORES)
        return 1e9 * rate / (2 * multiply_adds(p.dim, p.width, k=p.k) * p.rows), copies[key] / p.state_bytes

    bound = {p: bounds(p) for p in points}
    rates = "; ".join(f"{threads} thread{'s' * (threads > 1)}: " + ", ".join(f"width {w} {v:.0f}" for w, v in by.items())
                      for threads, by in gflops.items())
    parts = [
        report.provenance(a, ["numpy", "torch", "jax"], threads=CORES, busy=busy),
        f"Matrix products of 1024 rows, GFLOP/s: {rates}. Steps per second: median of {rounds} rounds, in brackets the lowest to "
        "the highest."
    ]
    head = ["changed", "d", "width", "batch", "threads", "steps/s", "arithmetic bound", "share", "bandwidth bound"]
    found, rows = {}, []
    for quantity, curves in wanted.items():
        print(quantity, file=sys.stderr, flush=True)
        measured = measure([p for curve in curves for p in curve], rounds, seconds)
        found[quantity] = [{p: measured[p] for p in curve} for curve in curves]
        rows += rows_of(quantity, found[quantity], bound)
        if a.output:
            report.write(a, "Scaling", [*parts, report.table(head, rows)])
    picture = draw(a, found, bound)
    report.write(a, "Scaling", [
        *parts, *[picture] * bool(picture),
        report.table(head, rows), f"Measured in {(time.monotonic() - start) / 60:.1f} minutes."
    ])


if __name__ == "__main__":
    main()
