"""One training of a task of picture_tasks.py, judged on the way: a line of JSON.

    python picture_task_run.py --task glyphs --method library --seconds 240 [--set tau=0.25 ...] [--grid grid.png]

Seconds and steps are those of picture_run.py. Judged is the averaged generator at 1/4, 1/2 and the whole of the steps.
"""
import argparse
import json
import pathlib
import sys
import time

import picture_run      # before NumPy and PyTorch: it sets their threads
import numpy as np
import torch

import picture_data
import picture_mixtures
import picture_pairs
import picture_translation
import picture_methods as methods

PARTS = (4, 2, 1)
GARMENTS = {"shares-easy": (1, 9), "shares-hard": (0, 4)}       # trouser and ankle boot, T-shirt and coat
TRANSLATION = (0, 1)    # T-shirts to trousers
TASKS = ("glyphs", "emoji", *GARMENTS, "trousers", "digits", "digits-none")
SIDES = {"glyphs": 32, "emoji": 32}
# In place of the settings' defaults. UOTM has the library's problem and the rates of pictures.py.
COMMON = {"channels": 16, "batch": 32, "residual": True, "value_rate": 3.5e-4}
BY_TASK = {"digits": {"residual": False, "sigma": 0.3, "tau": 0.125, "channels": 32}}
UOTM = {"generator_rate": 2e-4, "value_rate": 1e-4, "beta2": 0.9}
RATIOS = 8192       # target pictures whose ratio is asked at once


class Pool:
    """A source that draws from pictures, with the interface of picture_data.Noise."""

    def __init__(self, pictures):
        self.pictures, self.mean = pictures, pictures.mean(0)

    def draw(self, rng, rows):
        return self.pictures[rng.integers(len(self.pictures), size=rows)]


class Task:
    """What is learnt from, what it is judged by, and how."""

    def __init__(self, source, target, inputs, judge, grid):
        self.source, self.target, self.inputs, self.judge, self.grid = source, target, inputs, judge, grid


def garments_of(a):
    return "made-up" if a.made_up else "fashion"


def pairs_of(name, side, seed=0):
    """The pictures of a task whose partners are known."""
    if name == "made-up":
        rng = np.random.default_rng(seed)
        x = picture_data.made_up(side, 500)[0]
        return picture_pairs.split(x[:, None], np.clip(x + 0.1 * rng.standard_normal(x.shape), -1, 1).astype(np.float32)[:, None])
    if name == "glyphs":
        import glyph_data
        found = glyph_data.load(side)
        return picture_pairs.split(found.sans, found.serif)
    import emoji_data
    found = emoji_data.load(side)
    return picture_pairs.split(found.outline[:, None], found.colour[:, None])


def known_partners(a):
    pairs = pairs_of("made-up" if a.made_up else a.task, a.side)
    judge = lambda made, ratio: picture_pairs.judged(pairs, made)
    grid = lambda path, made: picture_pairs.grid(path, pairs, made)
    more = picture_pairs.moved if a.moved else lambda pictures: pictures
    return Task(Pool(more(pairs.source)), more(pairs.target), pairs.held_out, judge, grid)


def beside(inputs, path, made, count=64):
    """Writes some inputs and what was made of them below each other."""
    some = np.random.default_rng(0).permutation(len(inputs))[:count].reshape(-1, 16)
    picture_data.grid(path, np.concatenate([x[row] for row in some for x in (inputs, made)]))


def class_shares(a):
    problem = picture_mixtures.shares(garments_of(a), a.side, (0, 1) if a.made_up else GARMENTS[a.task],
                                      epochs=a.judge_epochs)
    judge = lambda made, ratio: picture_mixtures.judged_shares(problem, made)
    return Task(Pool(problem.source), problem.target, problem.inputs, judge, lambda *a: beside(problem.inputs, *a))


def translation_of(a):
    return picture_translation.load(garments_of(a), a.side, TRANSLATION, epochs=a.judge_epochs)


def translation(a):
    problem = translation_of(a)
    judge = lambda made, ratio: picture_translation.judged(problem, made)
    return Task(Pool(problem.source), problem.target, problem.inputs, judge, lambda *a: beside(problem.inputs, *a))


