"""The library's losses as PyTorch functions, so that networks of one's own train with them.

    problem = Problem(dimension, sigma, components=8)
    times = problem.times("value", len(x0), seed, step)
    x1, xt, drift = problem.bridge("value", x0, generator(x0).detach(), times, seed, step)
    loss = problem.value_loss(value(1, x1), value(1, y), slope_of(value, times, xt), drift)
    loss.backward()

Shapes and formulas are those of SfeuotProblem in include/sfeuot.h.
"""
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
import sfeuot_ctypes as sfeuot  # noqa: E402


class Problem:
    """A problem for samples of `dimension` numbers. Other arguments are the fields of SfeuotProblemConfig."""

    def __init__(self, dimension, sigma, context=None, **config):
        self.calls = sfeuot.Problem(context or sfeuot.Context(device="cpu"), dimension, sigma, **{"sigma_units": "data", **config})
        self.dimension, self.components = dimension, self.calls.config.components

    def times(self, half, sources, seed, step):
        """Times (sources, components) of the value half, (sources,) of the generator's, in host memory."""
        return torch.from_numpy(self.calls.times(half, sources, seed, step))

    def bridge(self, half, x0, outputs, times, seed, step):
        """x1, x_t and the drift, each (sources * components, dimension)."""
        x0, outputs = x0.detach().contiguous(), outputs.detach().contiguous()
        rows = x0.numel() // self.dimension * self.components
        points = [x0.new_empty(rows, self.dimension) for _ in range(3)]
        self.calls.sample(half, x0, outputs, times.numpy(), *points, seed=seed, step=step)
        return points

    def value_loss(self, generated, target, slope, drift):
        """The value function's loss. `slope` is grad V(t, x_t) with a graph (create_graph=True), `drift` that of the bridge."""
        return _ValueLoss.apply(self.calls, generated, target, slope, drift)

    def generator_loss(self, outputs, x0, times, state, value, slope):
        """The generator's loss, differentiable by what its network gave."""
        held = (x.detach().contiguous() for x in (x0, state, value, slope))
        return _GeneratorLoss.apply(self.calls, outputs, times, *held)


class _ValueLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, calls, generated, target, slope, drift):
        given = [x.detach().contiguous() for x in (generated, target, slope, drift)]
        results = [torch.empty_like(x) for x in given[:3]]
        terms = calls.value_loss(*given, *results)
        ctx.save_for_backward(*results)
        return generated.new_tensor(terms["value_loss"])

    @staticmethod
    def backward(ctx, grad):
        # The last one is the direction w: PyTorch goes on from the slope, which is <grad V, w> differentiated.
        return None, *(grad * result for result in ctx.saved_tensors), None


class _GeneratorLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, calls, outputs, times, x0, state, value, slope):
        outputs = outputs.detach().contiguous()
        by_outputs = torch.empty_like(outputs)
        loss = calls.generator_loss(x0, outputs, times.numpy(), state, value, slope, by_outputs)
        ctx.save_for_backward(by_outputs)
        return outputs.new_tensor(loss)

    @staticmethod
    def backward(ctx, grad):
        by_outputs, = ctx.saved_tensors
        return None, grad * by_outputs, None, None, None, None, None


def slope_of(value, times, state, create_graph=True):
    """V(t, x_t) and its gradient by x_t."""
    state = state.detach().requires_grad_()
    v = value(times, state)
    slope, = torch.autograd.grad(v.sum(), state, create_graph=create_graph)
    return v, slope
