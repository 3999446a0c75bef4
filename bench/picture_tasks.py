"""Pictures of problems with a known answer, beside UOTM in equal time. Through the C API.

    pip install -r bench/requirements.txt && cargo build --release
    python bench/picture_tasks.py --output picture_tasks.md --plots plots      # two hours of one core; --quick: half of one
    python bench/picture_tasks.py --tables-only --output picture_tasks.md      # from the cache, without training

* glyphs: DejaVu Sans to DejaVu Serif, 32 x 32 pixels, without pairs; judged on characters that are held out (picture_pairs.py);
* emoji: OpenMoji's outlines to its colours, 32 x 32 pixels, likewise;
* shares: two classes of garments, 9 to 1 in the source and 1 to 1 in the target (picture_mixtures.py);
* trousers: T-shirts to trousers (picture_translation.py); cats, cars: cats to dogs and cars to trucks of CIFAR-10, 32 x 32 pixels,
  where --pictures names it (picture_folders.py);
* digits: a hundredth of handwritten digits among the garments that are learnt from noise (picture_mixtures.py).

Every training has a process and one thread of its own (picture_task_run.py) and the same processor seconds; results are kept in
--cache. UOTM: Choi, Choi, Kang, Generative modeling through the semi-dual formulation of unbalanced optimal transport (NeurIPS
2023), in PyTorch with the library's networks (peers/picture_methods.py) and the tau that stands beside it.
"""
import hashlib
import json
import pathlib
import typing

import cached
import emoji_data
import picture_folders
import picture_problems
import report

CODE = ("picture_task_run.py", "picture_problems.py", "picture_run.py", "picture_data.py", "picture_judge.py", "picture_pairs.py",
        "picture_mixtures.py", "picture_translation.py", "picture_folders.py", "glyph_data.py", "emoji_data.py", "digit_data.py", "peers/picture_methods.py",
        "peers/picture_networks.py")
SECONDS = 240
UOTM_TAU = 0.5          # the authors' .001 for pictures of 3072 numbers from -1 to 1 is about this, for each number in the library's units
OTHER_SECONDS = 180     # of data, judges and measures


class Part(typing.NamedTuple):
    """A table: what it is called, its columns by the names of the measures, and its trainings: label, task, method, settings."""
    title: str
    columns: dict
    trainings: tuple
    yardsticks: str = ""    # the task whose yardsticks stand above
    credit: str = ""


def unbalanced(task, tau, divergences, published=UOTM_TAU):
    """Trainings of each divergence, and UOTM with this tau and with its authors'."""
    library = tuple((f"library, {name}" + (f", tau {tau:g}" if name != "balanced" else ""), task, "library",
                     {"divergence": name} | ({"tau": tau} if name != "balanced" else {})) for name in divergences)
    return library + tuple((f"UOTM, tau {each:g}", task, "uotm", {"tau": each}) for each in (tau, published))


PAIRED = {"error": "error, %", "better": "nearer than the input, %", "first": "partner first, %", "top5": "in the first 5, %"}
SHARED = {"kept": "kept, %", "kept_frequent": "of the frequent class", "kept_rare": "of the rare class", "first": "frequent class, %",
          "moved": "moved, %"}
DIGITS = {"auc": "AUC", "ratios": "mean ratio of garments, of digits", "digits": "digits generated, %", "false": "false positives, %",
          "frechet": "Frechet"}
TRANSLATED = {"class": "of the target's class, %", "frechet": "Frechet", "brightness": "brightness", "alike": "alike, by chance"}
ALL = ("balanced", "kl", "chi2", "softplus")
both = lambda task: (("library", task, "library", {}), ("UOTM", task, "uotm", {}))
CONTROL = ("library, chi2, no digits to learn", "digits-none", "library", {"divergence": "chi2"})
PARTS = {
    "glyphs": Part("Glyphs, sans to serif", PAIRED, both("glyphs"), "glyphs"),
    "emoji": Part("Emoji, outline to colour", PAIRED, both("emoji"), "emoji", emoji_data.ATTRIBUTION),
    "shares-easy": Part("Class shares, trousers 9 to ankle boots 1", SHARED, unbalanced("shares-easy", 0.1, ALL)),
    "shares-hard": Part("Class shares, T-shirts 9 to coats 1", SHARED, unbalanced("shares-hard", 0.1, ALL)),
    "trousers": Part("T-shirts to trousers", TRANSLATED, both("trousers"), "trousers"),
    "cats": Part("Cats to dogs", TRANSLATED, both("cats"), "cats"),
    "cars": Part("Cars to trucks", TRANSLATED, both("cars"), "cars"),
    "digits": Part("A hundredth of digits", DIGITS, (*unbalanced("digits", 0.125, ALL[:3]), CONTROL)),
}


