"""Data as users have them, balanced, each with a truth of its own: the library with its defaults beside other solvers.

    python bench/shapes.py --output shapes.md                          # about 3 hours
    python bench/shapes.py --families correlated --dims 2 16 --conditions 10 1e4 --epsilons 1 --methods default lightsb_full
    python bench/shapes.py --tables-only --output shapes.md            # from the cache, without training
    python bench/shapes.py --threads 1 --clock cpu                     # budgets in seconds of the processor, beside other work
    python bench/shapes.py --quick                                     # 10 minutes

Four families: correlated Gaussians and mixtures in turned axes (correlated_problems.py), whose plan is known; tables with columns
of different scales, tails and modes (column_problems.py) and curves in the plane (curve_problems.py), whose end is known. The
library makes --steps steps with decaying rates; the others get the same pools and, in the same cell, as many seconds as it
took, rounded up to BUDGET_STEP. Each trains in a process of its own (peers/shape.py), one at a time; results are kept in --cache.
"""
import json
import pathlib
import statistics
import sys

import cached
import report

sys.path.insert(0, str(report.ROOT / "peers"))
import benchmark    # noqa: E402
import column_problems    # noqa: E402
import curve_problems    # noqa: E402
import shape    # noqa: E402

SHARED_CODE = ("problems.py", "peers/shape.py", "peers/benchmark.py", "peers/entropic.py", "peers/plan_networks.py")
MORE_CODE = {"correlated": ["correlated_problems.py"], "mixture": ["correlated_problems.py"], "columns": ["column_problems.py"],
             "curves": ["curve_problems.py"], "lightsb_full": ["peers/plan_lightsb.py"]}
BUDGET_STEP = 5.0
CONDITIONS, EPSILONS, SIGMAS = (10.0, 100.0, 1000.0, 1e4), (1.0, 0.1, 10.0), (0.1, 0.3, 1.0)
SHAPES = [*curve_problems.CURVES, "checkerboard"]
COLUMNS = {     # row of a result -> heading of the tables, in their order
    "library": "library", "library, step 0": "library, step 0", "[SF]2M, 100 steps": "[SF]2M, 100 steps",
    "DSBM-IMF, 100 steps": "DSBM, 100 steps", "LightSB (family contains the answer)": "LightSB, diagonal",
    "LightSB, full covariances": "LightSB, full", "Sinkhorn, out of sample": "Sinkhorn", "exact plan (floor)": "truth (floor)"}
PLAN_MEASURES = {
    "sharp_cbw_uvp_percent": "Plans given x, cBW2^2-UVP without the samples' bias, percent (see Plans)",
    "cbw_uvp_percent": "Plans given x, cBW2^2-UVP, percent",
    "bw_uvp_percent": "End marginal, BW2^2-UVP, percent"}
FAMILIES = {    # title, text, measure -> what it is
    "correlated": (
        "Correlated Gaussians",
        "N(0, A) -> N(m, B). B's variances run from 3.16 down to that divided by the condition number, in axes drawn at random; "
        "A is I, or has the same condition number in other axes.",
        {**PLAN_MEASURES, "narrow_ratio": "Spread of the end along B's narrowest axis, generated / true"}),
    "mixture": (
        "Mixtures in turned axes",
        "The mixtures of Plans, epsilon = 1. The potential's covariances have axes drawn at random, the same for all components, "
        "or each its own.",
        PLAN_MEASURES),
    "columns": (
        "Columns of different scales, with tails, with modes",
        "Independent columns, both sides in the same units, which rise from 1 to the ratio that is named; sigma is 0.1 times the "
        "samples' common scale.",
        {"std_ratio": "Standard deviation of the column where it is most wrong, generated / true",
         "quantile_error_percent": "Largest error of a column's 5, 25, 50, 75 and 95 % quantiles, percent of its true standard "
                                   "deviation"}),
    "curves": (
        "Curves in the plane",
        "N(0, I) to curves with Gaussian noise of 0.1 across them, and to a checkerboard whose edges are blurred by 0.03.",
        {"w2": "W2 of 2000 samples to 2000 true ones, exact, mean of three draws",
         "log_likelihood": "Mean log density of the samples under the true density; the last column is the target's own"})}


