"""Losses and gradients of the calls against the same algorithm in PyTorch alone, for every form of a generator, and a few steps of
the example. Prints how long the loss part takes in both."""
import argparse
import itertools
import pathlib
import tempfile
import unittest

import torch
from torch import nn

from sfeuot_torch import Problem, slope_of, sfeuot
import picture_data
import train_pictures

SIGMA, TAU = 0.6, 0.8
KL_LINEAR_FROM = 8.0


def conjugate(divergence, v):
    if divergence == "balanced":
        return v
    if divergence == "kl":
        r = v / TAU
        return TAU * (torch.exp(r.clamp(max=KL_LINEAR_FROM)) * (1 + (r - KL_LINEAR_FROM).clamp(min=0)) - 1)
    if divergence == "chi2":
        return torch.where(v > -2 * TAU, v + v * v / (4 * TAU), -TAU)
    return 2 * TAU * (nn.functional.softplus(v / TAU) - torch.log(torch.tensor(2.0)))


class Components:
    """What a generator gives, as the library reads it: m - x0, s and logits of (sources, K)."""

    def __init__(self, outputs, d, k, latents, deterministic):
        raw = d if deterministic else 2 * d
        self.logits = None if latents else outputs[:, k * raw:]
        each = (outputs if latents else outputs[:, :k * raw]).reshape(-1, k, raw)
        self.move = each[..., :d]
        self.s = torch.zeros_like(self.move) if deterministic else 0.5 * SIGMA * torch.exp(each[..., d:])
        self.log_weight = torch.zeros(each.shape[:2]) if latents else torch.log_softmax(self.logits, 1) + torch.log(torch.tensor(float(k)))


def drift_at(of, x0, t, xt):
    """The drift at x_t of (sources, K, d); t is (sources, K or 1)."""
    x0, t = x0[:, None], t[:, :, None]
    pull = (of.s ** 2 - SIGMA ** 2) / (t * of.s ** 2 + SIGMA ** 2 * (1 - t))
    return of.move + pull * (xt - x0 - t * of.move)


def sample(of, x0, t, xi, eta):
    """x1, x_t and the drift there."""
    x1 = x0[:, None] + of.move + of.s * xi
    of_t = t[:, :, None]
    xt = (1 - of_t) * x0[:, None] + of_t * x1 + SIGMA * (of_t * (1 - of_t)).sqrt() * eta
    return x1, xt, drift_at(of, x0, t, xt)


def value_loss(divergence, generated, target, slope, drift):
    return conjugate(divergence, target).mean() - generated.mean() + (slope * (0.5 * slope + drift)).sum(-1).mean()


def generator_loss(of, x0, t, xt, v, slope, latents, deterministic):
    """The loss, whose gradient is the one that the library takes: through x_t and the probabilities, but not through p unless
    deterministic."""
    n, k, d = xt.shape
    x0, t = x0[:, None], t[:, None, None]
    if deterministic and k == 1:
        moved = (slope * (t * of.move - (t * of.move).detach())).sum(-1)
        return (v + moved + 0.5 * t[..., 0] * (of.move ** 2).sum(-1)).mean()
    mean, variance = x0 + t * of.move, t ** 2 * of.s ** 2 + SIGMA ** 2 * t * (1 - t)
    zeta = ((xt - mean) / variance.sqrt()).detach()
    x = mean + variance.sqrt() * zeta
    v = v + (slope * (x - x.detach())).sum(-1)
    held = (lambda y: y) if deterministic else torch.Tensor.detach
    pairs = (x[:, :, None] - held(mean)[:, None]) ** 2 / held(variance)[:, None] + torch.log(held(variance))[:, None]
    log_pairs = held(of.log_weight)[:, None] - 0.5 * pairs.sum(-1)
    log_p = torch.logsumexp(log_pairs, 2) - torch.log(torch.tensor(float(k)))
    half = k // 2 if latents and not deterministic else 0
    if half:
        own = torch.stack([torch.arange(k) < half if i < half else torch.arange(k) >= half for i in range(k)])
        count = own.sum(1).float()
        log_part = torch.logsumexp(log_pairs.masked_fill(~own, -torch.inf), 2) - torch.log(count)
        log_p = (k * log_p - count * log_part) / (k - count)
    log_w = -0.5 * ((x - x0) ** 2 / (SIGMA ** 2 * t) + torch.log(SIGMA ** 2 * t)).sum(-1)
    weight = torch.exp(of.log_weight)
    return (weight * (v + SIGMA ** 2 * (log_p - log_w))).mean()


FORMS = [(0, 0, 5), (0, 0, 1), (1, 0, 6), (1, 1, 3), (1, 1, 1)]


def problem_of(form, d, divergence="kl", threads=1):
    latents, deterministic, k = form
    return Problem(d, SIGMA, sfeuot.Context(device="cpu", threads=threads), tau=TAU, components=k, latents=latents,
                   deterministic=deterministic, divergence=divergence)