def options():
    p = report.parser(__doc__)
    p.add_argument("--pictures", type=pathlib.Path, help="CIFAR-10, of cats and cars, which are left out without it")
    p.add_argument("--parts", nargs="+", choices=list(PARTS), help="only these; --smoke takes one of each kind")
    p.add_argument("--seeds", type=int, nargs="+", default=[0])
    p.add_argument("--seconds", type=float, help=f"processor seconds of each training; default {SECONDS}")
    p.add_argument("--workers", type=int, default=1, help="trainings at once, each on one thread")
    p.add_argument("--cache", type=pathlib.Path, default=report.ROOT / ".cache", help="folder of results")
    p.add_argument("--tables-only", action="store_true", help="write what the cache has, train nothing")
    a = p.parse_args()
    there = [name for name in PARTS if a.pictures or name not in picture_problems.FOLDERS]
    a.parts = a.parts or report.by_scale(a, there, there, ["glyphs", "shares-easy", "trousers", "digits"])
    a.seconds = a.seconds or report.by_scale(a, SECONDS, 60, 0)
    return a


def picture_of(part, label):
    """The name of a training's grid."""
    return "tasks_" + "".join(c if c.isalnum() else "_" for c in f"{part}_{label}".lower())


def program(a, task):
    """The command of a task, and what its result depends on beside the settings."""
    command, known = [report.ROOT / "picture_task_run.py", "--task", task], {"task": task, "code": cached.code_of(CODE)}
    if a.pictures and task in picture_problems.FOLDERS:
        return command + ["--pictures", a.pictures], known | {"pictures": picture_folders.name_of(a.pictures.resolve())}
    return command, known


def train(a, job):
    part, label, seed = job
    task, method, own = next(rest for first, *rest in PARTS[part].trainings if first == label)
    command, known = program(a, task)
    settings = known | {"method": method, "set": own, "seed": seed, "seconds": a.seconds, "scale": a.scale,
                        "processor": report.processor()}
    if method == "library":
        settings["library"] = cached.library_digest()
    name = f"task-{task}-{method}" + "".join(f"-{value}" for value in own.values()) + f"-s{seed}"
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    kept = a.cache / "pictures" / f"{name}-{digest}.png"
    command += ["--method", method, "--seed", seed, "--grid", kept]
    changes = [f"{key}={value}" for key, value in own.items()]
    if a.scale == "smoke":
        command += ["--made-up", "--steps", 4, "--side", 16 if task in ("glyphs", "emoji") else 8, "--judge-epochs", 1]
        changes += ["batch=4", "channels=4", "latent=2"]
    else:
        command += ["--seconds", a.seconds]
    found = cached.result(a, name, settings, command + (["--set", *changes] if changes else []), a.seconds + OTHER_SECONDS)
    if found and a.plots and seed == a.seeds[0] and kept.exists():
        a.plots.mkdir(parents=True, exist_ok=True)
        (a.plots / f"{picture_of(part, label)}.png").write_bytes(kept.read_bytes())
    return found


def yardsticks(a, task):
    command, known = program(a, task)
    command += ["--yardsticks"]
    command += ["--made-up", "--side", 16, "--judge-epochs", 1] if a.scale == "smoke" else []
    return cached.result(a, f"task-{task}-yardsticks", known, command, OTHER_SECONDS) or {}


def shown(value):
    if isinstance(value, list):
        return " / ".join(map(shown, value))
    return "" if value is None else f"{value:.3g}" if value < 10 else f"{value:.1f}"


def row(columns, label, measures, steps=""):
    return [label, steps, *(shown(measures.get(name)) for name in columns)]


def section(a, name, done, fixed):
    part, rows = PARTS[name], []
    for label, measures in fixed.get(part.yardsticks, {}).items():
        if label not in ("date", "key"):
            rows.append(row(part.columns, label, measures))
    grids = []
    for training in part.trainings:
        for seed in a.seeds:
            found = done.get((name, training[0], seed))
            if found:
                last = found["curve"][-1]
                rows.append(row(part.columns, training[0] + (f", seed {seed}" if len(a.seeds) > 1 else ""), last, last["steps"]))
        picture = picture_of(name, training[0])
        if a.plots and (a.plots / f"{picture}.png").exists():
            grids.append(f"{training[0]}:\n\n![{picture}](plots/{picture}.png)")
    return [f"### {part.title}", report.table(["method", "steps", *part.columns.values()], rows), *grids, part.credit]


def render(a, done, fixed):
    parts = [report.provenance(a, ["torch", "numpy"], seeds=a.seeds, threads=1), f"{a.seconds:g} processor seconds for each training."]
    for name in a.parts:
        parts += section(a, name, done, fixed)
    report.write(a, "Pictures with known answers", [part for part in parts if part])


def main():
    a = options()
    fixed = {PARTS[name].yardsticks: yardsticks(a, PARTS[name].yardsticks) for name in a.parts if PARTS[name].yardsticks}
    # Of a trial, the first and the last training of a part: the library's and what differs from it most.
    of = lambda trainings: report.by_scale(a, trainings, trainings, (trainings[0], trainings[-1]))
    jobs = [(name, label, seed) for name in a.parts for label, *_ in of(PARTS[name].trainings) for seed in a.seeds]
    cached.all_of(a, jobs, train, lambda done: render(a, done, fixed))


if __name__ == "__main__":
    main()
