"""Accuracy of trained maps on problems with known truth, through the C API.

    cargo build --release
    python bench/accuracy.py gaussian --dim 2 --epsilon 0.5 --steps 5000
    python bench/accuracy.py mixture --dim 16 --epsilon 1 --steps 4000 --hidden-width 256 --seeds 0 1 2
    python bench/accuracy.py outliers --divergence kl --tau 1 --epsilon 0.3
    python bench/accuracy.py table --output accuracy.md
    python bench/accuracy.py table --device cuda --seeds 0 --budget 60 --output accuracy.md

Prints one line per seed and the median of the measures. Needs numpy alone. Every field of the trainer configuration is an
option (--value-learning-rate, --decay-steps, ...); sigma is the root of --epsilon.
"""
import ctypes
import statistics
import time

import numpy as np

import report
import runs
import sfeuot_ctypes as sfeuot
from problems import Gaussian, Mixture, Outliers, pools

SET_BY_PROBLEM = ("struct_size", "sigma", "seed", "divergence", "tau", "sigma_units", "value_network", "generator_network")
ALIASES = {"hidden_width": ["--hidden"], "latent_dimension": ["--latent"], "batch_sources": ["--sources"], "components": ["--k"],
           "generator_learning_rate": ["--lr-generator"], "value_learning_rate": ["--lr-value"], "ema_decay": ["--ema"]}

# problem, its settings, trainer fields, steps, measure -> bound
TABLE = [
    ("gaussian", dict(dim=2, epsilon=0.5), {}, 5000, {"mean_error": 0.03, "variance_error": 0.03, "covariance_error": 0.03}),
    ("mixture", dict(dim=2, epsilon=0.1), {}, 4000, {"cbw_uvp_percent": 0.10}),
    ("mixture", dict(dim=2, epsilon=1.0), {}, 4000, {"cbw_uvp_percent": 0.25}),
    ("mixture", dict(dim=2, epsilon=10.0), {}, 4000, {"cbw_uvp_percent": 0.45}),
    ("mixture", dict(dim=16, epsilon=0.1), dict(hidden_width=256), 4000, {"cbw_uvp_percent": 0.4}),
    ("mixture", dict(dim=16, epsilon=1.0), dict(hidden_width=256), 4000, {"cbw_uvp_percent": 0.8}),
    ("mixture", dict(dim=16, epsilon=10.0), dict(hidden_width=256), 4000, {"cbw_uvp_percent": 1.5}),
    ("outliers", dict(divergence="kl", epsilon=0.3, tau=1.0), {}, 4000, {"mass_error": 0.01, "conditional_mean_error": 0.05}),
    ("outliers", dict(divergence="chi2", epsilon=0.3, tau=1.0), {}, 4000, {"mass_error": 0.01, "conditional_mean_error": 0.05}),
]


def make_problem(name, settings):
    return {"gaussian": Gaussian, "mixture": Mixture, "outliers": Outliers}[name](**settings)


class Sides:
    """What the trainer reads: two pools, drawn once and shared by all seeds, or two sampler callbacks."""

    def __init__(self, problem, a):
        self.problem, self.sampler, self.pools = problem, a.sampler, None if a.sampler else pools(problem, a.pool_rows)

    def get(self, seed):
        if self.pools:
            return self.pools

        def filler(draw, stream):
            rng = np.random.default_rng([seed, stream])

            def fill(batch):
                batch[:] = draw(rng, len(batch))
            return fill

        return (sfeuot.Sampler(filler(self.problem.source, 0), (self.problem.d,)),
                sfeuot.Sampler(filler(self.problem.target, 1), (self.problem.d,)))


def train_and_report(problem, sides, settings, steps, seed, context):
    """The problem's measures after `steps` steps, and the seconds that training took."""
    source, target = sides.get(seed)
    with sfeuot.Trainer(context, source, target, sigma=problem.epsilon**0.5, sigma_units="data", seed=seed,
                        divergence=getattr(problem, "divergence", "balanced"), tau=getattr(problem, "tau", 1.0), **settings) as trainer:
        start = time.perf_counter()
        trainer.step(steps)
        seconds = time.perf_counter() - start
        with trainer.model() as model, model.session() as session:
            return problem.report(runs.generator(session)), seconds


def run(name, problem_settings, trainer_settings, steps, a, context):
    """Medians of the measures over the seeds."""
    problem = make_problem(name, problem_settings)
    sides = Sides(problem, a)
    title = " ".join([name, *(f"{k}={v}" for k, v in problem_settings.items())])
    reports = []
    for seed in a.seeds:
        measures, seconds = train_and_report(problem, sides, trainer_settings, steps, seed, context)
        reports.append(measures)
        print(f"{title} seed {seed}: {show(measures)}  ({steps} steps, {seconds:.1f} s)", flush=True)
    medians = {key: statistics.median(measures[key] for measures in reports) for key in reports[0]}
    print(f"{title} median: {show(medians)}", flush=True)
    if name == "outliers":
        print(f"{title} truth: {show({f'mass_{k}': v for k, v in problem.true_masses().items()})}", flush=True)
    return medians