def arguments():
    p = report.parser(__doc__)
    p.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    p.add_argument("--dims", type=int, nargs="+", help="of correlated Gaussians and mixtures")
    p.add_argument("--conditions", type=float, nargs="+", help="numbers of B, and of A where it is not I")
    p.add_argument("--epsilons", type=float, nargs="+", help="of correlated Gaussians")
    p.add_argument("--columns", nargs="+", choices=list(column_problems.TABLES))
    p.add_argument("--curves", nargs="+", choices=SHAPES)
    p.add_argument("--sigmas", type=float, nargs="+", help="of curves")
    p.add_argument("--methods", nargs="+", default=list(shape.METHODS), choices=list(shape.METHODS))
    p.add_argument("--seeds", type=int, nargs="+", default=[0])
    p.add_argument("--steps", type=int, help="of the library; default 3000")
    p.add_argument("--budget", type=float, help="seconds of the others; default those that the library took")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--clock", default="wall", choices=["wall", "cpu"], help="of budgets; cpu where the machine is busy")
    p.add_argument("--omp-wait", default="passive", choices=["passive", "active"], help="how idle OpenMP threads wait")
    p.add_argument("--cache", type=pathlib.Path, default=report.ROOT / ".cache", help="folder of results")
    p.add_argument("--tables-only", action="store_true", help="write what the cache has, train nothing")
    a = p.parse_args()
    a.busy = None if a.tables_only else report.busy_cores()
    a.dims = a.dims or report.by_scale(a, (2, 16, 64), (16,), (2,))
    a.conditions = a.conditions or report.by_scale(a, CONDITIONS, (1e4,), (100.0,))
    a.epsilons = a.epsilons or report.by_scale(a, EPSILONS, (1.0,), (1.0,))
    a.columns = a.columns or report.by_scale(a, list(column_problems.TABLES), ["modes, 1 : 1e2", "lognormal pair"],
                                             ["five columns, 1 : 1e4"])
    a.curves = a.curves or report.by_scale(a, SHAPES, ["spiral", "checkerboard"], ["ring", "checkerboard"])
    a.sigmas = a.sigmas or report.by_scale(a, SIGMAS, (0.3,), (0.3,))
    a.steps = a.steps or report.by_scale(a, 3000, 300, 3)
    return a


def cells(a):
    """(family, its settings, name) of each, rows of the tables; away from epsilon = 1, and with A not I, extreme conditions."""
    found = []
    if "correlated" in a.families:
        extreme = (min(a.conditions), max(a.conditions))
        for dim in a.dims:
            for epsilon in a.epsilons:
                conditions = a.conditions if epsilon == 1 else extreme
                found += [("correlated", dict(dim=dim, epsilon=epsilon, condition=c),
                           f"d = {dim}, epsilon = {epsilon:g}, condition {c:g}") for c in dict.fromkeys(conditions)]
            found += [("correlated", dict(dim=dim, epsilon=1.0, condition=c, source_axes=True),
                       f"d = {dim}, epsilon = 1, condition {c:g}, A too") for c in dict.fromkeys(extreme) if 1 in a.epsilons]
    if "mixture" in a.families:
        found += [("mixture", dict(dim=dim, epsilon=1.0, rotated=rotated), f"d = {dim}, {text}")
                  for dim in a.dims for rotated, text in ((True, "shared axes"), ("own", "own axes"))]
    if "columns" in a.families:
        found += [("columns", dict(table=table), table) for table in a.columns]
    if "curves" in a.families:
        found += [("curves", dict(shape=name, sigma=sigma), f"{name}, sigma = {sigma:g}")
                  for name in a.curves for sigma in a.sigmas]
    return found


def methods(a, family, first):
    """Of a cell. Sinkhorn is measured where the plan is; a smoke run trains the other solvers in the first cell alone."""
    return [m for m in a.methods if (m != "sinkhorn" or family in ("correlated", "mixture"))
            and (a.scale != "smoke" or first or m in ("default", "exact"))]


def seconds_of(a, result):
    return result["cpu_seconds" if a.clock == "cpu" else "seconds"]


