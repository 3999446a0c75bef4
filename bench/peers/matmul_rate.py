"""The machine's rate of float32 matrix products: (rows x H) @ (H x H) and a large square one, for three libraries.

    python matmul_rate.py --threads 2 --rows 1024 --widths 128 256 --json

Each library runs in a process of its own, one at a time. The best of them at a size is the rate that counts there.
The rate is in GFLOP/s, two floating-point operations per multiply-add; each number is a median.
"""
import argparse
import json
import os
import subprocess
import sys

LIBRARIES = ("torch", "numpy", "jax")


def product(library, threads, m, n):
    """A function that does (m x n) @ (n x n) once and waits for it."""
    import numpy as np
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(m, n)).astype(np.float32), rng.normal(size=(n, n)).astype(np.float32)
    if library == "numpy":
        out = np.empty((m, n), np.float32)
        return lambda: np.matmul(a, b, out=out)
    if library == "torch":
        import torch
        torch.set_num_threads(threads)
        a, b, out = torch.from_numpy(a), torch.from_numpy(b), torch.empty(m, n)
        return lambda: torch.mm(a, b, out=out)
    import jax
    import jax.numpy as jnp
    a, b, f = jnp.asarray(a), jnp.asarray(b), jax.jit(jnp.matmul)
    return lambda: f(a, b).block_until_ready()


def measure(threads, sizes, seconds, libraries=LIBRARIES):
    """{size: {library: GFLOP/s}, ...}, the sizes named as they print."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    result = {}
    for library in libraries:
        command = [sys.executable, __file__, "--library", library, "--threads", str(threads), "--seconds", str(seconds),
                   "--sizes", *(f"{m}x{n}" for m, n in sizes)]
        output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        for size, value in json.loads(output).items():
            result.setdefault(size, {})[library] = value
    return result


def best(threads, rows, widths, seconds, libraries=LIBRARIES):
    """{width: GFLOP/s of (rows x width) @ (width x width)} of the fastest library; imported by other programs."""
    rates = measure(threads, [(rows, width) for width in widths], seconds, libraries)
    return {width: max(rates[named(rows, width)].values()) for width in widths}


def named(m, n):
    return f"{m}x{n}x{n}"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rows", type=int, default=1024)
    p.add_argument("--widths", type=int, nargs="+", default=[128, 256])
    p.add_argument("--large", type=int, default=2048, help="side of a square product; 0 leaves it out")
    p.add_argument("--seconds", type=float, default=1.0, help="for each library and size")
    p.add_argument("--library", choices=LIBRARIES, help=argparse.SUPPRESS)
    p.add_argument("--sizes", nargs="+", help=argparse.SUPPRESS)
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    if a.library:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[:a.threads])
        sizes = [tuple(map(int, size.split("x"))) for size in a.sizes]
        from bursts import median_time      # beside this program, which is imported from elsewhere too
        rate = lambda m, n: 2e-9 * m * n * n / median_time(product(a.library, a.threads, m, n), a.seconds)
        print(json.dumps({named(m, n): round(rate(m, n), 1) for m, n in sizes}))
        return
    sizes = [(a.rows, width) for width in a.widths] + [(a.large, a.large)] * bool(a.large)
    result = measure(a.threads, sizes, a.seconds)
    print(json.dumps({"threads": a.threads, "gflops": result}) if a.json else "\n".join(
        f"{size}: " + ", ".join(f"{name} {value}" for name, value in rates.items()) for size, rates in result.items()))


if __name__ == "__main__":
    main()
