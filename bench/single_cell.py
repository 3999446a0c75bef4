"""Real data: cell populations between the days they were measured. Through the C API.

    cargo build --release
    python bench/single_cell.py --data FOLDER --output single_cell.md --plots plots          # about 8 minutes on two cores
    python bench/single_cell.py --data FOLDER --quick

Data: CITE-seq of blood stem cells on days 2, 3, 4 and 7, from "Open Problems - Multimodal Single-Cell Integration", as principal
components, the way they are distributed with LightSB (Korotin, Gushchin, Burnaev, ICLR 2024, MIT licence). FOLDER holds
cite_pca_{50,100}_day_{2,3,4,7}.npy, each cells x components. Without them the program says so and ends, after a run on made-up
cells with --smoke.

Protocol, that of the published numbers: learn from the day before to the day after a held-out one (2 to 4 for 3, 3 to 7 for 4),
all days divided by one constant (the mean over components of the standard deviation of their concatenation), epsilon = 0.1;
predict by the process at the held-out time from every cell of the first day; undo the division. Baselines on the same cells:

* union: the cells of both ends as they are. It has no coupling: `random pairs` shows what pairing ends at random gives;
* exact OT: the optimal plan of 2000 cells a side, a point of the chord, with and without the bridge's noise;
* Sinkhorn: the entropic plan of the same cells at the same epsilon, a random partner and the bridge.

Measures; smaller is better unless said otherwise:

* energy distance E|X-Y| - E|X-X'|/2 - E|Y-Y'|/2 of prediction and held-out day, original units. The union beats every published
  solver on it, so it proves nothing by itself;
* coverage: mean log distance of a held-out cell to its 10th nearest of 2000 predictions, minus the same with 2000 other held-out
  cells in place of the predictions (up to a constant, dimension x this is the kNN log likelihood lost for each cell);
* fidelity: the same from predictions to held-out cells: are predictions where cells are?
* time axis: W1 of prediction and held-out day along Fisher's discriminant of the two ends, in standard deviations within a day.
  Cells between the days in time should lie between, not in two groups at the ends;
* end: energy distance of the paths' ends and the last day's cells. Balanced it should be 0; unbalanced, mass is left behind;
* cost: mean of |x1 - x0|^2 over pairs of ends, divided by that of random pairs: 1 has no coupling. Exact OT has the least among
  plans that meet both days' 2000 cells; with more cells, or an end that is missed, there is less;
* start to middle: correlation of each cell's start with its predicted middle, mean over the leading 10 components. Exact OT's is
  the reference, neither to be exceeded nor missed.
"""
import pathlib
import statistics
import sys

import numpy as np

import report
import runs

TASKS = ((2, 3, 4), (3, 4, 7))
PUBLISHED = {50: {"LightSB": 2.31, "LightSB-M": 2.35, "Sinkhorn": 2.34, "ENOT": 2.44, "DSBM": 2.46},
             100: {"LightSB": 2.16, "LightSB-M": 2.17, "Sinkhorn": 2.24, "ENOT": 2.24, "DSBM": 2.35}}
MEASURES = ("energy distance", "coverage", "fidelity", "time axis", "end", "cost", "start to middle")
EPSILON, NEIGHBOURS = 0.1, 10


def load(folder, components):
    return {day: np.load(folder / f"cite_pca_{components}_day_{day}.npy").astype(np.float64) for day in (2, 3, 4, 7)}


def made_up(components, cells=2100):
    """Cells that move and split; a stand-in for trials."""
    rng, scale = np.random.default_rng(0), np.linspace(3, 0.5, components)
    side = lambda: np.sign(rng.normal(size=(cells, 1)))
    return {day: (rng.normal(size=(cells, components)) + day * side()) * scale for day in (2, 3, 4, 7)}


def days_of(job):
    return load(pathlib.Path(job["data"]), job["components"]) if job["data"] else made_up(job["components"])


def distances(a, b):
    """|a_i - b_j|, float32."""
    a, b = a.astype(np.float32), b.astype(np.float32)
    square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.sqrt(np.maximum(square, 0, out=square), out=square)


def mean_distance(a, b, rows=1000):
    return sum(distances(a[i:i + rows], b).sum(dtype=np.float64) for i in range(0, len(a), rows)) / len(a) / len(b)


def energy_distance(x, y):
    within = lambda a: mean_distance(a, a) * len(a) / (len(a) - 1)
    return mean_distance(x, y) - 0.5 * within(x) - 0.5 * within(y)


def log_neighbour(a, b):
    """Mean log distance of a's rows to their k-th nearest of b."""
    return np.log(np.partition(distances(a, b), NEIGHBOURS - 1, axis=1)[:, NEIGHBOURS - 1]).mean()


