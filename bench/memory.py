"""Resident memory of a long training, and of making and releasing everything again and again: that both are flat.

    cargo build --release
    python bench/memory.py --output memory.md --plots plots        # 2 minutes; --quick: 15 seconds

Each case runs in a process of its own, which reads its resident memory (from smaps_rollup: the kernel counts the pages, where the
quicker VmRSS may lag by some dozens) after every few steps. After a warm-up, the first
tenth, a line is fitted by least squares: its slope, its standard error, and the difference of the largest and the smallest value.
Allocated pages only: memory that the allocator keeps and reuses counts as resident. What the allocator has handed out and not got
back (mallinfo2 of the GNU C library) is given beside it: a leak shows there to the byte.
"""
import concurrent.futures
import ctypes
import multiprocessing
import sys
import time

import numpy as np

import report
import sfeuot_ctypes as sfeuot

SEED = 0
# What the line may gain over the whole of a case.
BAR_KIB = 256


def resident_kib(field="Rss", file="smaps_rollup"):
    with open(f"/proc/self/{file}") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]


# Looked up once: a CDLL is a class of its own, whose kilobyte would be counted as held.
MALLINFO = getattr(ctypes.CDLL(None), "mallinfo2", None)
if MALLINFO:
    MALLINFO.restype = Mallinfo


def held_bytes():
    """What the process's allocator has handed out; 0 where the C library does not say."""
    if not MALLINFO:
        return 0
    info = MALLINFO()
    return info.uordblks + info.hblkhd


def pools(dim):
    rng = np.random.default_rng(SEED)
    return [rng.normal(size=(10_000, dim)).astype(np.float32) + shift for shift in (0, 2)]


def trainer(context, sides, width, sources):
    return sfeuot.Trainer(context, *sides, sigma=0.7, seed=SEED, hidden_width=width, batch_sources=sources,
                          components=8)


def training(context, dim, width, sources):
    """Calls the library itself: what Python keeps of each call of the binding, a hundred bytes, would be counted."""
    kept = trainer(context, pools(dim), width, sources)
    metrics = sfeuot.filled(sfeuot.Metrics, "metrics_init_2")
    return lambda steps: sfeuot.call("trainer_step", kept.pointer, steps, ctypes.byref(metrics))


def lifetimes(context, dim, width, sources):
    """One count is a trainer, a step, a model, a session, 100 samples, and all released."""
    sides, x0 = pools(dim), np.zeros((100, dim), np.float32)

    def run(count):
        for _ in range(count):
            with trainer(context, sides, width, sources) as made:
                made.step(1)
                with made.model() as model, model.session() as session:
                    session.generate(x0)
    return run


KINDS = {"training": training, "lifetimes": lifetimes}


def measure(kind, dim, width, sources, count, samples, threads):
    """(counts, KiB at each, peak KiB, KiB before, seconds, bytes held more at the end than after the first half)"""
    before, every = resident_kib(), max(1, count // samples)
    with sfeuot.Context(threads=threads) as context:
        run = KINDS[kind](context, dim, width, sources)
        counts, kib = np.zeros(count // every), np.zeros(count // every)
        start = time.perf_counter()
        for i in range(len(counts)):
            run(every)
            counts[i], kib[i] = (i + 1) * every, resident_kib()
            if i == len(counts) // 2:
                held = held_bytes()
        seconds = time.perf_counter() - start
        return counts, kib, resident_kib("VmHWM", "status"), before, seconds, held_bytes() - held


def line(counts, kib):
    """Slope in bytes a count, and its standard error."""
    x, y = counts - counts.mean(), 1024 * (kib - kib.mean())
    slope = (x @ y) / (x @ x)
    error = np.sqrt(((y - slope * x) ** 2).sum() / max(1, len(x) - 2) / (x @ x))
    return slope, error


def main():
    p = report.parser(__doc__)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    steps = report.by_scale(a, 50_000, 2_000, 50)
    cases = [("training", 2, 64, 64, steps), ("training", 16, 256, 64, steps // 25),
             ("lifetimes", 2, 64, 16, report.by_scale(a, 20_000, 1000, 20))]
    head = [
        "case", "count", "before it, MiB", "peak, MiB", "after warm-up, MiB", "largest - smallest, KiB", "slope, bytes a count",
        "gain over the case, KiB", "flat", "heap's gain over the second half, bytes", "seconds"
    ]
    rows, curves = [], []
    text = (
        f"Resident memory of the process, {a.threads} threads, 64 x 8 rows a step (16 x 8 where things are made and released). "
        "The count is of steps; in the last row of trainers made, stepped once, frozen, sampled and released. Flat: the fitted "
        f"line gains less than {BAR_KIB} KiB, or else the heap nothing. The heap's gain is what was handed out and not given back, Python's own "
        "included: where it is 0, pages that became resident are the allocator's to reuse."
    )
    for kind, dim, width, sources, count in cases:
        print(f"{kind}, d = {dim}, width {width}: {count}", file=sys.stderr, flush=True)
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            counts, kib, peak, before, seconds, held = process.submit(measure, kind, dim, width, sources, count, 100,
                                                                a.threads).result()
        warm = len(counts) // 10
        slope, error = line(counts[warm:], kib[warm:])
        gain = slope * counts[-1] / 1024
        flat = gain < BAR_KIB or (held_bytes() > 0 and held <= 0)
        name = f"{kind}, d = {dim}, width {width}"
        rows.append([
            name, count, f"{before / 1024:.1f}", f"{peak / 1024:.1f}", f"{kib[warm] / 1024:.1f}", f"{np.ptp(kib[warm:]):.0f}",
            f"{slope:.3f} +- {error:.3f}", f"{gain:.1f}", "yes" if flat else "**no**", held, f"{seconds:.0f}"
        ])
        curves.append((name, counts, kib))
        parts = [report.provenance(a, ["numpy"], seeds=[SEED], threads=a.threads), text, report.table(head, rows)]
        if a.output:
            report.write(a, "Memory", parts)
    fig, axes = report.figure(columns=len(curves))
    for axis, (name, counts, kib) in zip(axes[0], curves):
        axis.plot(counts, kib / 1024)
        axis.set(title=name, xlabel="steps" if name.startswith("training") else "trainers", ylabel="resident memory, MiB",
                 ylim=(0, 1.2 * kib.max() / 1024))
    parts.append(report.save(a, fig, "memory"))
    report.write(a, "Memory", [part for part in parts if part])


if __name__ == "__main__":
    main()
