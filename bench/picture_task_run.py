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

import picture_judge
import picture_methods as methods
import picture_problems

PARTS = (4, 2, 1)
# In place of the settings' defaults. UOTM has the library's problem and the rates of pictures.py.
COMMON = {"channels": 16, "batch": 32, "residual": True, "value_rate": 3.5e-4}
BY_TASK = {"glyphs": {"penalty": 0.1}, "emoji": {"penalty": 0.1},      # between drawings
           "shares": {"sigma": 0.2, "tau": 0.1, "generator_rate": 1e-3},
           "cats": {"penalty": 0.01}, "cars": {"penalty": 0.01},        # what train_images takes
           "digits": {"residual": False, "sigma": 0.3, "tau": 0.125, "channels": 32}}
UOTM = {"generator_rate": 2e-4, "value_rate": 1e-4, "beta2": 0.9}
RATIOS = 8192       # target pictures whose ratio is asked at once


def settings_of(a, dimension):
    kinds = {name: type(value) for name, value in methods.Settings(1)._asdict().items()}
    given = dict(pair.split("=", 1) for pair in a.set)
    given = {name: value == "True" if kinds[name] is bool else kinds[name](value) for name, value in given.items()}
    own = COMMON | BY_TASK.get(a.task.split("-")[0], {}) | (UOTM if a.method == "uotm" else {})
    s = methods.Settings(**({"steps": a.steps or 1} | own | given))
    if a.method != "uotm":
        return s
    # UOTM's cost is weight |T(x0) - x0|^2 beside a divergence of weight 1: half the squared distance beside tau d is the same, and
    # so is a potential that begins as the library's over tau d, and a penalty on its slope that is tau d times as large.
    whole = s.tau * dimension
    return s._replace(tau=1 / (2 * whole), value_factor=s.value_factor / whole, penalty=s.penalty * whole)


def ratio_of(training, target):
    """The density ratio of target pictures, where the method has one."""
    if not isinstance(training, picture_run.Library):
        return None
    with training.trainer.model() as model, model.session() as session:
        return np.concatenate([session.density_ratio(target[i:i + RATIOS].reshape(len(target[i:i + RATIOS]), -1))
                               for i in range(0, len(target), RATIOS)])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--task", required=True, choices=picture_problems.NAMES)
    p.add_argument("--method", default="library", choices=[*picture_run.SETTINGS])
    p.add_argument("--made-up", action="store_true", help="data that need no download, for a trial of the program")
    p.add_argument("--pictures", type=pathlib.Path, help="folder or archive of picture_folders.py")
    p.add_argument("--side", type=int, default=0)
    p.add_argument("--seconds", type=float, default=0)
    p.add_argument("--steps", type=int, default=0)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings in place of the task's own")
    p.add_argument("--moved", action="store_true", help="of known partners: learn from pictures moved by a pixel too")
    p.add_argument("--judge-epochs", type=int, default=picture_judge.EPOCHS)
    p.add_argument("--grid", type=pathlib.Path)
    p.add_argument("--yardsticks", action="store_true", help="measure what needs no training instead")
    a = p.parse_args()
    torch.set_num_threads(1)
    a.side = a.side or picture_problems.SIDES.get(a.task, 16)
    if a.yardsticks:
        print(json.dumps(picture_problems.yardsticks(a)))
        return
    task = picture_problems.loaded(a)
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