def budget_of(a, library):
    """Seconds of the other solvers in a cell where the library's result is this."""
    seconds = seconds_of(a, library) if library else 30.0
    return a.budget or report.by_scale(a, BUDGET_STEP * -(-seconds // BUDGET_STEP), 4.0, 0.3)


def key(a, method, family, problem, seed, budget):
    """All that a result depends on; a method's settings are in its code."""
    code = cached.code_of([f"peers/plan_{method}.py", *SHARED_CODE, *MORE_CODE[family], *MORE_CODE.get(method, [])])
    settings = {"method": method, "family": family, "problem": problem, "seed": seed, "budget": budget, "threads": a.threads,
                "omp_wait": a.omp_wait, "clock": a.clock, "scale": benchmark.SCALES[a.scale], "processor": report.processor(),
                "code": code}
    if method == "exact":
        settings.update(seed=0, threads=0, omp_wait="", clock="")
    if method == "default":
        settings.update(steps=a.steps, clock="", library=cached.library_digest())
    return settings


def cell_result(a, method, family, problem, seed, library):
    budget = {"default": 0.0, "exact": 0.0}.get(method, budget_of(a, library))
    command = [report.ROOT / "peers" / "shape.py", "--family", family, "--problem", json.dumps(problem), "--method", method,
               "--steps", a.steps, "--budget", budget, "--seed", seed, "--threads", a.threads, "--omp-wait", a.omp_wait,
               "--clock", a.clock, "--scale", a.scale]
    name = "-".join([family, *(str(v).replace(" ", "").replace(":", "to") for v in problem.values()), method, f"s{seed}"])
    return cached.result(a, name, key(a, method, family, problem, seed, budget), command, budget)


def number(value):
    return "-" if value is None else f"{value:.0f}" if abs(value) >= 100 else f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"


def rows_of(results, cell):
    """row -> its measures of each seed"""
    rows = {}
    for result in results.get(cell, []):
        for row, measures in result["rows"].items():
            rows.setdefault(row, []).append(measures)
    return rows


def median(measured, name):
    values = [m[name] for m in measured]
    return statistics.median(values) if values and None not in values else None


def measure_part(measure, what, family, listed, results):
    shown = [row for row in COLUMNS if any(row in rows_of(results, name) for *_, name in listed)]
    lines = [[name, *(number(median(rows_of(results, name).get(row, []), measure)) for row in shown)]
             for *_, name in listed if name in results]
    return f"{what}:\n\n{report.table([family, *(COLUMNS[row] for row in shown)], lines)}"


def columns_part(listed, results):
    """Every column's spread, of the first seed."""
    def told(name, row):
        measured = rows_of(results, name).get(row)
        return ", ".join(map(number, measured[0]["columns"]["std_ratio"])) if measured else "-"
    shown = ["library", "[SF]2M, 100 steps", "LightSB, full covariances", "exact plan (floor)"]
    lines = [[name, *(told(name, row) for row in shown)] for *_, name in listed if name in results]
    table = report.table(["columns", *(COLUMNS[row] for row in shown)], lines)
    return f"Standard deviation of every column, generated / true:\n\n{table}"


def time_part(a, listed, results):
    def told(name, method):
        for r in results[name]:
            if r["key"]["method"] == method:
                return f"{r['steps']} in {seconds_of(a, r):.1f} s" + (f" ({r['note']})" if r["note"] else "")
        return "-"
    names = [name for *_, name in listed if name in results]
    shown = [m for m in shape.METHODS if m != "exact" and any(told(name, m) != "-" for name in names)]
    lines = [[name, *(told(name, m) for m in shown)] for name in names]
    clock = " of the processor" if a.clock == "cpu" else ""
    return f"Steps and seconds{clock} of training:\n\n{report.table(['', *shown], lines)}"


def write(a, listed, results):
    dates = sorted({r["date"] for each in results.values() for r in each})
    span = " to ".join(dict.fromkeys([dates[0], dates[-1]])) if dates else "none yet"
    parts = [report.provenance(a, ["numpy", "jax", "POT"], seeds=a.seeds, threads=a.threads, busy=a.busy),
             f"The library has its default settings and {a.steps} steps with decay_steps as many; the others had "
             f"{f'{a.budget:g} seconds' if a.budget else 'as many seconds as it took'}. Measured {span}. Lower is better, but for "
             "ratios, which should be 1, and likelihoods."]
    for family in a.families:
        title, text, measures = FAMILIES[family]
        own = [cell for cell in listed if cell[0] == family]
        if not any(name in results for *_, name in own):
            continue
        parts += [f"### {title}\n\n{text}"] + [measure_part(m, what, family, own, results) for m, what in measures.items()]
        parts += [columns_part(own, results)] if family == "columns" else []
        parts.append(time_part(a, own, results))
    report.write(a, "Shapes: data as users have them", parts)


def main():
    a = arguments()
    listed, results, missing = cells(a), {}, 0
    for place, (family, problem, name) in enumerate(listed):
        for seed in a.seeds:
            library = None
            for method in methods(a, family, place == 0):
                if method == "exact" and seed != a.seeds[0]:
                    continue
                result = cell_result(a, method, family, problem, seed, library)
                if result:
                    results.setdefault(name, []).append(result)
                    library = result if method == "default" else library
                missing += not result
        if a.output and not a.tables_only:
            write(a, listed, results)
    write(a, listed, results)
    if missing and not a.tables_only:
        raise SystemExit(f"{missing} results are missing")


if __name__ == "__main__":
    main()
