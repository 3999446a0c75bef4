"""Whether a training on a GPU is the CPU's: gradients and weights after 1 and 200 steps from one seed, equal bits of equal
trainings; the same with products on tensor cores, within bounds of their arithmetic.

    python bench/gpu_training.py --output training.json
    python bench/gpu_training.py --first                # one training of 100 steps and a few samples, printed
    python bench/gpu_training.py --smoke                # a few steps of small networks: a test of the program; also with --first

What is compared are checkpoints, saved through the C API: the largest difference of a tensor relative to its largest number.
Adam divides by |g| + 1e-8, so a gradient of about 1e-8 turns its own rounding into a part of a whole step, which no device
shares with another. After one step that step is taken back from each side's weights, with its own gradient, so that what is left
is where both began if both made the step that their gradients ask for; the gradients are compared themselves. Weights are
compared all, and once more where the gradient (the first moment) is above 1e-5, which tells rounding from a fault.
Ends with status 1 where a bar is not met. `--device cpu` puts the CPU in the GPU's place, to try the program.
"""
import argparse
import itertools
import json
import pathlib
import struct
import tempfile
import time

import numpy as np

import sfeuot_ctypes as sfeuot
from problems import Mixture, pools

# dimension, hidden width, the rest: a network that gives the components, and once one with latents
COMPONENTS = {"batch_sources": 128, "components": 8}
LATENTS = {"latent_dimension": 8, "batch_sources": 64, "components": 16}
SIZES = [(2, 128, COMPONENTS), (16, 256, COMPONENTS), (2, 128, LATENTS)]
PRODUCTS = ["fused", "cublaslt"]
# What the arithmetic of products rounds a number by, at most. Bars after one step: two units for weights, and twenty for gradients,
# which went through many products. A longer training amplifies them, and is compared with itself alone.
UNITS = {"f32": 0.0, "tf32": 2.0**-11, "bf16": 2.0**-8}
# steps -> largest relative difference to the CPU's; of gradients, more where the CPU's own is (Problem.disturbed)
BARS = {1: 1e-5, 200: 1e-3}
SMOKE_SIZES = [(2, 16, {"batch_sources": 8, "components": 8}), (2, 16, {**LATENTS, "batch_sources": 8, "components": 2})]
SMOKE_BARS = {1: 1e-5, 4: 1e-3}
WEIGHTS = ("weights", "average")
LEAST_GRADIENT = 1e-5


def read(path):
    """Tensors of a safetensors file by name: the length of the JSON header (u64), the header, the data."""
    data = pathlib.Path(path).read_bytes()
    length, = struct.unpack_from("<Q", data)
    header, start = json.loads(data[8:8 + length]), 8 + length
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            assert entry["dtype"] == "F32", entry
            begin, end = entry["data_offsets"]
            tensors[name] = np.frombuffer(data[start + begin:start + end], "<f4")
    return tensors