def outputs_of(form, n, d):
    latents, deterministic, k = form
    raw = d if deterministic else 2 * d
    return (0.5 * torch.randn(n * k, raw) if latents else 0.5 * torch.randn(n, k * (raw + 1))).requires_grad_()


class Losses(unittest.TestCase):
    def close(self, found, expected, tolerance=1e-4):
        size = expected.abs().max().item() + 1e-6
        self.assertLessEqual((found - expected).abs().max().item(), tolerance * size)

    def test_bridges(self):
        """The drift at x_t is that of the component which gave x1; and x1 and x_t are spread as the formulas say."""
        for form in FORMS[2:]:
            latents, deterministic, k = form
            torch.manual_seed(1)
            n, d = 40, 7
            problem, outputs, x0 = problem_of(form, d), outputs_of(form, n, d), torch.randn(n, d)
            times = problem.times("value", n, 3, 5)
            x1, xt, drift = (x.view(n, k, d) for x in problem.bridge("value", x0, outputs, times, 3, 5))
            of, t = Components(outputs.detach(), d, k, latents, deterministic), times[..., None]
            brown = SIGMA * (t * (1 - t)).sqrt()
            self.close(drift, drift_at(of, x0, times, xt), 1e-3)
            bridge = (xt - (1 - t) * x0[:, None] - t * x1) / brown.clamp(min=1e-3)
            own = [] if deterministic else [(x1 - x0[:, None] - of.move) / of.s]
            for noise in [bridge, *own]:
                self.assertLess(abs(noise.mean().item()), 6 / noise.numel() ** 0.5)
                self.assertLess(abs(noise.var().item() - 1), 0.3)
            if deterministic:
                self.close(x1, x0[:, None] + of.move)

    def test_value_loss(self):
        """The loss and its gradient by a value network's weights, through the directional derivative."""
        for form, divergence in itertools.product(FORMS[:2], ("balanced", "kl", "chi2", "softplus")):
            torch.manual_seed(2)
            n, d, k = 20, 6, form[2]
            problem, x0 = problem_of(form, d, divergence), torch.randn(n, d)
            network = nn.Sequential(nn.Linear(d + 1, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 1))
            value = lambda t, x: network(torch.cat([x, t[:, None]], 1))[:, 0]
            times = problem.times("value", n, 1, 2)
            x1, xt, drift = problem.bridge("value", x0, outputs_of(form, n, d), times, 1, 2)
            y, one = torch.randn(n * k, d), torch.ones(n * k)

            def gradients(loss_of):
                network.zero_grad()
                _, slope = slope_of(value, times.flatten(), xt)
                loss = loss_of(value(one, x1), value(one, y), slope, drift)
                loss.backward()
                return loss.detach(), [p.grad.clone() for p in network.parameters()]

            found, by = gradients(problem.value_loss)
            expected, expected_by = gradients(lambda *given: value_loss(divergence, *given))
            self.close(found, expected)
            scale = max(g.abs().max().item() for g in expected_by)
            for a, b in zip(by, expected_by):
                if divergence == "balanced" and b.numel() == 1:
                    continue        # the level, which rounding alone moves
                self.assertLessEqual((a - b).abs().max().item(), 1e-4 * scale)

    def test_generator_loss(self):
        """The loss and its gradient by the generator's outputs."""
        for form in FORMS:
            latents, deterministic, k = form
            torch.manual_seed(3)
            n, d = 20, 6
            problem, outputs, x0 = problem_of(form, d), outputs_of(form, n, d), torch.randn(n, d)
            times = problem.times("generator", n, 1, 2)
            _, xt, _ = problem.bridge("generator", x0, outputs, times, 1, 2)
            v, slope = torch.randn(n * k), torch.randn(n * k, d)
            found = problem.generator_loss(outputs, x0, times, xt, v, slope)
            by, = torch.autograd.grad(found, outputs)
            of = Components(outputs, d, k, latents, deterministic)
            expected = generator_loss(of, x0, times, xt.view(n, k, d), v.view(n, k), slope.view(n, k, d), latents, deterministic)
            expected_by, = torch.autograd.grad(expected, outputs)
            # The library leaves out what of the logarithms of variances is the same in both.
            self.close(found, expected.detach())
            self.close(by, expected_by)

    def test_the_example_trains(self):
        torch.set_num_threads(1)
        options = argparse.Namespace(seed=0, sigma=0.1, tau=100.0, divergence="kl", batch=8, channels=8)
        training = train_pictures.Training(picture_data.made_up(16, 100).train, options)
        losses = [training.step(step) for step in range(3)]
        self.assertTrue(all(loss == loss for pair in losses for loss in pair))
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "grid.png"
            picture_data.grid(path, training.generate(16))
            self.assertEqual(path.read_bytes()[:4], b"\x89PNG")


if __name__ == "__main__":
    unittest.main()
