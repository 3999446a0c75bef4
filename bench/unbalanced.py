"""Unbalanced transport against its truth: Gaussians, mixtures, pairs of modes, outliers. Through the C API.

    cargo build --release
    python bench/unbalanced.py --output unbalanced.md --plots plots          # about 8 minutes on two cores
    python bench/unbalanced.py --quick

Source fixed, target relaxed. Truths: a closed form (Gaussians) and a grid solution (all others; its agreement with POT's
sinkhorn_unbalanced is printed). Measures:

* masses: share of generated samples in each mode (the nearest mean, or where the clean part has the higher density);
* error of the conditional mean E[x1 | x0], which a session gives exactly: root mean square over 500 source points;
* W2 of the end marginal: by quantiles in 1-d, sliced over 100 directions in 2-d; `floor` is that of two draws of the truth;
* AUC: probability that an outlier of the target has a smaller density ratio than a sample that is none.
"""
import sys

import numpy as np

import report
import runs
from outlier_problems import Hidden, PAIRS, auc, clean_part, contaminated
from problems import Outliers, pools
from unbalanced_problems import GridPlan, Mixture, UnbalancedGaussian

TAUS = (0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
MODES = {1: (Mixture([1], [[0.0]], [1.0]), Mixture(Outliers.WEIGHTS, Outliers.MEANS[:, None], Outliers.STDS)),
         2: (Mixture([1], [[0.0, 0.0]], [1.0]),
             Mixture([0.45, 0.3, 0.2, 0.05], [[-2, 0], [1.5, 1.5], [1.5, -2.5], [5, 3]], [0.4, 0.5, 0.5, 0.3]))}


def sides(mu, nu, rows=200_000):
    rng = np.random.default_rng(11)
    return mu.sample(rng, rows)[0].astype(np.float32), nu.sample(rng, rows)[0].astype(np.float32)


def w2(a, b, directions=100):
    """Sliced W2 of equally many samples; plain W2 in 1-d."""
    if a.shape[1] == 1:
        return np.sqrt(((np.sort(a[:, 0]) - np.sort(b[:, 0])) ** 2).mean())
    angles = np.random.default_rng(0).normal(size=(a.shape[1], directions))
    angles /= np.linalg.norm(angles, axis=0)
    return np.sqrt(((np.sort(a @ angles, 0) - np.sort(b @ angles, 0)) ** 2).mean())


def conditional_mean_error(session, plan, points=500):
    x = plan.mu.sample(np.random.default_rng(4), points)[0]
    truth = np.stack([plan.expectation(x, plan.points[..., i]) for i in range(plan.d)], 1)
    return np.sqrt(((session.conditional_mean(x) - truth) ** 2).sum(1).mean())


def gaussian(job):
    problem = UnbalancedGaussian(job["dim"], tau=job["tau"])
    with runs.trained(*pools(problem, 200_000), job["steps"], seed=job["seed"], sigma=problem.epsilon**0.5, divergence="kl",
                      tau=job["tau"]) as session:
        errors = problem.report(runs.generator(session))
    return [np.linalg.norm(problem.mean), np.trace(problem.cov) / problem.d, np.trace(problem.cross) / problem.d,
            problem.log_ratio_999, *errors.values()]


def modes(job, rows=100_000):
    mu, nu = MODES[job["dim"]]
    plan = GridPlan(mu, nu, 0.3, job["divergence"], job["tau"])
    nearest = lambda y: ((y[..., None, :] - nu.means) ** 2).sum(-1).argmin(-1)
    cells = nearest(plan.points)
    truth = np.array([plan.share(cells == k) for k in range(len(nu.weights))])
    with runs.trained(*sides(mu, nu), job["steps"], seed=job["seed"], sigma=0.3**0.5, divergence=job["divergence"],
                      tau=job["tau"]) as session:
        y = runs.generator(session)(mu.sample(np.random.default_rng(1), rows)[0], 2)
        mean_error = conditional_mean_error(session, plan)
    rng = np.random.default_rng(3)
    exact = plan.sample(rng, rows)
    masses = np.bincount(nearest(y), minlength=len(truth)) / rows
    return {"truth": truth, "masses": masses, "mean_error": mean_error, "w2": w2(y, exact),
            "floor": w2(exact, plan.sample(rng, rows))}


def pair(job, rows=50_000):
    """Mass that keeps its class, and mass sent to the third target mode where there is one: here and in truth."""
    mu, nu = PAIRS[job["pair"]]
    plan = GridPlan(mu, nu, 0.05, job.get("divergence", "kl"), job["tau"])
    nearest = lambda y: ((y[..., None, :] - nu.means) ** 2).sum(-1).argmin(-1)
    x, c = mu.sample(np.random.default_rng(1), rows)
    cells = nearest(plan.points)
    to = np.stack([plan.expectation(x[:5000], (cells == k) * 1.0) for k in range(len(nu.weights))], 1)
    with runs.trained(*sides(mu, nu), job["steps"], seed=job["seed"], sigma=0.05**0.5, divergence=job.get("divergence", "kl"),
                      tau=job["tau"]) as session:
        went = nearest(runs.generator(session)(x, 2))
        mean_error = conditional_mean_error(session, plan)
    third = lambda a: np.nan if len(nu.weights) < 3 else a
    kept = (went == c)[:5000].mean()      # of the same x as its truth
    return {"kept": kept, "kept_truth": to[np.arange(5000), c[:5000]].mean(), "third": third((went == 2).mean()),
            "third_truth": third(plan.share(cells == 2)), "mean_error": mean_error}


def outliers(job, rows=50_000):
    mu, nu, clean = contaminated(job["kind"], job["share"])
    epsilon, tau = 0.1, 1.0
    plan, problem = GridPlan(mu, nu, epsilon, job["divergence"], tau, step=0.1), Hidden(mu, nu, job["dim"], epsilon)
    source, target = problem.draw(np.random.default_rng(11), 200_000)[:2]
    x, y, component = problem.draw(np.random.default_rng(1), rows)
    label, plane = component >= clean, problem.plane(y)
    with runs.trained(source, target, job["steps"], seed=job["seed"], sigma=epsilon**0.5, divergence=job["divergence"],
                      tau=tau) as session:
        score = -session.density_ratio(y)
        mapped = problem.plane(runs.generator(session)(x, 2))
    log_ratio = plan.log_ratio(plane)
    return {"auc": auc(score, label), "auc_truth": auc(-log_ratio, label), "clean": clean_part(nu, mapped, clean).mean(),
            "clean_truth": plan.share(clean_part(nu, plan.points, clean)), "clean_target": clean_part(nu, plane, clean).mean(),
            "rank_correlation": np.corrcoef(*(np.argsort(np.argsort(s)) for s in (score, -log_ratio)))[0, 1]}


def work(job):
    return {"gaussian": gaussian, "modes": modes, "pair": pair, "outliers": outliers}[job["part"]](job)


def pot_agreement():
    """Largest difference of the end marginal from POT's, 1-d mixture, KL, tau = 1, both on the same grid."""
    import warnings
    import ot
    plan = GridPlan(*MODES[1], 0.3, "kl", 1.0, step=0.1)
    cost = 0.5 * (plan.source_axes[0][:, None] - plan.axes[0]) ** 2
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in ("entropy", "kl"):
            p = ot.unbalanced.sinkhorn_unbalanced(plan.p, np.exp(plan.log_nu) * plan.cell, cost, 0.3, (np.inf, 1.0),
                                                  reg_type=kind, method="sinkhorn_stabilized", numItermax=20_000, stopThr=1e-10)
            found[kind] = 0.5 * np.abs(p.sum(0) - plan.rho).sum()
    return (f"The grid solution's end marginal differs from that of POT's `sinkhorn_unbalanced` (`reg_m=(inf, 1)`, "
            f"`reg_type=\"entropy\"`) by {found['entropy']:.1e} in total variation (1-d mixture, tau = 1, epsilon = 0.3). POT's "
            "own default, `reg_type=\"kl\"`, takes the entropy relative to the target rather than that of the density: another "
            f"problem once mass is free, by {found['kl']:.3f} here.")


def jobs_of(a):
    full = lambda whole, quick, smoke: report.by_scale(a, whole, quick, smoke)
    both, jobs = ("kl", "chi2"), []
    for dim in full((1, 2, 5), (2,), (2,)):
        jobs += [{"part": "gaussian", "dim": dim, "tau": tau, "steps": full(3000, 800, 5)}
                 for tau in full((0.1, 1.0, 10.0, 100.0), (1.0, 10.0), (1.0,))]
    for dim in (1, 2):
        jobs += [{"part": "modes", "dim": dim, "divergence": name, "tau": tau, "steps": full(3000, 800, 5)}
                 for name in full(both, ("kl",), both[dim - 1:dim]) for tau in full(TAUS, (0.3, 1.0, 10.0), (1.0,))]
    for name, taus in (("imbalance", full((1.0, 10.0, 100.0), (1.0, 10.0), (10.0,))),
                       ("outlier", full((1.0, 10.0), (1.0,), (1.0,)))):
        jobs += [{"part": "pair", "pair": name, "tau": tau, "steps": full(4000, 800, 5)} for tau in taus]
    for kind, dim, shares in (("far", 2, (0.01, 0.02, 0.05, 0.1, 0.2)), ("far", 16, (0.01, 0.05, 0.2)), ("ring", 2, (0.05,))):
        few = shares[-1:] if kind == "far" else ()
        jobs += [{"part": "outliers", "kind": kind, "dim": dim, "share": share, "divergence": name, "steps": full(2000, 700, 5)}
                 for share in full(shares, few, few) for name in full(both, ("kl",), both[-1:])]
    return [job | {"seed": seed} for job in jobs for seed in a.seeds]


def render(a, done, agreement):
    """The section, from what is there so far."""
    of = lambda part: [(job, r) for job, r in done if job["part"] == part]
    f = lambda x, digits=3: "-" if np.isnan(x) else f"{x:.{digits}f}"
    listed = lambda masses: " / ".join(map(f, masses))
    parts = [report.provenance(a, ["numpy", "scipy", "POT"], seeds=a.seeds, threads=1), agreement]
    parts += ["### Gaussians, KL, epsilon = 0.5",
              "N(0, I) to N(m, S), |m| = 2, S full. Errors: of the end marginal's mean and covariance and of Cov(x0, x1), "
              "Euclidean or Frobenius norm over the root of d. `log ratio` is the 0.999 quantile of the true log density ratio "
              "over generated samples: the library continues KL linearly past 8, so a row above that is another problem by "
              "definition, and one whose target samples hardly show where mass goes.",
              report.table(["d", "tau", "seed", "true \\|mean\\|", "true variance", "true covariance with x0", "log ratio",
                            "error of mean", "of covariance", "of covariance with x0"],
                           [[j["dim"], j["tau"], j["seed"], *map(f, r[:3]), f(r[3], 1), *map(f, r[4:])]
                            for j, r in of("gaussian")])]
    weights = " and ".join(" / ".join(map(str, nu.weights)) + f" (d = {d})" for d, (_, nu) in MODES.items())
    parts += ["### Mixtures, epsilon = 0.3", f"Target modes weigh {weights}; the last one is remote.",
              report.table(["d", "divergence", "tau", "seed", "masses", "truth", "largest error", "conditional mean",
                            "W2 of end marginal", "floor"],
                           [[j["dim"], j["divergence"], j["tau"], j["seed"], listed(r["masses"]), listed(r["truth"]),
                             f(np.abs(r["masses"] - r["truth"]).max(), 4), f(r["mean_error"]), f(r["w2"]), f(r["floor"])]
                            for j, r in of("modes")])]
    parts += ["### Pairs of modes, KL, epsilon = 0.05",
              "The pairs that U-LightOT is shown on (Gazdieva et al.): two modes each, of weights 1/4, 3/4 against 3/4, 1/4; and "
              "with a third one of 2 % on both sides (.25, .73, .02). A large tau asks for the target's weights, a small one "
              "lets mass keep its class.",
              report.table(["pair", "tau", "seed", "keeps its class", "truth", "to the 2 % mode", "truth", "conditional mean"],
                           [[j["pair"], j["tau"], j["seed"], f(r["kept"]), f(r["kept_truth"]), f(r["third"], 4),
                             f(r["third_truth"], 4), f(r["mean_error"])] for j, r in of("pair")])]
    parts += ["### Outliers of the target, epsilon = 0.1, tau = 1",
              "Two clean modes, and a remote one (`far`) or six around (`ring`) with the share named. In d = 16 the plane is "
              "turned at random and the other directions are those of the free noise, so that the exact ratio is the plane's. "
              "The ratio says what a sample costs, not how rare it is: where outliers are reached as cheaply as the clean modes' "
              "edges, the exact ratio cannot tell them either.",
              report.table(["outliers", "d", "share", "divergence", "seed", "AUC", "AUC of exact ratio",
                            "rank correlation with it", "clean mass of target", "generated", "truth"],
                           [[j["kind"], j["dim"], f"{100 * j['share']:.0f} %", j["divergence"], j["seed"], f(r["auc"]),
                             f(r["auc_truth"]), f(r["rank_correlation"]), f(r["clean_target"]), f(r["clean"]),
                             f(r["clean_truth"])] for j, r in of("outliers")])]
    parts += pictures(a, of)
    report.write(a, "Unbalanced transport against its truth", [p for p in parts if p])


def pictures(a, of):
    if not a.plots:
        return []
    found = []
    if of("modes"):
        fig, axes = report.figure(2, 2)
        for row, dim in enumerate((1, 2)):
            for col, divergence in enumerate(("kl", "chi2")):
                ax, weights = axes[row, col], MODES[dim][1].weights
                here = [(j["tau"], r) for j, r in of("modes") if (j["dim"], j["divergence"]) == (dim, divergence)]
                lines = sorted({t: r["truth"] for t, r in here}.items())
                for k in range(len(weights)):
                    ax.plot([t for t, _ in lines], [m[k] for _, m in lines], color=f"C{k}", label=f"mode {k + 1}: {weights[k]}")
                    ax.plot([t for t, _ in here], [r["masses"][k] for _, r in here], "o", color=f"C{k}")
                ax.set(xscale="log", xlabel="tau", ylabel="mass", title=f"d = {dim}, {divergence}: lines truth, dots generated")
                ax.legend()
        found.append(report.save(a, fig, "unbalanced_masses"))
    far = [(j, r) for j, r in of("outliers") if j["kind"] == "far"]
    if far:
        fig, axes = report.figure(2)
        for col, dim in enumerate((2, 16)):
            for k, divergence in enumerate(("kl", "chi2")):
                here = sorted((j["share"], r["auc"], r["auc_truth"]) for j, r in far
                              if (j["dim"], j["divergence"]) == (dim, divergence))
                axes[0, col].plot([h[0] for h in here], [h[2] for h in here], color=f"C{k}", label=divergence)
                axes[0, col].plot([h[0] for h in here], [h[1] for h in here], "o", color=f"C{k}")
            axes[0, col].set(xscale="log", xlabel="share of outliers", ylabel="AUC",
                             title=f"d = {dim}: lines exact ratio, dots learnt")
            axes[0, col].legend()
        found.append(report.save(a, fig, "unbalanced_outliers"))
    return found


def main():
    p = report.parser(__doc__)
    p.add_argument("--seeds", type=int, nargs="+", default=[0])
    runs.option(p)
    a = p.parse_args()
    jobs, agreement, done = jobs_of(a), pot_agreement(), []
    order = {id(job): i for i, job in enumerate(jobs)}

    def finished(job, result):
        if result is not None:
            done.append((job, result))
            done.sort(key=lambda pair: order[id(pair[0])])
        if a.output:
            render(a, done, agreement)

    runs.side_by_side(work, jobs, a.workers, finished)
    render(a, done, agreement)
    if len(done) < len(jobs):
        sys.exit(f"{len(jobs) - len(done)} of {len(jobs)} runs failed")


if __name__ == "__main__":
    main()
