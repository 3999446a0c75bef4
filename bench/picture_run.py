"""One training of a generator of pictures, judged on the way: a line of JSON.

    python picture_run.py --method library --seconds 300 [--set tau=0.25 ...] [--grid grid.png]

`--seconds` are processor seconds of one thread, which on a quiet machine are those of the clock; a trial beforehand, thrown away,
tells how many steps they are, and the rates fall over these. `--steps` in its place gives them. Judged is the averaged generator
at 1/8, 1/4, 1/2 and the whole of the steps; that takes no part of the seconds.
"""
import argparse
import json
import os
import pathlib
import sys
import time

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import numpy as np
import torch

import picture_data
import picture_judge
import sfeuot_ctypes as sfeuot

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "peers"))
import picture_methods as methods

# What a method has in place of the settings' defaults. Of UOTM the rates, the penalty and the size of the potential were tried.
SETTINGS = {"library": {}, "torch": {}, "uotm": {"generator_rate": 2e-3, "value_rate": 3.5e-4, "penalty": 0.2}}
PARTS = (8, 4, 2, 1)        # the training is judged at one over these
TRIAL_SECONDS, TRIAL_STEPS = 4.0, 2
GRID = 128                  # pictures of a grid
SIMULATED = 2000            # pictures of the simulated process


class Library:
    """The library's trainer, with the interface of the peers' trainings."""

    def __init__(self, target, noise, s, seed, threads=1):
        self.shape, self.rng = target.shape[1:], np.random.default_rng(seed)
        d = int(np.prod(self.shape))

        def fill(batch):
            batch[:] = noise.draw(self.rng, len(batch)).reshape(len(batch), d)

        low, high = picture_data.RANGE if s.bounded else (0, 0)
        network = {"kind": "conv", "channels": s.channels, "levels": s.levels, "blocks": s.blocks, "residual": int(s.residual),
                   "low": low, "high": high}
        generator = network | {"upsampling": s.upsampling, "norm_groups": s.norm_groups, "attention_heads": s.attention_heads}
        self.context = sfeuot.Context(threads=threads)
        self.trainer = sfeuot.Trainer(
            self.context, sfeuot.Sampler(fill, self.shape), target, sigma_units="relative", sigma=s.sigma, tau=s.tau,
            divergence=s.divergence, latent_dimension=s.latent, deterministic=1, components=1, batch_sources=s.batch,
            generator_learning_rate=s.generator_rate, value_learning_rate=s.value_rate, adam_beta1=s.beta1, adam_beta2=s.beta2,
            ema_decay=s.ema, gradient_penalty=s.penalty, decay_steps=s.steps, decay_floor=s.decay_floor, seed=seed, value_network=network,
            generator_network=generator)

    def run(self, steps):
        self.trainer.step(steps)

    def generate(self, x0, seed):
        with self.trainer.model() as model, model.session() as session:
            return session.generate(x0.reshape(len(x0), -1), seed).reshape(x0.shape)

    def simulate(self, x0, steps, rng):
        """The process that the value function drives, by Euler's method: ends of the paths that begin at x0."""
        with self.trainer.model() as model, model.session() as session:
            x, noise = x0.reshape(len(x0), -1).copy(), np.float32(model.info()["sigma"] * np.sqrt(1 / steps))
            for i in range(steps):
                x += session.drift(i / steps, x) / np.float32(steps) + noise * rng.standard_normal(x.shape, np.float32)
            return x.reshape(x0.shape)


class Peer:
    """A peer's training, in units of pixels."""

    def __init__(self, method, target, noise, s, seed):
        rng = np.random.default_rng(seed)
        self.units = picture_data.Units.of(noise.draw(rng, picture_data.NORMALISING_ROWS), target)
        if s.bounded:
            low, high = picture_data.RANGE
            self.units = self.units._replace(centre=np.float32(0.5 * (low + high)))
            s = s._replace(half=0.5 * (high - low) / self.units.scale)
        normal = lambda x: torch.from_numpy((x - self.units.centre) / np.float32(self.units.scale))
        pictures = normal(target)
        self.normal, self.latent = normal, s.latent
        if method == "uotm":
            # Its cost is weight |T(x0) - x0|^2 beside a divergence of weight 1. Half the squared distance beside tau d is the same, and
            # so is a potential that begins as the library's over tau d.
            whole = s.tau * target[0].size
            s = s._replace(tau=1 / (2 * whole), value_factor=s.value_factor / whole)
        draw = lambda rows: pictures[torch.randint(len(pictures), (rows,))]
        self.training = methods.Training(method, lambda rows: normal(noise.draw(rng, rows)), draw, target.shape[1:], s, seed)
        self.run = self.training.run

    def generate(self, x0, seed):
        z = torch.randn(len(x0), self.latent, generator=torch.Generator().manual_seed(seed))
        return self.training.generate(self.normal(x0), z).numpy() * self.units.scale + self.units.centre