def show(measures):
    return "  ".join(f"{key} {value:.4f}" for key, value in measures.items())


def write_table(a, context):
    """Runs TABLE, writes it as markdown after each row and tells whether every bound holds. Rows that --budget leaves out say so."""
    end = time.monotonic() + a.budget
    changed = "".join(f", {k} {v}" for k, v in a.trainer.items())
    side = "sampler callbacks" if a.sampler else f"pools of {a.pool_rows} rows"
    about = [report.provenance(a, ["numpy"], seeds=a.seeds), f"Medians of the seeds; device {a.device}; {side}{changed}."]
    head, rows = ["problem", "steps", "measure", "median", "bound", "holds"], []
    passed = True
    for name, problem_settings, trainer_settings, steps, bounds in TABLE:
        settings = {**trainer_settings, **a.trainer}
        title = f"{name} " + ", ".join(f"{k} {v}" for k, v in problem_settings.items())
        if time.monotonic() > end:
            rows += [[title, a.steps or steps, key.replace("_", " "), "not run", bound, ""] for key, bound in bounds.items()]
            continue
        medians = run(name, problem_settings, settings, a.steps or steps, a, context)
        for key, bound in bounds.items():
            holds = bool(medians[key] < bound)
            passed &= holds
            rows.append([title, a.steps or steps, key.replace("_", " "), f"{medians[key]:.4f}", bound, "yes" if holds else "**no**"])
        if a.output:
            report.write(a, "Known truths", [*about, report.table(head, rows)])
    report.write(a, "Known truths", [*about, report.table(head, rows)])
    return passed or a.scale != "full"


def arguments():
    p = report.parser(__doc__)
    p.add_argument("problem", choices=["gaussian", "mixture", "outliers", "table"])
    p.add_argument("--dim", type=int, default=2)
    p.add_argument("--epsilon", type=float, help="sigma^2; the default is 0.5 for gaussian, 1 for mixture, 0.3 for outliers")
    p.add_argument("--divergence", default="kl", choices=["balanced", "kl", "chi2"], help="of outliers")
    p.add_argument("--tau", type=float, default=1.0, help="of outliers")
    p.add_argument("--steps", type=int, help="default 4000, 5000 for gaussian; overrides the table's")
    p.add_argument("--seeds", type=int, nargs="+", help="default 0 1 2")
    p.add_argument("--sampler", action="store_true", help="feed sampler callbacks in place of pools")
    p.add_argument("--pool-rows", type=int, help="of each side; default 200000")
    p.add_argument("--threads", type=int, default=0, help="0 = all cores")
    p.add_argument("--device", default="cpu", choices=list(sfeuot.DEVICES))
    p.add_argument("--budget", type=float, default=float("inf"), help="seconds after which `table` starts no further row")
    fields = [(name, kind) for name, kind in sfeuot.TrainerConfig._fields_ if name not in SET_BY_PROBLEM]
    for name, kind in fields:
        parse = str if name == "activation" else float if kind is ctypes.c_double else int
        p.add_argument("--" + name.replace("_", "-"), *ALIASES.get(name, []), dest=name, type=parse,
                       choices=list(sfeuot.ACTIVATIONS) if name == "activation" else None)
    a = p.parse_args()
    a.seeds = a.seeds or report.by_scale(a, [0, 1, 2], [0], [0])
    a.pool_rows = a.pool_rows or report.by_scale(a, 200_000, 200_000, 2_000)
    a.steps = a.steps or report.by_scale(a, None, 400, 5)
    a.trainer = {name: getattr(a, name) for name, _ in fields if getattr(a, name) is not None}
    return a


def main():
    a = arguments()
    context = sfeuot.Context(device=a.device, threads=a.threads)
    if a.problem == "table":
        raise SystemExit(0 if write_table(a, context) else 1)
    settings = {"epsilon": a.epsilon if a.epsilon is not None else {"gaussian": 0.5, "mixture": 1.0, "outliers": 0.3}[a.problem]}
    settings.update({"divergence": a.divergence, "tau": a.tau} if a.problem == "outliers" else {"dim": a.dim})
    run(a.problem, settings, a.trainer, a.steps or (5000 if a.problem == "gaussian" else 4000), a, context)


if __name__ == "__main__":
    main()
