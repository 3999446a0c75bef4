"""Entropic transport with a known plan: this library beside other solvers, each given the same seconds on the same cores.

    python bench/plans.py --output plans.md --plots plots             # about 3 hours: 68 minutes of training, the rest measuring
    python bench/plans.py --dims 2 16 --epsilons 1 --methods library sf2m
    python bench/plans.py --tables-only --output plans.md --plots plots     # from the cache, without training
    python bench/plans.py --quick                                     # 90 seconds

The pairs are those of problems.Mixture (construction of Gushchin et al., NeurIPS 2023, diagonal covariances); all methods see the
same pools of 200,000 samples a side. Each trains in a process of its own (peers/benchmark.py), one at a time. Results are kept in
--cache, one JSON file for each method, cell, seed, budget and the settings that matter, so that an interrupted run goes on. The
output is written anew after each.
"""
import importlib
import pathlib
import statistics
import subprocess
import sys

import cached
import report

sys.path.insert(0, str(report.ROOT / "peers"))
import benchmark    # noqa: E402

SHARED_CODE = ("problems.py", "peers/benchmark.py", "peers/entropic.py", "peers/plan_networks.py")
DIMS, EPSILONS = (2, 16, 64, 128), (0.1, 1.0, 10.0)
BUDGETS = {2: 30.0, 16: 60.0, 64: 90.0, 128: 90.0}
LIBRARY, LIGHTSB, FLOOR = "library", "LightSB (family contains the answer)", "exact plan (floor)"
NEURAL = ("DSBM-IMF, 100 steps", "DSBM-IMF, 1 step", "[SF]2M, 100 steps")
ROWS = {"library": [LIBRARY], "dsbm": list(NEURAL[:2]), "sf2m": [NEURAL[2]], "sinkhorn": ["Sinkhorn, out of sample"],
        "lightsb": [LIGHTSB], "exact": [FLOOR]}
MEASURES = {
    "cbw_uvp_percent": (
        "cBW2^2-UVP, percent",
        "The benchmark's measure: mean over {plain[n_x]} x of the squared Bures-Wasserstein distance between the plan given x "
        "and {plain[n_y]} samples, in percent of half the target's variance. The number of samples alone gives the last row."),
    "sharp_cbw_uvp_percent": (
        "cBW2^2-UVP without the samples' bias, percent",
        "The same distance from {sharp[n_x]} x and {sharp[n_y]} samples, with the bias extrapolated away: twice the distance of "
        "all samples less the mean of either half's. What noise is left has either sign."),
    "bw_uvp_percent": (
        "BW2^2-UVP of the end marginal, percent",
        "The same distance between the moments of {marginal[rows]} samples, one per x, and the exact moments of the plan's end "
        "from these x.")}
PUBLISHED = [   # epsilon 0.1, 1, 10; d = 2, 16, 64, 128 in each
    ("best solver of the benchmark's paper (Gushchin et al., NeurIPS 2023)",
     "1.94 13.67 11.74 11.4  1.04 9.08 18.05 15.23  1.40 1.27 2.36 1.31"),
    ("DSBM (Shi et al., NeurIPS 2023)", "5.2 16.8 37.3 35  .3 1.1 9.7 31  3.7 105 - -"),
    ("[SF]2M, Sinkhorn (Tong et al., AISTATS 2024)", ".54 3.7 9.5 10.9  .2 1.1 9 23  .31 4.9 319 819"),
    ("ASBM (Gushchin et al., NeurIPS 2024)", "- - - -  .19 1.6 5.8 10.5  - - - -"),
    ("LightSB (Korotin et al., ICLR 2024)", ".03 .08 .28 .60  .05 .09 .24 .62  .07 .11 .21 .37")]


