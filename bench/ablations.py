"""What each choice of the training is worth: one changed at a time, on mixtures with a known plan. Through the C API.

    cargo build --release
    python bench/ablations.py --output ablations.md --plots plots          # about 15 minutes on two cores
    python bench/ablations.py --epsilon 10 --dims 2 --steps 4000 --seeds 0

Default settings but for what a row names, and 128 sources x K = 8 components without latents in both dimensions, rates 2e-3 (generator) and 1e-3 (value),
moving average 0.998, no decay. Latents are 8 numbers each, 16 of them for each of 64 sources. d = 2 has width 128 and all seeds,
d = 16 width 256, half the steps, the first seed and fewer rows.
Measure: cBW-UVP in percent (see accuracy.py). Random bridge times against t = 1 in the generator step is no setting of the
library, so the same step in JAX is compared with itself (peers/jax_times.py).
"""
import statistics
import sys

import report
import runs
from problems import Mixture, pools

GENERATOR_RATE = 2e-3
batch = lambda sources, k: {"batch_sources": sources, "components": k}
ratio = lambda r: {"value_learning_rate": GENERATOR_RATE / r}
LATENTS = {"latent_dimension": 8, **batch(64, 16)}

# name -> changed fields
SETTINGS = {
    "default": {},
    "1024 x 1": batch(1024, 1), "256 x 4": batch(256, 4), "64 x 16": batch(64, 16), "16 x 64": batch(16, 64),
    "16 x 1": batch(16, 1), "16 x 4": batch(16, 4), "16 x 8": batch(16, 8), "16 x 16": batch(16, 16),
    "64 x 8": batch(64, 8), "256 x 8": batch(256, 8),
    "latents": LATENTS, "latents, no noise head": {"deterministic": 1, **LATENTS},
    "no squares": {"squares": 0},
    "ratio 1": ratio(1), "ratio 10": ratio(10), "ratio 30": ratio(30),
    "average 0.9": {"ema_decay": 0.9}, "average 0.99": {"ema_decay": 0.99}, "average 0.9995": {"ema_decay": 0.9995},
    "decay": "decay",
    "random times (JAX)": False, "t = 1 (JAX)": True,
}

# title, axis, rows: (label, setting)
GROUPS = [
    ("components at 1024 rows a step", "K",
     [("1", "1024 x 1"), ("4", "256 x 4"), ("8", "default"), ("16", "64 x 16"), ("64", "16 x 64")]),
    ("components at 16 sources a step", "K",
     [("1", "16 x 1"), ("4", "16 x 4"), ("8", "16 x 8"), ("16", "16 x 16"), ("64", "16 x 64")]),
    ("sources a step, K = 8", "sources", [("16", "16 x 8"), ("64", "64 x 8"), ("128", "default"), ("256", "256 x 8")]),
    ("what the generator gives", "law of x1 given x0",
     [("components", "default"), ("latents", "latents"), ("latents alone (`deterministic`)", "latents, no noise head")]),
    ("what the networks see", "inputs", [("samples and their squares", "default"), ("samples", "no squares")]),
    ("rate of the generator / of the value", "ratio",
     [("1", "ratio 1"), ("2", "default"), ("10", "ratio 10"), ("30", "ratio 30")]),
    ("moving average", "decay",
     [("0.9", "average 0.9"), ("0.99", "average 0.99"), ("0.998", "default"), ("0.9995", "average 0.9995")]),
    ("rates over time", "rates", [("constant", "default"), ("cosine to the default floor", "decay")]),
    ("generator's bridge times (the same step in JAX)", "times",
     [("random in [0.2, 1]", "random times (JAX)"), ("1", "t = 1 (JAX)")]),
]
LARGE = ["default", "1024 x 1", "256 x 4", "64 x 16", "16 x 64", "latents", "latents, no noise head", "no squares", "ratio 1", "ratio 10",
         "ratio 30", "decay"]