class Problem:
    """One size: its data, and trainings on them."""

    def __init__(self, dim, width, config, folder):
        self.dim, self.width, self.config, self.folder = dim, width, config, pathlib.Path(folder)
        self.sides = pools(Mixture(dim, 1.0), 20_000)

    def trainer(self, context):
        return sfeuot.Trainer(context, *self.sides, divergence="balanced", sigma=1.0, sigma_units="data", hidden_width=self.width,
                              seed=1, **self.config)

    def tensors(self, trainer):
        trainer.save(self.folder / "checkpoint")
        return read(self.folder / "checkpoint")

    def trained(self, context, steps):
        """The checkpoint after each of `steps`, and the seconds of all."""
        with self.trainer(context) as trainer:
            start, done, found = time.perf_counter(), 0, {}
            for count in steps:
                trainer.step(count - done)
                done, found[count] = count, self.tensors(trainer)
            return found, time.perf_counter() - start

    def disturbed(self, context, steps, times=3):
        """As `trained`, from samples whose numbers are changed in their last bits, some times over. A component that is drawn near an
        edge then is another one, and so is a step's gradient; and of a generator that begins near the plan of peaks the first
        gradient is a small difference of large terms."""
        sides, found = self.sides, []
        for seed in range(times):
            rng = np.random.default_rng(seed)
            self.sides = [side * (1 + 6e-8 * rng.integers(-1, 2, side.shape)).astype(side.dtype) for side in sides]
            found.append(self.trained(context, steps)[0])
        self.sides = sides
        return found

    def resumed(self, context, steps):
        """As the last of `trained`, cut in half: the second half by another trainer, from the first one's checkpoint."""
        path = self.folder / "half"
        with self.trainer(context) as trainer:
            trainer.step(steps // 2)
            trainer.save(path)
        with sfeuot.Trainer.load(context, path, *self.sides) as trainer:
            trainer.step(steps - steps // 2)
            return self.tensors(trainer)


def difference(expected, found, parts, least=0.0):
    """(largest difference relative to the largest number, tensor) where gradients are above `least`."""
    def of(name, a):
        counts = np.abs(expected[name.split(".")[0] + ".first_moment"]) >= least
        return float((np.abs(found[name] - a) * counts).max() / np.abs(a).max())
    apart = {name: of(name, a) for name, a in expected.items() if name.endswith(parts)}
    assert apart
    worst = max(apart, key=lambda name: apart[name] if np.isfinite(apart[name]) else np.inf)
    return apart[worst], worst


def without_first_step(tensors):
    """A checkpoint after one step whose weights and averages are those before it, but for what that step made of them beyond
    Adam's rate g / (|g| + 1e-8) with the gradient g that the checkpoint itself keeps."""
    config = sfeuot.trainer_config()
    result = dict(tensors)
    for network, rate in (("value", config.value_learning_rate), ("generator", config.generator_learning_rate)):
        gradient = tensors[f"{network}.first_moment"].astype(float) / (1 - config.adam_beta1)
        step = rate * gradient / (np.abs(gradient) + 1e-8)
        # The average has nine tenths of the first step.
        for part, share in (("weights", 1.0), ("average", 0.9)):
            result[f"{network}.{part}"] = tensors[f"{network}.{part}"] + share * step
    return result


def unequal(a, b):
    """How many tensors differ in any bit."""
    return sum(a[name].tobytes() != b[name].tobytes() for name in a)


def open_context(device, products, precision):
    gpu = {"cuda_products": products, "cuda_precision": precision} if device == "cuda" else {}
    return sfeuot.Context(device=device, **gpu)


def compare(device, sizes, bars, report):
    steps = sorted(bars)
    with tempfile.TemporaryDirectory() as folder, sfeuot.Context(device="cpu") as cpu:
        for dim, width, config in sizes:
            problem = Problem(dim, width, config, folder)
            expected, cpu_seconds = problem.trained(cpu, steps)
            disturbed = problem.disturbed(cpu, steps)
            for products, (precision, unit) in itertools.product(PRODUCTS, UNITS.items()):
                title = f"d {dim}, width {width}{', latents' * ('latent_dimension' in config)}, {products}, {precision}"
                try:
                    with open_context(device, products, precision) as context:
                        found, seconds = problem.trained(context, steps)
                        for count in steps[:1] if unit else steps:
                            a, b = expected[count], found[count]
                            if count == 1:
                                a, b = without_first_step(a), without_first_step(b)
                            for what, parts, least in [("weights", WEIGHTS, 0.0),
                                                       (f"weights whose gradient is above {LEAST_GRADIENT}", WEIGHTS, LEAST_GRADIENT),
                                                       ("gradients", ("first_moment",), 0.0)]:
                                value, tensor = difference(a, b, parts, least)
                                bar = max(bars[count], unit * (20 if what == "gradients" else 2))
                                if what == "gradients":
                                    # No more can be asked than that two CPU trainings agree on what is the same to rounding.
                                    bar = max(bar, 2 * max(difference(a, other[count], parts, least)[0] for other in disturbed))
                                report(f"{title}: {what} after {count} step{'s' * (count > 1)} against the CPU's", bar, value,
                                       value < bar, tensor=tensor, seconds=seconds, cpu_seconds=cpu_seconds)
                        again, _ = problem.trained(context, steps)
                        for what, other in [("a second training", again[steps[-1]]),
                                            ("one resumed half-way", problem.resumed(context, steps[-1]))]:
                            value = unequal(found[steps[-1]], other)
                            report(f"{title}: tensors with other bits in {what}", 0, value, value == 0)
                except sfeuot.Error as error:
                    report(f"{title}: ends", "no error", str(error), False)


def first(device, size, steps):
    lines = []
    with sfeuot.Context(device=device, log=lambda level, text: lines.append(text), log_level="debug") as context, \
            tempfile.TemporaryDirectory() as folder:
        problem = Problem(*size, folder)
        with problem.trainer(context) as trainer:
            metrics = trainer.step(steps)
            with trainer.model() as model, model.session() as session:
                samples = session.generate(problem.sides[0][:1000], seed=1)
    print(*lines, sep="\n")
    print(json.dumps(metrics, indent=1))
    print(f"1000 samples: mean {samples.mean(0)}, standard deviation {samples.std(0)}; target {problem.sides[1].mean(0)}, "
          f"{problem.sides[1].std(0)}")
    assert np.isfinite(samples).all() and np.isfinite(list(metrics.values())).all()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--first", action="store_true")
    p.add_argument("--smoke", action="store_true")
    p.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    p.add_argument("--output", type=pathlib.Path, help="JSON file, written anew after each check")
    a = p.parse_args()
    sizes, bars = (SMOKE_SIZES, SMOKE_BARS) if a.smoke else (SIZES, BARS)
    if a.first:
        return first(a.device, sizes[0], 4 if a.smoke else 100)
    checks = []

    def report(check, bar, value, passed, **more):
        checks.append({"check": check, "bar": bar, "value": value, "result": "passed" if passed else "failed", **more})
        print(f"{'pass' if passed else 'FAIL'}  {check}: {value} (bar {bar})", flush=True)
        if a.output:
            a.output.write_text(json.dumps(checks, indent=1) + "\n")

    compare(a.device, sizes, bars, report)
    raise SystemExit(0 if all(check["result"] == "passed" for check in checks) else 1)


if __name__ == "__main__":
    main()