def arguments():
    p = report.parser(__doc__)
    p.add_argument("--dims", type=int, nargs="+")
    p.add_argument("--epsilons", type=float, nargs="+")
    p.add_argument("--methods", nargs="+", default=list(ROWS), choices=list(ROWS))
    p.add_argument("--seeds", type=int, nargs="+", default=[0])
    p.add_argument("--budget", type=float, help="seconds of training in every cell; default 30 at d = 2, 60 at 16, 90 above")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--omp-wait", default="passive", choices=["passive", "active"], help="how idle OpenMP threads wait")
    p.add_argument("--cache", type=pathlib.Path, default=report.ROOT / ".cache", help="folder of results")
    p.add_argument("--tables-only", action="store_true", help="write what the cache has, train nothing")
    a = p.parse_args()
    a.busy = None if a.tables_only else report.busy_cores()
    a.dims = a.dims or report.by_scale(a, DIMS, (2, 16), (2,))
    a.epsilons = a.epsilons or report.by_scale(a, EPSILONS, (1.0,), (1.0,))
    return a


def budget_of(a, dim):
    return a.budget or report.by_scale(a, BUDGETS.get(dim, 90.0), 4.0, 0.3)


def key(a, method, dim, epsilon, seed):
    """All that a result depends on: settings, processor, and the code that trains and measures."""
    module = importlib.import_module(f"plan_{method}")
    settings = {"method": method, "dim": dim, "epsilon": epsilon, "seed": seed, "budget": budget_of(a, dim), "threads": a.threads,
                "omp_wait": a.omp_wait, "scale": benchmark.SCALES[a.scale], "settings": module.settings(dim, epsilon),
                "processor": report.processor(), "code": cached.code_of((f"peers/plan_{method}.py", *SHARED_CODE))}
    if method == "exact":
        settings.update(seed=0, budget=0, threads=0, omp_wait="")
    if method == "library":
        settings["library"] = cached.library_digest()
    return settings


def cell_result(a, method, dim, epsilon, seed):
    settings = key(a, method, dim, epsilon, seed)
    budget = settings["budget"] or 1.0
    command = [report.ROOT / "peers" / "benchmark.py", "--method", method, "--dim", dim, "--epsilon", epsilon, "--budget", budget,
               "--seed", seed, "--threads", a.threads, "--omp-wait", a.omp_wait, "--scale", a.scale]
    return cached.result(a, f"{method}-d{dim}-e{epsilon:g}-s{seed}", settings, command, budget)


def by_row(results, cells, measure):
    """row -> one median over seeds for each cell; None where nothing finite is there."""
    values = {}
    for method, rows in ROWS.items():
        for row in rows:
            each = [[r["rows"][row][measure] for r in results.get((method, *cell), [])] for cell in cells]
            if any(each):
                values[row] = [statistics.median(v) if v and None not in v else None for v in each]
    return values


def best(values, cell):
    known = [values[row][cell] for row in NEURAL if row in values and values[row][cell] is not None]
    return min(known, default=None)


def number(value):
    return "-" if value is None else f"{value:.0f}" if abs(value) >= 100 else f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"


def ratio(above, below):
    return "-" if above is None or below is None or below <= 0 else f"{above / below:.2f}"


def verdict(values, cells, others, what):
    """Whether the library is below the others in every cell that has both."""
    pairs = [triple for triple in zip(values.get(LIBRARY, []), others, cells) if None not in triple]
    lost = [f"d = {d}, epsilon = {e:g}" for ours, other, (d, e) in pairs if ours >= other]
    return f"Library below {what} in every cell: {'**no**, not at ' + '; '.join(lost) if lost else 'yes'}." if pairs else ""


def measure_part(a, results, cells, measure):
    title, text = MEASURES[measure]
    text = text.format(**benchmark.SCALES[a.scale])
    values = by_row(results, cells, measure)
    columns = range(len(cells))
    rows = [[row, *map(number, v)] for row, v in values.items()]
    peer, light = [best(values, c) for c in columns], values.get(LIGHTSB, [None] * len(cells))
    if LIBRARY in values:
        rows.append(["library / best neural peer", *(ratio(values[LIBRARY][c], peer[c]) for c in columns)])
        rows.append(["library / LightSB", *(ratio(values[LIBRARY][c], light[c]) for c in columns)])
    verdicts = [verdict(values, cells, peer, "the best neural peer"), verdict(values, cells, light, "LightSB")]
    return f"### {title}\n\n{text}\n\n{report.table(head(cells), rows)}\n\n" + " ".join(filter(None, verdicts))


def head(cells):
    return ["epsilon / d", *(f"{e:g} / {d}" for d, e in cells)]