def begun(method, target, noise, s, seed):
    return Library(target, noise, s, seed) if method == "library" else Peer(method, target, noise, s, seed)


def steps_in(seconds, *training):
    """How many steps of a training take so many processor seconds, by a trial."""
    trial, done = begun(*training), 0
    trial.run(1)
    start = time.process_time()
    while (now := time.process_time() - start) < min(TRIAL_SECONDS, seconds):
        trial.run(TRIAL_STEPS)
        done += TRIAL_STEPS
    return max(1, round(seconds * done / now))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--method", default="library", choices=[*SETTINGS])
    p.add_argument("--data", default="fashion", choices=["fashion", "made-up"])
    p.add_argument("--side", type=int, default=16)
    p.add_argument("--rows", type=int, default=2000, help="pictures of made-up data")
    p.add_argument("--noise", type=float, default=picture_data.WIDTH, help="width of the source's noise in spreads of the target")
    p.add_argument("--white", action="store_true", help="independent numbers in place of the covariance of the target's pictures")
    p.add_argument("--seconds", type=float, default=0)
    p.add_argument("--steps", type=int, default=0)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings in place of the method's own")
    p.add_argument("--judged", type=int, nargs="*", default=PARTS, help="the training is judged at one over these")
    p.add_argument("--judge-epochs", type=int, default=picture_judge.EPOCHS)
    p.add_argument("--grid", type=pathlib.Path)
    p.add_argument("--simulated", type=int, default=0, help="steps of the process that the library's value function drives; judged too")
    p.add_argument("--model", type=pathlib.Path, help="file for the library's model")
    p.add_argument("--save", type=pathlib.Path, help=".npy file for the generated pictures")
    a = p.parse_args()
    torch.set_num_threads(1)
    data = picture_data.load(a.data, a.side, a.rows)
    judge = picture_judge.Judge(data, a.data, epochs=a.judge_epochs)
    kinds = {name: type(value) for name, value in methods.Settings(1)._asdict().items()}
    given = dict(pair.split("=", 1) for pair in a.set)
    given = {name: value == "True" if kinds[name] is bool else kinds[name](value) for name, value in given.items()}
    noise = picture_data.Noise(data.train, a.noise, a.white)
    settings = methods.Settings(**({"steps": a.steps or 1} | SETTINGS[a.method] | given))
    if not a.steps:
        settings = settings._replace(steps=steps_in(a.seconds, a.method, data.train, noise, settings, a.seed))
    training = begun(a.method, data.train, noise, settings, a.seed)
    x0 = noise.draw(np.random.default_rng(a.seed + 1), len(data.test))
    curve, seconds, done = [], 0.0, 0
    for part in sorted(a.judged, reverse=True):
        ahead = max(1, settings.steps // part) - done
        start, wall = time.process_time(), time.perf_counter()
        training.run(ahead)
        seconds, done = seconds + time.process_time() - start, done + ahead
        made = training.generate(x0, 1)
        curve.append({"steps": done, "seconds": round(seconds, 3), "frechet": judge.distance(made)})
        print(f"{a.method}: step {done}, {seconds:.0f} s ({time.perf_counter() - wall:.0f} by the clock), Frechet {curve[-1]['frechet']:.2f}",
              file=sys.stderr, flush=True)
        if a.grid:
            picture_data.grid(a.grid, made[:GRID])
    some = slice(0, 1000)
    found = judge.measure(made) | {"alike": picture_judge.alike(made[some], training.generate(x0[some], 2), noise.mean)}
    if a.simulated:
        few = x0[:SIMULATED]
        ends = training.simulate(few, a.simulated, np.random.default_rng(a.seed + 2))
        found |= {"simulated": judge.distance(ends), "as many in one step": judge.distance(made[:SIMULATED])}
        if a.grid:
            picture_data.grid(a.grid.with_stem(a.grid.stem + "_simulated"), ends[:GRID])
    if a.model:
        with training.trainer.model() as model:
            model.save(a.model)
    if a.save:
        np.save(a.save, made)
    print(json.dumps({"method": a.method, "curve": curve, "best": min(c["frechet"] for c in curve), **found,
                      "settings": settings._asdict()}))


if __name__ == "__main__":
    main()
