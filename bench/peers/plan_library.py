"""The library, through its C API.

Rates tried at d = 16, epsilon = 1, 2000 steps with a cosine decay over the whole run, generator / value: 1e-3 / 3e-4, 1e-3 / 1e-3,
2e-3 / 1e-3, 3e-3 / 2e-3, 4e-3 / 4e-3. The best is used in every cell; it is not the default, which is made for trainings whose
length is not known. At d = 64 and 128, epsilon = 1, 5e-3 / 4e-3 and 6e-3 / 4e-3 are better for 1000 to 1500 steps and worse for
5000: V becomes rough near t = 1 (all before the networks saw squares). Of batches, 64, 128 and 256 source samples with 8 components, and 64 and 128 with 16; latents
were tried as well.
"""
import math
import time

import numpy as np

import runs
import sfeuot_ctypes as sfeuot
from benchmark import width

CHUNK_ROWS = 50_000
PROBE_SECONDS = 2.0     # part of the budget; the first quarter of it, in which memory and clocks settle, is not measured


def settings(dim, epsilon):
    """Trainer fields; `decay` is the part of the steps that the budget allows after which the rates have come to their floor,
    None for constant rates."""
    return dict(hidden_width=width(dim), batch_sources=64, components=8, decay=1.0, decay_floor=0.02, generator_learning_rate=3e-3, value_learning_rate=2e-3)


class Method:
    done = False

    def __init__(self, task, decay, **fields):
        self.task, self.decay, self.steps = task, decay, 0
        self.fields = dict(divergence="balanced", sigma=math.sqrt(task.epsilon), sigma_units="data", seed=task.seed, **fields)
        self.context = sfeuot.Context(device=runs.DEVICE, threads=task.threads)
        self.trainer = None

    def start(self, seconds):
        """The trainer whose decay fits the budget: steps per second are measured on one that is thrown away. Seconds used."""
        began = time.perf_counter()
        if self.decay:
            probe = min(PROBE_SECONDS, seconds / 2)
            with sfeuot.Trainer(self.context, self.task.source, self.task.target, **self.fields) as trainer:
                making = time.perf_counter() - began
                trainer.run_for(250 * probe)
                steps, _ = trainer.run_for(750 * probe)
            left = max(self.task.budget - probe - 2 * making, probe)
            self.fields["decay_steps"] = max(1, int(self.decay * steps / (0.75 * probe) * left))
        self.trainer = sfeuot.Trainer(self.context, self.task.source, self.task.target, **self.fields)
        return time.perf_counter() - began

    def train(self, seconds):
        if not self.trainer:
            seconds = max(0.0, seconds - self.start(seconds))
        # On a busy machine the start may have taken all of a smoke run's time.
        if seconds > 0:
            self.steps += self.trainer.run_for(1000 * seconds)[0]

    def samplers(self):
        def generate(x, seed):
            with self.trainer.model() as model, model.session() as session:
                return np.concatenate([session.generate(x[i:i + CHUNK_ROWS], seed, first_row=i)
                                       for i in range(0, len(x), CHUNK_ROWS)]).astype(np.float64)
        return {"library": generate}
