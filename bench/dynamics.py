"""The one-step claim: the learnt process run in 100 steps ends where one pass of the generator does. Through the C API.

    cargo build --release
    python bench/dynamics.py --output dynamics.md --plots plots          # about 4 minutes on two cores
    python bench/dynamics.py --quick

Mixture problems (see problems.py), whose plan is known. The process dx = -grad V(t, x) dt + sigma dW is run by Euler and Maruyama
with equal steps from `session.drift`; `one step` is `session.generate`, `exact` draws from the known plan. Measures:

* BW-UVP: squared Bures-Wasserstein distance of the end marginals' Gaussians, with the cost's factor 1/2, in percent of half the
  target's variance;
* sliced energy distance: that of two end marginals, mean over 100 directions, divided by the target's standard deviation;
* cBW-UVP: as BW-UVP, for the laws given x0, mean over source points. `exact against exact` is what the number of samples leaves.
"""
import sys
import time

import numpy as np

import report
import runs
from problems import Mixture, bures, moments, pools

COMPARED = {("one step", "process"): "one step against process", ("one step", "exact"): "one step against exact",
            ("process", "exact"): "process against exact", ("again", "exact"): "exact against exact"}


def simulate(session, x, sigma, steps, seed, rows=10_000):
    """Ends of the process, float64."""
    rng, ends, dt = np.random.default_rng(seed), [], 1 / steps
    for first in range(0, len(x), rows):
        state = x[first:first + rows].astype(np.float32)
        for k in range(steps):
            noise = rng.standard_normal(state.shape, np.float32)
            state = state + dt * session.drift(k * dt, state) + np.float32(sigma * dt**0.5) * noise
        ends.append(state.astype(np.float64))
    return np.concatenate(ends)


def draw_plan(problem, x, seed):
    return problem.sample_plan(x, np.random.default_rng(seed))


def uvp(a, b, half_variance):
    return 100 * 0.5 * bures(*moments(a), *moments(b)).mean() / half_variance


def sliced_energy(a, b, directions=100):
    """E|u - v| - (E|u - u'| + E|v - v'|) / 2 of projections: the integral of the squared difference of distribution functions."""
    turn = np.random.default_rng(0).normal(size=(a.shape[1], directions))
    turn /= np.linalg.norm(turn, axis=0)
    total = 0.0
    for pa, pb in zip((a @ turn).T, (b @ turn).T):
        order = np.argsort(both := np.concatenate([pa, pb]))
        jump = np.where(order < len(pa), 1 / len(pa), -1 / len(pb))
        total += (np.cumsum(jump)[:-1] ** 2 * np.diff(both[order])).sum()
    return total / directions


def work(job):
    problem, steps = Mixture(job["dim"], job["epsilon"]), job["euler"]
    sigma, (points, draws, rows) = problem.epsilon**0.5, job["size"]
    x = problem.source(np.random.default_rng(99), points)
    repeated, x0 = np.repeat(x, draws, 0), problem.source(np.random.default_rng(1), rows)
    with runs.trained(*pools(problem, 200_000), job["steps"], seed=job["seed"], sigma=sigma, divergence="balanced",
                      hidden_width=job["width"]) as session:
        generate, seconds = runs.generator(session), {}
        start = time.perf_counter()
        ends = {"one step": generate(x0, 2)}
        seconds["one step"] = time.perf_counter() - start
        given = {"one step": generate(repeated, 3)}
        start = time.perf_counter()
        ends["process"] = simulate(session, x0, sigma, steps, 6)
        seconds["process"] = time.perf_counter() - start
        given["process"] = simulate(session, repeated, sigma, steps, 7)
    ends |= {"exact": draw_plan(problem, x0, 8)}
    given |= {"exact": draw_plan(problem, repeated, 9), "again": draw_plan(problem, repeated, 10)}
    ends["again"] = draw_plan(problem, problem.source(np.random.default_rng(2), rows), 11)
    given = {k: v.reshape(points, draws, -1) for k, v in given.items()}
    variance = problem.target(np.random.default_rng(5), 50_000).var(0).sum()
    return {"marginal": [uvp(ends[p][None], ends[q][None], 0.5 * variance) for p, q in COMPARED],
            "energy": [sliced_energy(ends[p], ends[q]) / np.sqrt(variance / problem.d) for p, q in COMPARED],
            "conditional": [uvp(given[p], given[q], 0.5 * variance) for p, q in COMPARED],
            "cost": seconds["process"] / seconds["one step"]}


def render(a, done):
    head = ["d", "epsilon", "seed", *COMPARED.values()]
    rows = lambda name, digits: [[j["dim"], j["epsilon"], j["seed"], *(f"{v:.{digits}f}" for v in r[name])] for j, r in done]
    euler, steps = (done[0][0]["euler"], " and ".join(map(str, sorted({j["steps"] for j, _ in done})))) if done else (0, 0)
    parts = [report.provenance(a, ["numpy"], seeds=a.seeds, threads=1),
             f"Mixtures, balanced; {steps} training steps, width 128 (d = 2) or 256; the process takes {euler} evaluations of "
             "the drift, each a pass through V and back, where the generator takes one pass.",
             "### cBW-UVP of the laws given x0, percent", report.table(head, rows("conditional", 3)),
             "### BW-UVP of the end marginals, percent", report.table(head, rows("marginal", 4)),
             "### Sliced energy distance of the end marginals, in standard deviations of the target",
             report.table(head, rows("energy", 6)), "### Cost",
             report.table(["d", "epsilon", "drift evaluations", "generator passes", "time of the process / one step"],
                          [[j["dim"], j["epsilon"], euler, 1, f"{r['cost']:.0f}"] for j, r in done])]
    if a.plots and done:
        fig, axes = report.figure(2)
        for col, dim in enumerate((2, 16)):
            here = [(f"{j['epsilon']:g}", r["conditional"]) for j, r in done if j["dim"] == dim]
            for k, name in enumerate(COMPARED.values()):
                axes[0, col].bar(np.arange(len(here)) + 0.2 * k - 0.3, [c[k] for _, c in here], 0.2, label=name)
            axes[0, col].set(xticks=range(len(here)), xticklabels=[e for e, _ in here], xlabel="epsilon", ylabel="cBW-UVP, %",
                             yscale="log", title=f"d = {dim}")
            axes[0, col].legend()
        parts.append(report.save(a, fig, "dynamics"))
    report.write(a, "One step against the simulated process", parts)


def main():
    p = report.parser(__doc__)
    p.add_argument("--seeds", type=int, nargs="+", default=[0])
    runs.option(p)
    a = p.parse_args()
    jobs = [{"dim": d, "epsilon": e, "seed": s, "width": 128 if d <= 2 else 256,
             "steps": report.by_scale(a, 4000, 1500 if d == 2 else 600, 5), "euler": report.by_scale(a, 100, 50, 5),
             "size": report.by_scale(a, (100, 300, 20_000), (30, 200, 5000), (4, 20, 200))}
            for d in (16, 2) for e in report.by_scale(a, (0.1, 1.0, 10.0), (1.0,), (1.0,)) for s in a.seeds]
    done = []

    def finished(job, result):
        if result is not None:
            done.append((job, result))
            done.sort(key=lambda pair: (pair[0]["dim"], pair[0]["epsilon"], pair[0]["seed"]))
        if a.output:
            render(a, done)

    runs.side_by_side(work, jobs, a.workers, finished)
    render(a, done)
    if len(done) < len(jobs):
        sys.exit(f"{len(jobs) - len(done)} of {len(jobs)} runs failed")


if __name__ == "__main__":
    main()
