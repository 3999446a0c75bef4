"""One-step generation through the C API on one thread: time for one sample, and rows per second for many.

    cargo build --release
    python bench/latency.py --dim 2 --hidden-width 128

Times include the ctypes call, about a microsecond: that of a call that does next to nothing is printed beside them.
"""
import argparse
import statistics
import time

import numpy as np

import sfeuot_ctypes as sfeuot


def median_microseconds(function, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        function()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1e3


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--dim", type=int, default=2)
    p.add_argument("--hidden-width", type=int, default=128)
    p.add_argument("--hidden-layers", type=int, default=3)
    p.add_argument("--rows", type=int, default=65536)
    p.add_argument("--repeats", type=int, default=20000)
    a = p.parse_args()

    points = np.random.default_rng(0).normal(size=(2, 1000, a.dim)).astype(np.float32)
    with sfeuot.Context(threads=1) as context:
        trainer = sfeuot.Trainer(context, points[0], points[1] + 3, sigma=1.0, hidden_width=a.hidden_width,
                                 hidden_layers=a.hidden_layers)
        trainer.step(2)
        session = trainer.model().session()
        library = sfeuot.library()
        one, out = points[0, :1].copy(), np.empty((1, a.dim), np.float32)
        arguments = session.pointer, session._of(one), 1, 0, 0, session._of(out)
        single = median_microseconds(lambda: library.sfeuot_session_generate(*arguments), a.repeats)
        empty = median_microseconds(library.sfeuot_abi_version, a.repeats)
        many = np.resize(points[0], (a.rows, a.dim))
        session.generate(many[:1000])
        rate = a.rows / median_microseconds(lambda: session.generate(many), 5)
    print(f"d = {a.dim}, {a.hidden_layers} x {a.hidden_width}: one sample {single:.2f} us (empty call {empty:.2f} us), "
          f"{a.rows} rows at {rate:.2f} M rows/s")


if __name__ == "__main__":
    main()