def published_part(cells):
    places = {(d, e): i for i, (e, d) in enumerate((e, d) for e in EPSILONS for d in DIMS)}
    rows = [[name, *(figures.split()[places[c]] if c in places else "-" for c in cells)] for name, figures in PUBLISHED]
    return ("Published cBW2^2-UVP on the benchmark's own pairs (same construction, other parameters: context, no comparison).\n\n"
            + report.table(head(cells), rows))


def steps_part(results, cells):
    def told(r):
        return f"{r['steps']}" + (f" in {r['seconds']:.1f} s" if r["done"] else "") + (f" ({r['note']})" if r["note"] else "")
    rows = [[method, *(", ".join(told(r) for r in results.get((method, *c), [])) or "-" for c in cells)]
            for method in ROWS if method != "exact" and any(m == method for m, *_ in results)]
    return ("### Steps done\n\nTraining steps within the budget, with their time where a recipe was through before it; "
            "for Sinkhorn iterations over all sizes.\n\n" + report.table(head(cells), rows))


def curves(a, results):
    fig, axes = report.figure(len(a.dims), len(a.epsilons), width=3.6, height=2.8)
    colours = {row: f"C{i}" for i, row in enumerate(row for method, rows in ROWS.items() if method != "exact" for row in rows)}
    for i, epsilon in enumerate(a.epsilons):
        for j, dim in enumerate(a.dims):
            axis = axes[i][j]
            for method, rows in ROWS.items():
                for r in results.get((method, dim, epsilon), [])[:1]:
                    for row in rows:
                        if method != "exact":
                            points = [(t, max(e, 1e-3)) for t, e in r["rows"][row]["curve"] if e is not None]
                            axis.plot(*zip(*points) if points else ([], []), marker=".", color=colours[row], label=row)
            axis.set(xscale="log", yscale="log", title=f"d = {dim}, epsilon = {epsilon:g}")
            axis.xaxis.set_minor_formatter("")
            if i == len(a.epsilons) - 1:
                axis.set_xlabel("training seconds")
            if j == 0:
                axis.set_ylabel("cBW-UVP, percent")
    handles, labels = axes[0][0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=min(3, len(a.dims)))
    return report.save(a, fig, "plans_curves")


def write(a, results):
    cells = [(d, e) for e in a.epsilons for d in a.dims]
    every = [r for each in results.values() for r in each]
    dates = sorted({r["date"] for r in every})
    span = " to ".join(dict.fromkeys([dates[0], dates[-1]])) if dates else "none yet"
    budgets = ", ".join(f"{budget_of(a, d):g} s at d = {d}" for d in a.dims)
    parts = [report.provenance(a, ["numpy", "jax"], seeds=a.seeds, threads=a.threads, busy=a.busy),
             f"Training: {budgets}, the same for every method, pauses for measuring not counted; idle threads wait "
             f"{'passively' if a.omp_wait == 'passive' else 'actively'}. Measured {span}. Lower is better."]
    parts += [measure_part(a, results, cells, measure) for measure in MEASURES]
    picture = curves(a, results)
    parts += [published_part(cells), steps_part(results, cells)]
    if picture:
        parts.append("### Error against training time\n\nThe unbiased measure, from 20 x and 1000 samples before the last point; "
                     f"values below 0.001 are drawn there.\n\n{picture}")
    report.write(a, "Plans: entropic transport with a known answer", parts)


def main():
    a = arguments()
    if a.scale == "smoke":
        subprocess.run([sys.executable, report.ROOT / "peers" / "entropic.py"], check=True, stdout=sys.stderr)
    results, missing = {}, 0
    for dim in a.dims:
        for epsilon in a.epsilons:
            for method in a.methods:
                for seed in a.seeds if method != "exact" else a.seeds[:1]:
                    result = cell_result(a, method, dim, epsilon, seed)
                    if result:
                        results.setdefault((method, dim, epsilon), []).append(result)
                    missing += not result
                if a.output and not a.tables_only:
                    write(a, results)
    write(a, results)
    if missing and not a.tables_only:
        raise SystemExit(f"{missing} results are missing")


if __name__ == "__main__":
    main()
