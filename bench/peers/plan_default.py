"""The library through its C API with its default settings, for a fixed number of steps, over which the rates decay."""
import sfeuot_ctypes as sfeuot
from runs import generator


def settings(dim, epsilon):
    return {}


class Method:
    done = False

    def __init__(self, task, steps, **fields):
        self.steps = steps
        self.context = sfeuot.Context(threads=task.threads)
        self.trainer = sfeuot.Trainer(self.context, task.source, task.target, divergence="balanced", sigma=task.epsilon**0.5,
                                      sigma_units="data", seed=task.seed, decay_steps=steps, **fields)
        self.before = self.trainer.model().session()

    def train(self, seconds):
        """All steps, however long they take."""
        self.trainer.step(self.steps)

    def samplers(self):
        return {"library": generator(self.trainer.model().session()), "library, step 0": generator(self.before)}
