"""Generators of pictures out of noise, beside PyTorch's in equal time. Through the C API.

    pip install -r bench/requirements.txt && cargo build --release
    python bench/pictures.py --output pictures.md --plots plots        # 40 minutes on two cores; --quick: 5 minutes
    python bench/pictures.py --tables-only --output pictures.md        # from the cache, without training

Data: Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, MIT licence) from Debian's package of it, averaged to 16 x 16 pixels and as it
is, 28 x 28. Every method has the same networks (peers/picture_networks.py), the same source and the same processor seconds of one
thread, each training in a process of its own (picture_run.py); results are kept in --cache.

* library: this library;
* torch: the same method in PyTorch, with automatic differentiation (peers/picture_methods.py);
* UOTM: Choi, Choi, Kang, Generative modeling through the semi-dual formulation of unbalanced optimal transport (NeurIPS 2023).

Measures, on 10,000 generated pictures against the 10,000 test pictures (picture_judge.py):

* Frechet: in the features of a small classifier that is trained here, in percent of the variance of the test pictures' features.
  Not comparable with any published number. `floor` is that of pictures to learn, `noise` that of the source;
* density and coverage: are generated pictures where test pictures are, and are there some around each of those? 1 is best;
* shares: least and largest share of a class, where each is 10 % of the data;
* simulated: Frechet of 2,000 ends of the process that the value function drives, in 50 steps, against that of as many pictures
  in one step;
* spread: standard deviation of a pixel over the data's; alike: correlation of two draws out of the same noise.
"""
import hashlib
import json
import pathlib
import statistics

import cached
import picture_data
import report

METHODS = {"library": "library", "torch": "torch, the same method", "uotm": "UOTM"}
CODE = ("picture_run.py", "picture_data.py", "picture_judge.py", "peers/picture_methods.py", "peers/picture_networks.py")
SECONDS = {16: 600, 28: 600}
JUDGING = 120   # seconds beside the training
SIMULATED = 50  # steps of the process


def options():
    p = report.parser(__doc__)
    p.add_argument("--sides", type=int, nargs="+", help="pixels of a side; default 16 28")
    p.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    p.add_argument("--seeds", type=int, nargs="+", default=[0])
    p.add_argument("--seconds", type=float, help="processor seconds of each training; default 300 at 16 pixels, 600 at 28")
    p.add_argument("--workers", type=int, default=1, help="trainings at once, each on one thread")
    p.add_argument("--cache", type=pathlib.Path, default=report.ROOT / ".cache", help="folder of results")
    p.add_argument("--tables-only", action="store_true", help="write what the cache has, train nothing")
    a = p.parse_args()
    a.sides = a.sides or report.by_scale(a, [16, 28], [16], [8])
    a.data = report.by_scale(a, "fashion", "fashion", "made-up")
    return a


def command_of(a, side, method, seed):
    """What one training's results depend on, and its command."""
    seconds = a.seconds or report.by_scale(a, SECONDS.get(side, 300), 60, 0)
    settings = {"data": a.data, "side": side, "method": method, "seed": seed, "seconds": seconds, "noise": picture_data.WIDTH,
                "processor": report.processor(), "code": cached.code_of(CODE)}
    if method == "library":
        settings["library"] = cached.library_digest()
    name = f"pictures-{side}-{method}-s{seed}"
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    grid = (a.plots or a.cache / "pictures") / f"pictures_{side}_{method}.png"
    kept = a.cache / "pictures" / f"{name}-{digest}.npy"
    command = [report.ROOT / "picture_run.py", "--method", method, "--data", a.data, "--side", side, "--seed", seed, "--noise", picture_data.WIDTH,
               "--grid", kept.with_suffix(".png")]
    if method == "library":
        command += ["--simulated", SIMULATED]
    if a.scale == "smoke":
        command += ["--steps", 4, "--rows", 200, "--judge-epochs", 1, "--judged", 2, 1, "--set", "batch=4", "channels=4", "latent=2"]
    else:
        command += ["--seconds", seconds]
    return name, settings, command, seconds + JUDGING, grid, kept.with_suffix(".png")


