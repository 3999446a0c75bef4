"""One cell of the benchmark with a known plan: trains one method for so many seconds, measures it, prints one JSON line.

    python benchmark.py --method dsbm --dim 16 --epsilon 1 --budget 60 --seed 0 --threads 2

A method is a module plan_NAME.py here with `settings(dim, epsilon)`, a dict, and a class `Method(task, **settings)` that has
`train(seconds)`, `steps`, `done` (its recipe is through, more time is of no use), and `samplers()`: generate(x, seed) by row
label. `task` has the pools and what every method may know. Pauses for measuring, imports and compilation are not counted.
"""
import argparse
import collections
import importlib
import json
import math
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

METHODS = ("library", "lightsb", "sinkhorn", "dsbm", "sf2m", "exact")
SCALES = {  # rows of the pools; the three measures' sizes; what the curve takes; how many points the curve has
    "full": dict(pool_rows=200_000, plain=dict(n_x=100, n_y=1000), sharp=dict(n_x=25, n_y=4000), marginal=dict(rows=50_000),
                 curve=dict(n_x=20, n_y=500), points=5),
    "quick": dict(pool_rows=200_000, plain=dict(n_x=50, n_y=500), sharp=dict(n_x=20, n_y=1000), marginal=dict(rows=5_000),
                  curve=dict(n_x=5, n_y=400), points=3),
    "smoke": dict(pool_rows=1_000, plain=dict(n_x=5, n_y=40), sharp=dict(n_x=5, n_y=40), marginal=dict(rows=200),
                  curve=dict(n_x=5, n_y=40), points=2)}

Task = collections.namedtuple("Task", "problem source target epsilon budget seed threads")


def width(dim):
    """Of the hidden layers of every network, the library's as well."""
    return 128 if dim <= 2 else 256


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--method", required=True, choices=METHODS)
    p.add_argument("--dim", type=int, default=2)
    p.add_argument("--epsilon", type=float, default=1.0)
    p.add_argument("--budget", type=float, default=30.0, help="seconds of training")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--omp-wait", default="passive", choices=["passive", "active"], help="how idle OpenMP threads wait")
    p.add_argument("--scale", default="full", choices=list(SCALES))
    p.add_argument("--rotated", action="store_true", help="the potential's covariances in axes drawn at random, in place of diagonal")
    p.add_argument("--set", default={}, type=json.loads, metavar="JSON", help="settings in place of the method's own, for trials")
    return p.parse_args()


def limit_threads(a):
    """Before any numerical library is loaded; JAX heeds only the process's cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:a.threads])
    os.environ["OMP_WAIT_POLICY"] = a.omp_wait
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(a.threads)


def run(a):
    from problems import Mixture, pools
    scale = SCALES[a.scale]
    problem = Mixture(a.dim, a.epsilon, rotated=a.rotated)
    source, target = pools(problem, scale["pool_rows"])
    module = importlib.import_module(f"plan_{a.method}")
    method = module.Method(Task(problem, source, target, a.epsilon, a.budget, a.seed, a.threads),
                           **{**module.settings(a.dim, a.epsilon), **a.set})
    points = scale["points"] if a.method != "exact" else 1
    used, curves = 0.0, collections.defaultdict(list)
    for at in (a.budget * 2.0 ** -k for k in reversed(range(points))):
        if not method.done and at > used:
            start = time.perf_counter()
            method.train(at - used)
            used += time.perf_counter() - start
        if at < a.budget and not method.done:
            for row, generate in method.samplers().items():
                error = finite(problem.sharp_report(generate, **scale["curve"]))
                curves[row].append((round(used, 2), error["sharp_cbw_uvp_percent"]))
                print(f"{row}, d = {a.dim}, epsilon = {a.epsilon:g}: {used:.1f} s, {method.steps} steps: {curves[row][-1][1]}",
                      file=sys.stderr, flush=True)
    rows = {}
    for row, generate in method.samplers().items():
        rows[row] = {**finite(problem.report(generate, **scale["plain"])),
                     **finite(problem.sharp_report(generate, **scale["sharp"])),
                     **finite(problem.marginal_report(generate, **scale["marginal"]))}
        rows[row]["curve"] = curves[row] + [(round(used, 2), rows[row]["sharp_cbw_uvp_percent"])]
    return {"rows": rows, "steps": method.steps, "seconds": round(used, 2), "done": method.done,
            "note": getattr(method, "note", "")}


def finite(report):
    """None for what is not a number: a diverged method."""
    return {name: round(float(value), 5) if math.isfinite(value) else None for name, value in report.items()}


def main():
    a = arguments()
    limit_threads(a)
    print(json.dumps(run(a)))


if __name__ == "__main__":
    main()