class Held:
    """A task's measures: start, held-out and end cells, in original units."""

    def __init__(self, start, held, end, cells, seed=0):
        rng = np.random.default_rng(seed)
        self.start, self.held, self.end = start, held, end
        order = rng.permutation(len(held))
        half = min(cells, len(held) // 2)
        self.one, self.other = held[order[:half]], held[order[half:2 * half]]
        self.own = log_neighbour(self.one, self.other)
        within = np.cov(start.T) + np.cov(end.T)
        axis = np.linalg.solve(within, end.mean(0) - start.mean(0))
        self.axis = axis / np.sqrt(axis @ within @ axis / 2)
        pick = lambda cells: cells[rng.integers(len(cells), size=20_000)]
        self.random_cost = ((pick(end) - pick(start)) ** 2).sum(1).mean()
        self.rng = rng

    def measure(self, middle, first=None, last=None):
        """`middle` are predictions; `first` and `last` the ends of their paths, if they have any."""
        some = middle[self.rng.permutation(len(middle))[:len(self.one)]]
        grid = (np.arange(5000) + 0.5) / 5000
        along = np.abs(np.quantile(middle @ self.axis, grid) - np.quantile(self.held @ self.axis, grid)).mean()
        found = [energy_distance(middle, self.held), log_neighbour(self.one, some) - self.own,
                 log_neighbour(some, self.other[:len(some)]) - self.own, along]
        if first is None:
            return [*found, np.nan, np.nan, np.nan]
        correlation = [np.corrcoef(first[:, i], middle[:, i])[0, 1] for i in range(min(10, middle.shape[1]))]
        cost = ((last - first) ** 2).sum(1).mean() / self.random_cost
        return [*found, energy_distance(last, self.end), cost, np.mean(correlation)]


def task(job):
    days = days_of(job)
    start, held, end = (days[day] for day in job["task"])
    time = (job["task"][1] - job["task"][0]) / (job["task"][2] - job["task"][0])
    scale = np.concatenate([start, held, end]).std(0).mean()
    return start, end, Held(start, held, end, job["cells"]), time, scale


def solver(job):
    start, end, held, time, scale = task(job)
    x, y = ((a / scale).astype(np.float32) for a in (start, end))
    with runs.trained(x, y, job["steps"], seed=job["seed"], sigma=EPSILON**0.5, divergence=job["divergence"], tau=job["tau"],
                      hidden_width=256, decay_steps=job["steps"]) as session:
        path = session.trajectory(x, [time, 1.0], seed=1).astype(np.float64) * scale
        ratio = session.density_ratio(y)
    return held.measure(path[:, 0], start, path[:, 1]), np.quantile(ratio, [0.05, 0.5, 0.95])


def baselines(job):
    import ot
    start, end, held, time, scale = task(job)
    rng = np.random.default_rng(1)
    n = min(job["cells"], len(start), len(end))
    x, y = (a[rng.choice(len(a), n, replace=False)] for a in (start, end))
    cost, uniform = 0.5 * (distances(x, y).astype(np.float64) / scale) ** 2, np.full(n, 1 / n)
    noise = rng.normal(size=x.shape) * scale * np.sqrt(EPSILON * time * (1 - time))
    partner = y[ot.emd(uniform, uniform, cost, numItermax=10_000_000).argmax(1)]
    chord = (1 - time) * x + time * partner
    plan = np.exp(entropic_log_plan(cost, EPSILON))
    drawn = np.minimum((plan.cumsum(1) / plan.sum(1, keepdims=True) < rng.uniform(size=(n, 1))).sum(1), n - 1)
    union = np.concatenate([start, end])
    return {"union of both ends": held.measure(union), "start cells": held.measure(start), "end cells": held.measure(end),
            "exact OT, chord": held.measure(chord, x, partner), "exact OT, bridge": held.measure(chord + noise, x, partner),
            "random pairs, bridge": held.measure((1 - time) * x + time * y + noise, x, y),
            "Sinkhorn, bridge": held.measure((1 - time) * x + time * y[drawn] + noise, x, y[drawn]),
            "other held-out cells": held.measure(held.other)}


def entropic_log_plan(cost, epsilon, sweeps=300):
    """log of the balanced entropic plan: Sinkhorn from a large epsilon down to the one asked for."""
    from scipy.special import logsumexp
    f, n = np.zeros(len(cost)), len(cost)
    for eps in [*np.geomspace(max(cost.max() / 10, epsilon), epsilon, 20), *[epsilon] * (sweeps // 10)]:
        for _ in range(3):
            g = -eps * logsumexp((f[:, None] - cost) / eps - np.log(n), axis=0)
            f = -eps * logsumexp((g - cost) / eps - np.log(n), axis=1)
    return (f[:, None] + g - cost) / epsilon


def work(job):
    return baselines(job) if job["part"] == "baselines" else solver(job)


def render(a, done, made):
    parts = [report.provenance(a, ["numpy", "scipy", "POT"], seeds=a.seeds, threads=1),
             "**The data is not there: these are made-up cells.**" if made else
             "CITE-seq of blood stem cells, days 2, 3, 4, 7; the data and the measures are explained at the top of the program."]
    for d in a.components:
        per = {}
        for job, r in done:
            if job["components"] != d:
                continue
            named = r if job["part"] == "baselines" else {name_of(job): r[0]}
            for name, measures in named.items():
                per.setdefault(name, {}).setdefault(job["task"], []).append(measures)
        rows = []
        for name, tasks in sorted(per.items(), key=lambda item: item[0].startswith("library")):
            cells = [[statistics.median(v) for v in zip(*tasks[t])] if t in tasks else [np.nan] * len(MEASURES) for t in TASKS]
            both = lambda i: " / ".join("-" if np.isnan(c[i]) else f"{c[i]:.3f}" for c in cells)
            mean = np.mean([c[0] for c in cells])
            rows.append([name, "-" if np.isnan(mean) else f"{mean:.2f}", *(both(i) for i in range(len(MEASURES)))])
        published = ", ".join(f"{name} {value}" for name, value in PUBLISHED.get(d, {}).items())
        medians = f", medians of {len(a.seeds)} seeds" if len(a.seeds) > 1 else ""
        parts += [f"### {d} components, each: day 3 / day 4 held out{medians}",
                  report.table(["", "mean energy distance", *MEASURES], rows),
                  f"Published mean energy distances: {published}." if published and not made else ""]
    parts.append(picture(a, done))
    report.write(a, "Single cells between days", [p for p in parts if p])


def name_of(job):
    return "library, balanced" if job["divergence"] == "balanced" else f"library, {job['divergence']}, tau {job['tau']:g}"


def picture(a, done):
    if not a.plots or not done:
        return ""
    fig, axes = report.figure(2)
    for col, (i, j) in enumerate(((1, 2), (3, 5))):
        for job, r in done:
            if job["components"] != a.components[0] or job["task"] != TASKS[0]:
                continue
            for name, m in (r if job["part"] == "baselines" else {name_of(job): r[0]}).items():
                axes[0, col].plot(m[i], m[j], "o" if name.startswith("library") else "x", label=name)
        axes[0, col].set(xlabel=MEASURES[i], ylabel=MEASURES[j], title=f"{a.components[0]} components, day 3 held out")
    axes[0, 1].legend(fontsize=6)
    return report.save(a, fig, "single_cell")


def main():
    p = report.parser(__doc__)
    p.add_argument("--data", type=pathlib.Path, default=report.ROOT / "data" / "single_cell", help="folder of the .npy files")
    p.add_argument("--components", type=int, nargs="+", choices=[50, 100])
    p.add_argument("--steps", type=int)
    p.add_argument("--seeds", type=int, nargs="+", default=[0])
    runs.option(p)
    a = p.parse_args()
    a.components = a.components or report.by_scale(a, [50, 100], [50], [50])
    names = [a.data / f"cite_pca_{d}_day_{day}.npy" for d in a.components for day in (2, 3, 4, 7)]
    made = not all(name.exists() for name in names)
    if made:
        missing = next(name.name for name in names if not name.exists())
        print(f"no data: {a.data} has no {missing}; the top of {sys.argv[0]} says where it comes from", file=sys.stderr)
        if a.scale != "smoke":
            sys.exit(1)
    cells = report.by_scale(a, 2000, 1000, 200)
    common = lambda d, t: {"components": d, "task": t, "cells": cells, "data": None if made else str(a.data)}
    settings = [("balanced", 1.0), *(("kl", tau) for tau in report.by_scale(a, (10.0, 100.0), (10.0,), (10.0,)))]
    steps = a.steps or report.by_scale(a, 2000, 250, 5)
    tasks = report.by_scale(a, TASKS, TASKS, TASKS[:1])
    jobs = [common(d, t) | {"part": "baselines"} for d in a.components for t in tasks]
    jobs += [common(d, t) | {"part": "solver", "divergence": v, "tau": tau, "steps": steps, "seed": s}
             for d in a.components for v, tau in settings for t in tasks for s in a.seeds]
    done = []

    def finished(job, result):
        if result is not None:
            done.append((job, result))
        if a.output:
            render(a, done, made)

    runs.side_by_side(work, jobs, a.workers, finished)
    done.sort(key=lambda pair: jobs.index(pair[0]))
    render(a, done, made)
    if len(done) < len(jobs):
        sys.exit(f"{len(jobs) - len(done)} of {len(jobs)} runs failed")


if __name__ == "__main__":
    main()
