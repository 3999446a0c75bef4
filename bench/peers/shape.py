"""One cell of shapes.py: trains one method, measures it, prints one JSON line.

    python shape.py --family correlated --problem '{"dim": 16, "condition": 100}' --method default --steps 3000
    python shape.py --family curves --problem '{"shape": "ring", "sigma": 0.3}' --method sf2m --budget 30

The methods are those of benchmark.py, and `default`, the library with its default settings and `--steps` in place of a budget.
"""
import argparse
import importlib
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import benchmark    # noqa: E402

METHODS = ("default", "sf2m", "dsbm", "lightsb", "lightsb_full", "sinkhorn", "exact")


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--family", required=True, choices=["correlated", "mixture", "columns", "curves"])
    p.add_argument("--problem", type=json.loads, default={}, metavar="JSON", help="the family's settings")
    p.add_argument("--method", required=True, choices=METHODS)
    p.add_argument("--steps", type=int, default=3000, help="of the library")
    p.add_argument("--budget", type=float, default=30.0, help="seconds of the others' training")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--omp-wait", default="passive", choices=["passive", "active"], help="how idle OpenMP threads wait")
    p.add_argument("--clock", default="wall", choices=["wall", "cpu"], help="of the budget; on a busy machine the processor's is fair")
    p.add_argument("--scale", default="full", choices=list(benchmark.SCALES))
    p.add_argument("--set", default={}, type=json.loads, metavar="JSON", help="settings in place of the method's own, for trials")
    return p.parse_args()


def make_problem(family, settings):
    from column_problems import Columns
    from correlated_problems import Correlated, OwnAxes
    from curve_problems import Curve
    from problems import Mixture
    if family == "mixture":
        own, settings = settings["rotated"] == "own", {k: v for k, v in settings.items() if k != "rotated"}
        return OwnAxes(**settings) if own else Mixture(rotated=True, **settings)
    return {"correlated": Correlated, "columns": Columns, "curves": Curve}[family](**settings)


def measured(family, problem, generate, scale):
    """The problem's measures by name."""
    if family == "columns":
        return problem.report(generate, **scale["marginal"])
    if family == "curves":
        rows = scale["marginal"]["rows"]
        return problem.report(generate, rows=min(rows, 10_000), w2_rows=min(rows, 2000))
    result = {**problem.report(generate, **scale["plain"]), **problem.sharp_report(generate, **scale["sharp"]),
              **problem.marginal_report(generate, **scale["marginal"])}
    return {**result, **problem.narrow_report(generate, **scale["marginal"])} if family == "correlated" else result


def in_one_length(sampler, length):
    return lambda x, seed: sampler(x / length, seed) * length


def run(a):
    from problems import pools
    scale, problem = benchmark.SCALES[a.scale], make_problem(a.family, a.problem)
    source, target = pools(problem, scale["pool_rows"])
    # LightSB's steps are lengths of the data: where these are far from 1 it gets the same problem with their common scale as unit.
    length = problem.length if a.family == "columns" and a.method.startswith("lightsb") else 1.0
    source, target, epsilon = source / length, target / length, problem.epsilon / length**2
    module = importlib.import_module(f"plan_{a.method}")
    settings = {**module.settings(problem.d, epsilon), **({"steps": a.steps} if a.method == "default" else {}), **a.set}
    method = module.Method(benchmark.Task(problem, source, target, epsilon, a.budget, a.seed, a.threads), **settings)
    start, cpu_start = time.monotonic(), time.process_time()
    if not method.done:
        method.train(a.budget)
    seconds, cpu_seconds = time.monotonic() - start, time.process_time() - cpu_start
    rows = {}
    for row, generate in method.samplers().items():
        measures = measured(a.family, problem, in_one_length(generate, length), scale)
        columns = {"columns": measures.pop("columns")} if "columns" in measures else {}
        rows[row] = {**benchmark.finite(measures), **columns}
    return {"rows": rows, "steps": method.steps, "seconds": round(seconds, 2), "cpu_seconds": round(cpu_seconds, 2),
            "done": method.done, "note": getattr(method, "note", "")}


def main():
    a = arguments()
    benchmark.limit_threads(a)
    if a.clock == "cpu":
        time.perf_counter = time.process_time   # by which every method measures its budget
    print(json.dumps(run(a)))


if __name__ == "__main__":
    main()