def work(job):
    problem, change = Mixture(job["dim"], job["epsilon"]), SETTINGS[job["setting"]]
    if job["setting"].endswith("(JAX)"):
        sys.path.insert(0, str(report.ROOT / "peers"))
        import jax_times
        return problem.report(jax_times.train(problem, job["steps"], job["seed"], fixed=change))["cbw_uvp_percent"]
    config = {**batch(128, 8), **({"decay_steps": job["steps"]} if change == "decay" else change)}
    with runs.trained(*pools(problem, 200_000), job["steps"], seed=job["seed"], sigma=problem.epsilon**0.5, divergence="balanced",
                      hidden_width=128 if job["dim"] <= 2 else 256, **config) as session:
        return problem.report(runs.generator(session))["cbw_uvp_percent"]


def render(a, done):
    steps = "; ".join(f"d = {d}: {s} steps" for d, s in sorted({(j["dim"], j["steps"]) for j, _ in done}))
    parts = [report.provenance(a, ["numpy", "jax", "optax"], seeds=a.seeds, threads=1),
             f"cBW-UVP in percent, epsilon = {a.epsilon:g}, median and each seed; {steps}. "
             "Rows of a table differ in the named setting alone."]
    found = {}
    for job, value in done:
        found.setdefault((job["dim"], job["setting"]), []).append(value)
    for title, axis, rows in GROUPS:
        dims = [d for d in a.dims if sum((d, setting) in found for _, setting in rows) > 1]
        cell = lambda d, setting: "-" if (d, setting) not in found else tell(found[d, setting])
        if dims:
            parts += [f"### {title[0].upper()}{title[1:]}",
                      report.table([axis, *(f"d = {d}" for d in dims)],
                                   [[label, *(cell(d, s) for d in dims)] for label, s in rows])]
    parts.append(picture(a, found))
    report.write(a, "Ablations", [p for p in parts if p])


def tell(values):
    each = f" ({' '.join(f'{v:.3f}' for v in values)})" if len(values) > 1 else ""
    return f"{statistics.median(values):.3f}{each}"


def picture(a, found):
    if not a.plots:
        return ""
    fig, axes = report.figure(3, 3, width=3.2)
    for ax, (title, axis, rows) in zip(axes.ravel(), GROUPS):
        for d in a.dims:
            here = [(label.split(" (")[0], statistics.median(found[d, s])) for label, s in rows if (d, s) in found]
            if len(here) > 1:
                ax.plot([h[0] for h in here], [h[1] for h in here], "o-", label=f"d = {d}")
        ax.set(title=title.split(" (")[0], yscale="log", ylabel="cBW-UVP, %")
        if ax.lines:
            ax.legend()
    return report.save(a, fig, "ablations")


def main():
    p = report.parser(__doc__)
    p.add_argument("--epsilon", type=float, default=1.0)
    p.add_argument("--dims", type=int, nargs="+")
    p.add_argument("--steps", type=int, help="at d = 2; half of it at larger d")
    p.add_argument("--seeds", type=int, nargs="+")
    runs.option(p)
    a = p.parse_args()
    a.dims = a.dims or report.by_scale(a, [2, 16], [2], [2, 16])
    a.seeds = a.seeds or report.by_scale(a, [0, 1, 2], [0], [0])
    steps = a.steps or report.by_scale(a, 4000, 500, 4)
    few = report.by_scale(a, list(SETTINGS), ["default", "1024 x 1", "16 x 64", "latents", "ratio 1", "ratio 10", "decay"],
                          ["default", "1024 x 1", "decay", "t = 1 (JAX)"])
    jobs = []
    for d in sorted(a.dims, reverse=True):      # the long ones first, so that the workers end together
        settings = few if d <= 2 else [s for s in LARGE if s in few] if a.scale != "smoke" else ["latents, no noise head"]
        jobs += [{"dim": d, "epsilon": a.epsilon, "setting": name, "seed": seed, "steps": steps if d <= 2 else max(steps // 2, 1)}
                 for name in settings for seed in (a.seeds if d <= 2 else a.seeds[:1])]
    done = []

    def finished(job, result):
        if result is not None:
            done.append((job, result))
        if a.output:
            render(a, done)

    runs.side_by_side(work, jobs, a.workers, finished)
    done.sort(key=lambda pair: jobs.index(pair[0]))
    render(a, done)
    if len(done) < len(jobs):
        sys.exit(f"{len(jobs) - len(done)} of {len(jobs)} runs failed")


if __name__ == "__main__":
    main()