def train(a, job):
    name, settings, command, seconds, grid, kept = command_of(a, *job)
    found = cached.result(a, name, settings, command, seconds)
    if found and a.plots and job[2] == a.seeds[0] and kept.exists():
        grid.parent.mkdir(parents=True, exist_ok=True)
        grid.write_bytes(kept.read_bytes())
    return found


def scale_of(a, side):
    """The floor, the noise's score and the classifier's accuracy."""
    command = [report.ROOT / "picture_judge.py", "--data", a.data, "--side", side, "--width", picture_data.WIDTH]
    command += ["--rows", 200, "--epochs", 1] if a.scale == "smoke" else []
    settings = {"data": a.data, "side": side, "noise": picture_data.WIDTH, "code": cached.code_of(CODE[1:3])}
    return cached.result(a, f"pictures-{side}-scale", settings, command, JUDGING)


def simulated(found):
    if "simulated" not in found[0]:
        return "-"
    return " against ".join(f"{statistics.median(r[name] for r in found):.2f}" for name in ("simulated", "as many in one step"))


def section(a, side, done, scale):
    """A table of one size."""
    rows, curves = [], []
    for method in a.methods:
        found = [r for (s, m, _), r in done.items() if (s, m) == (side, method) and r]
        if not found:
            continue
        median = lambda of: statistics.median(of(r) for r in found)
        marks = [median(lambda r: r["curve"][i]["frechet"]) for i in range(len(found[0]["curve"]))]
        shares = [100 * f(r["shares"]) for f in (min, max) for r in found]
        rows.append([METHODS[method], f"{median(lambda r: r['curve'][-1]['steps']):.0f}", " / ".join(f"{m:.2f}" for m in marks),
                     f"{median(lambda r: r['best']):.2f}", *(f"{median(lambda r: r[name]):.2f}" for name in ("density", "coverage")),
                     simulated(found), f"{min(shares):.1f} to {max(shares):.1f}", *(f"{median(lambda r: r[name]):.2f}" for name in ("spread", "alike"))])
        curves += [(method, r["curve"]) for r in found]
    head = ["method", "steps", "Frechet at 1/8, 1/4, 1/2 and the end", "best", "density", "coverage", "simulated", "shares, %", "spread", "alike"]
    measures = lambda r: f"Frechet {r['frechet']:.2f}, density {r['density']:.2f}, coverage {r['coverage']:.2f}"
    against = f"Floor: {measures(scale['floor'])}. Noise: {measures(scale['noise'])}. The classifier is right about " \
              f"{100 * scale['accuracy']:.1f} % of the test pictures." if scale else ""
    seconds = f"{command_of(a, side, a.methods[0], a.seeds[0])[1]['seconds']:g} processor seconds of one thread for each"
    return [f"### {side} x {side} pixels", f"{seconds}. {against}", report.table(head, rows), figure(a, side, curves), grids(a, side)]


def figure(a, side, curves):
    if not a.plots or not curves:
        return ""
    fig, axes = report.figure()
    for i, method in enumerate(a.methods):
        for k, curve in enumerate(c for m, c in curves if m == method):
            axes[0, 0].plot([c["seconds"] for c in curve], [c["frechet"] for c in curve], "o-", color=f"C{i}",
                            label=METHODS[method] if k == 0 else None)
    axes[0, 0].set(xscale="log", yscale="log", xlabel="processor seconds", ylabel="Frechet", title=f"{side} x {side} pixels")
    axes[0, 0].legend()
    return report.save(a, fig, f"pictures_{side}")


def grids(a, side):
    if not a.plots:
        return ""
    shown = [m for m in a.methods if (a.plots / f"pictures_{side}_{m}.png").exists()]
    return "\n\n".join(f"{METHODS[m]}:\n\n![{m}](plots/pictures_{side}_{m}.png)" for m in shown)


def render(a, done, scales):
    parts = [report.provenance(a, ["torch", "numpy"], seeds=a.seeds, threads=1)]
    for side in a.sides:
        parts += section(a, side, done, scales.get(side))
    report.write(a, "Pictures", [part for part in parts if part])


def main():
    a = options()
    scales = {side: scale_of(a, side) for side in a.sides}
    jobs = [(side, method, seed) for side in a.sides for method in a.methods for seed in a.seeds]
    cached.all_of(a, jobs, train, lambda done: render(a, done, scales))


if __name__ == "__main__":
    main()