def digits(a):
    problem = picture_mixtures.digits(garments_of(a), a.side,
                                      share=0 if a.task == "digits-none" else picture_mixtures.DIGITS, epochs=a.judge_epochs)
    source = picture_data.Noise(problem.target, picture_data.WIDTH)
    inputs = source.draw(np.random.default_rng(a.seed + 1), len(problem.garments.data.test))

    def grid(path, made):
        """Most likely digits first, then some of all."""
        scores = problem.digits.seen(made)[1]
        order = np.argsort(scores[:, 0] - scores[:, 1])
        picture_data.grid(path, np.concatenate([made[order[:32]], made[:96]]))

    return Task(source, problem.target, inputs, lambda made, ratio: picture_mixtures.judged_digits(problem, made, ratio()), grid)


def loaded(a):
    own = {"glyphs": known_partners, "emoji": known_partners, "trousers": translation, "digits": digits, "digits-none": digits}
    return own.get(a.task, class_shares)(a)


def yardsticks(a):
    """What needs no training."""
    if a.task == "trousers":
        return picture_translation.yardsticks(translation_of(a))
    return picture_pairs.yardsticks(pairs_of("made-up" if a.made_up else a.task, a.side))


def settings_of(a, dimension):
    kinds = {name: type(value) for name, value in methods.Settings(1)._asdict().items()}
    given = dict(pair.split("=", 1) for pair in a.set)
    given = {name: value == "True" if kinds[name] is bool else kinds[name](value) for name, value in given.items()}
    s = methods.Settings(**({"steps": a.steps or 1} | COMMON | BY_TASK.get(a.task.split("-")[0], {}) | (UOTM if a.method == "uotm" else {}) | given))
    # UOTM's cost is weight |T(x0) - x0|^2 beside a divergence of weight 1: half the squared distance beside tau d is the same.
    return s._replace(tau=1 / (2 * s.tau * dimension)) if a.method == "uotm" else s


def ratio_of(training, target):
    """The density ratio of target pictures, where the method has one."""
    if not isinstance(training, picture_run.Library):
        return None
    with training.trainer.model() as model, model.session() as session:
        return np.concatenate([session.density_ratio(target[i:i + RATIOS].reshape(len(target[i:i + RATIOS]), -1))
                               for i in range(0, len(target), RATIOS)])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--task", required=True, choices=TASKS)
    p.add_argument("--method", default="library", choices=[*picture_run.SETTINGS])
    p.add_argument("--made-up", action="store_true", help="data that need no download, for a trial of the program")
    p.add_argument("--side", type=int, default=0)
    p.add_argument("--seconds", type=float, default=0)
    p.add_argument("--steps", type=int, default=0)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings in place of the task's own")
    p.add_argument("--moved", action="store_true", help="of known partners: learn from pictures moved by a pixel too")
    p.add_argument("--judge-epochs", type=int, default=picture_mixtures.picture_judge.EPOCHS)
    p.add_argument("--grid", type=pathlib.Path)
    p.add_argument("--yardsticks", action="store_true", help="measure what needs no training instead")
    a = p.parse_args()
    torch.set_num_threads(1)
    a.side = a.side or SIDES.get(a.task, 16)
    if a.yardsticks:
        print(json.dumps(yardsticks(a)))
        return
    task = loaded(a)
    settings = settings_of(a, int(np.prod(task.target.shape[1:])))
    if not a.steps:
        settings = settings._replace(steps=picture_run.steps_in(a.seconds, a.method, task.target, task.source, settings, a.seed))
    training = picture_run.begun(a.method, task.target, task.source, settings, a.seed)
    curve, seconds, done = [], 0.0, 0
    for part in PARTS:
        ahead = max(1, settings.steps // part) - done
        start, wall = time.process_time(), time.perf_counter()
        training.run(max(0, ahead))
        seconds, done = seconds + time.process_time() - start, done + max(0, ahead)
        made = training.generate(task.inputs, 1)
        curve.append({"steps": done, "seconds": round(seconds, 3)} | task.judge(made, lambda: ratio_of(training, task.target)))
        print(f"{a.task}, {a.method}: {time.perf_counter() - wall:.0f} s by the clock, {curve[-1]}", file=sys.stderr, flush=True)
        if a.grid:
            task.grid(a.grid, made)
    print(json.dumps({"task": a.task, "method": a.method, "curve": curve, "settings": settings._asdict()}))


if __name__ == "__main__":
    main()
