"""What the step programs share: one command line, one data pool, one way to take the time.

Import this before any numerical library: it limits the process to `--threads` cores, which every library respects. On
a GPU, where a process waits rather than computes and many are kept alive, it does not.
"""
import argparse
import json
import os
import pathlib
import sys
import time
import typing

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

VALUE_TIME_MAX, GENERATOR_TIME_MIN = 0.995, 0.2
LOG_STD_MIN, LOG_STD_MAX = -6.0, 3.0
# Of the squares that networks see beside a sample: where they bend, and their centre at time 0 and its change until 1, which here
# are those of a spread of 1 at time 0 and of 1.45 at time 1 whatever the samples are.
REACH, START, CHANGE = 3.0, 0.689, 0.5
# Samples of a pool, and numbers that it holds at most.
POOL_ROWS, POOL_NUMBERS = 100_000, 1_600_000


class Form(typing.NamedTuple):
    """The generator's law of x1 given x0: a mixture of k Gaussians. They are those of k latents of `latent` numbers, all equally
    likely; or, where that is 0, the network sees x0 alone and gives every one, and after them the logits of their probabilities."""
    k: int
    latent: int

    def inputs(self, dim):
        """Of the value function and of the generator: a sample, time or latent, and the sample's squares."""
        return 2 * dim + 1, 2 * dim + self.latent

    def outputs(self, dim):
        return 2 * dim if self.latent else self.k * (2 * dim + 1)


def arguments(description, extra=None):
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--dim", type=int, default=2)
    p.add_argument("--hidden", type=int, default=128)
    p.add_argument("--latent", type=int, default=0, help="numbers of a latent; 0: the generator gives its components itself")
    p.add_argument("--sources", type=int, default=128, help="x0 per batch")
    p.add_argument("--k", type=int, default=8, help="components per x0")
    p.add_argument("--layers", type=int, default=3, help="hidden layers")
    p.add_argument("--epsilon", type=float, default=1.0, help="sigma^2")
    p.add_argument("--lr-generator", type=float, default=1e-3)
    p.add_argument("--lr-value", type=float, default=3e-4)
    p.add_argument("--ema", type=float, default=0.998)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--steps", type=int, default=500, help="steps measured")
    p.add_argument("--seconds", type=float, default=0.0, help="measure for so long instead")
    p.add_argument("--warmup", type=int, default=50, help="steps before the measurement")
    p.add_argument("--omp-wait", default="passive", choices=["passive", "active", "default"], help="how idle OpenMP threads wait")
    p.add_argument("--json", action="store_true", help="print one JSON line")
    p.add_argument("--serve", action="store_true",
                   help="warm up, print 'ready', then measure once per line of stdin: its seconds")
    if extra:
        extra(p)
    a = p.parse_args()
    if getattr(a, "device", "cpu") == "cpu":
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[:max(1, a.threads)])
    os.environ.pop("OMP_WAIT_POLICY", None)
    if a.omp_wait != "default":
        os.environ["OMP_WAIT_POLICY"] = a.omp_wait
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(a.threads)
    return a


def resident(field="VmRSS"):
    """Resident memory of this process in MiB: now, or with "VmHWM" its peak."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024


def mixture_pools(a):
    """Source and target pools of the mixture problem, float32. The memory that a program takes counts from here."""
    from problems import Mixture, pools
    result = pools(Mixture(a.dim, a.epsilon), min(POOL_ROWS, POOL_NUMBERS // a.dim))
    try:
        pathlib.Path("/proc/self/clear_refs").write_text(
            "5")     # drawing them needed more memory than keeping them: forget that peak
    except OSError:
        pass
    a.resident_before = resident()
    return result


def measure(a, program, run, multiple=1):
    """`run(n)` does n steps, waits for them and returns the metrics of the last one, a dict of floats.

    n is always a multiple of `multiple`. Memory is the process's peak since it began to build its networks, and what of it
    lies above what interpreter, packages and pools had taken before.
    """
    up = lambda n: -(-n // multiple) * multiple

    def timed(seconds):
        done, start, cpu, chunk = 0, time.perf_counter(), time.process_time(), 1
        while True:
            n = up(min(chunk, a.steps - done) if seconds <= 0 else chunk)
            metrics = run(n)
            done += n
            elapsed = time.perf_counter() - start
            if (done >= a.steps) if seconds <= 0 else (elapsed >= seconds):
                break
            # One wait per chunk: grow chunks to about half a second so that waiting costs nothing.
            chunk = max(1, int(0.5 * done / elapsed))
        return {"program": program, "dim": a.dim, "hidden": a.hidden, "latent": a.latent, "sources": a.sources, "k": a.k,
                "layers": a.layers, "threads": a.threads, "steps": done, "seconds": round(elapsed, 4),
                "steps_per_second": round(done / elapsed, 2),
                "cpu_milliseconds_per_step": round(1000 * (time.process_time() - cpu) / done, 3),
                "peak_mib": round(resident("VmHWM"), 1), "own_mib": round(resident("VmHWM") - a.resident_before, 1),
                **{k: round(float(v), 5) for k, v in metrics.items()}}

    if a.warmup:
        run(up(a.warmup))
    if a.serve:
        print("ready", flush=True)
        for line in sys.stdin:
            print(json.dumps(timed(float(line))), flush=True)
        return
    result = timed(a.seconds)
    if a.json:
        print(json.dumps(result))
    else:
        print(f"{program}: {result['steps_per_second']} steps/s ({result['steps']} steps in {result['seconds']} s)")
