"""Trainings of pictures in PyTorch with the library's networks: the same method, and UOTM.

UOTM: Choi, Choi, Kang, Generative modeling through the semi-dual formulation of unbalanced optimal transport (NeurIPS 2023), with
both conjugates the same and a gradient penalty on the target's pictures (R1), as in the authors' program.

    training = Training(method, source, target, settings)      # Draws: draw(rows) gives normalised pictures
    training.run(steps); training.generate(x0, z)
"""
import copy
import math
import typing

import torch
from torch.nn import functional as F

import picture_networks as networks

VALUE_TIME_MAX, GENERATOR_TIME_MIN = 0.995, 0.2
KL_LINEAR_FROM = 8.0


class Settings(typing.NamedTuple):
    """Of a training, in units in which pixels have a spread of 1 or, where it says so, relative to that. tau is that of the library, or UOTM's weight of the cost for each number of a picture over the pictures' count
    of numbers; sigma is UOTM's nothing."""
    steps: int
    batch: int = 32
    generator_rate: float = 2e-3
    value_rate: float = 3.5e-4
    beta1: float = 0.5
    beta2: float = 0.99
    decay_floor: float = 0.05
    ema: float = 0.998
    divergence: str = "softplus"
    tau: float = 2.0        # for each number of a picture
    sigma: float = 0.3
    latent: int = 32
    latent_scale: float = 1.0       # of the embedding's initial weights
    channels: int = 32
    levels: int = 0
    blocks: int = 1
    residual: bool = False
    bounded: bool = True    # generated pixels stay in the data's range
    half: float = 0.0       # that of this range, 0 for none: it follows from the data
    value_factor: float = networks.VALUE_OF_NUMBER    # for each number of a picture
    at_end: float = 0.5     # share of the generator's rows at t = 1
    action: float = 1.0
    penalty: float = 0.0    # on the slope at the target's pictures (R1)
    value_steps: int = 1
    threads: int = 1
    # Layers of the generator that the library alone has.
    upsampling: str = "nearest"
    norm_groups: int = 0
    attention_heads: int = 0


def conjugate(name, tau):
    """Psi*, whose slope at 0 is 1."""
    return {"balanced": lambda v: v,
            "kl": lambda v: tau * (torch.exp((v / tau).clamp(max=KL_LINEAR_FROM)) * (1 + (v / tau - KL_LINEAR_FROM).clamp(min=0)) - 1),
            "chi2": lambda v: torch.where(v > -2 * tau, v + 0.25 * v * v / tau, -tau),
            "softplus": lambda v: 2 * tau * (F.softplus(v / tau) - math.log(2))}[name]


def numbers(x):
    """Sums over the numbers of each picture."""
    return x.flatten(1).sum(1)


def column(t):
    return t[:, :, None, None]


def bridge(x0, m, t, noise, sigma):
    """A point at time t of the bridge from x0 to m."""
    t = column(t)
    return torch.lerp(x0, m, t) + sigma * (t * (1 - t)).sqrt() * noise


class Transport:
    """The library's method: a value function along bridges, and a generator that follows it."""

    def __init__(self, shape, s):
        d = math.prod(shape)
        self.s, self.conjugate = s, conjugate(s.divergence, s.tau * d)
        size = {"channels": s.channels, "levels": s.levels, "blocks": s.blocks}
        self.value = networks.Value(shape, factor=s.value_factor * d, **size)
        self.generator = networks.Generator(shape, s.latent, residual=s.residual, half=s.half or None, **size)
        with torch.no_grad():
            self.generator.embed[0].weight *= s.latent_scale

    def value_rows(self, generator, x0, z):
        """m, a point of the bridge to it, the drift there and its time."""
        m, noise = generator(x0, z), torch.randn_like(x0)
        t = VALUE_TIME_MAX * torch.rand(len(x0), 1)
        drift = m - x0 - self.s.sigma * column(t / (1 - t)).sqrt() * noise
        return m, bridge(x0, m, t, noise, self.s.sigma), drift, t

    def penalty(self, value, y):
        """Half the squared slope at the target's pictures, times the setting of that name."""
        y.requires_grad_()
        slope, = torch.autograd.grad(value(y).sum(), y, create_graph=True)
        return 0.5 * self.s.penalty * numbers(slope ** 2).mean()

    def dual(self, value, m, y, slope, drift):
        """Minus the dual, from the slope of V on the bridges."""
        ends = value(torch.ones(len(m) + len(y), 1), torch.cat([m, y]))
        potential = ends[:len(m)].mean() - self.conjugate(ends[len(m):]).mean()
        return self.s.action * numbers(slope * (0.5 * slope + drift)).mean() - potential

    def value_loss(self, x0, y, z):
        with torch.no_grad():
            m, x, drift, t = self.value_rows(self.generator, x0, z)
        x.requires_grad_()
        slope, = torch.autograd.grad(self.value(t, x).sum(), x, create_graph=True)
        loss = self.dual(self.value, m, y, slope, drift)
        return loss + self.penalty(lambda y: self.value(torch.ones(len(y), 1), y), y) if self.s.penalty else loss

    def cost(self, generator, value, x0, z):
        m = generator(x0, z)
        t = GENERATOR_TIME_MIN + (1 - GENERATOR_TIME_MIN) * torch.rand(len(x0), 1)
        at_end = torch.arange(len(x0))[:, None] < self.s.at_end * len(x0)
        t = torch.where(at_end, 1.0, t)
        x = bridge(x0, m, t, torch.randn_like(x0), self.s.sigma)
        return (value(t, x) + 0.5 * t[:, 0] * numbers((m - x0) ** 2)).mean()

    def generator_loss(self, x0, z):
        return self.cost(self.generator, self.value, x0, z)

    def compiled(self):
        """Both losses' gradients, each traced into one program."""
        from torch.func import functional_call, grad

        def value_part(params, generator_params, x0, y, z):
            m, x, drift, t = self.value_rows(lambda *a: functional_call(self.generator, generator_params, a), x0, z)

            def loss(params):
                value = lambda t, x: functional_call(self.value, params, (t, x))
                return self.dual(value, m, y, grad(lambda x: value(t, x).sum())(x), drift)
            return grad(loss)(params)

        def generator_part(params, value_params, x0, z):
            value = lambda *a: functional_call(self.value, value_params, a)
            return grad(lambda params: self.cost(lambda *a: functional_call(self.generator, params, a), value, x0, z))(params)

        value, generator = (dict(network.named_parameters()) for network in (self.value, self.generator))
        parts = torch.compile(value_part), torch.compile(generator_part)
        with_params = [lambda *a: parts[0](value, generator, *a), lambda *a: parts[1](generator, value, *a)]
        return [torch.no_grad()(lambda *a, part=part: list(part(*a).values())) for part in with_params]


class Uotm(Transport):
    """A potential at the target alone; the cost is tau |T(x0) - x0|^2 in units in which the conjugate's tau is 1."""

    def __init__(self, shape, s):
        super().__init__(shape, s)
        self.conjugate = conjugate(s.divergence, 1.0)
        self.weight = s.tau

    def potential(self, y):
        return self.value(torch.ones(len(y), 1), y)

    def value_loss(self, x0, y, z):
        """The authors' potential is minus this V, as in the library's method: V is lowered where there are pictures of the target."""
        with torch.no_grad():
            m = self.generator(x0, z)
        loss = (self.conjugate(self.potential(y)).mean() +
                self.conjugate(-self.potential(m) - self.weight * numbers((m - x0) ** 2)).mean())
        if self.s.penalty:
            loss = loss + self.penalty(self.potential, y)
        return loss

    def generator_loss(self, x0, z):
        m = self.generator(x0, z)
        return (self.potential(m) + self.weight * numbers((m - x0) ** 2)).mean()


METHODS = {"torch": Transport, "uotm": Uotm}


class Training:
    """Both networks, Adam for each, and the moving average that generates."""

    def __init__(self, method, source, target, shape, s, seed=0):
        if (s.upsampling, s.norm_groups, s.attention_heads) != ("nearest", 0, 0):
            raise ValueError("upsampling, norm_groups and attention_heads are the library's alone")
        torch.manual_seed(seed)
        self.s, self.draws, self.done = s, (source, target), 0
        self.method = METHODS[method](shape, s)
        for network in (self.method.value, self.method.generator):
            network.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.method.generator)
        adam = lambda network, rate: torch.optim.Adam(network.parameters(), rate, (s.beta1, s.beta2), fused=True)
        self.adams = adam(self.method.value, s.value_rate), adam(self.method.generator, s.generator_rate)
        self.rates = [torch.optim.lr_scheduler.LambdaLR(a, self.rate_factor) for a in self.adams]
        self.parameters = [list(network.parameters()) for network in (self.method.value, self.method.generator)]
        losses = self.method.value_loss, self.method.generator_loss
        self.gradients = [lambda *a, which=which: torch.autograd.grad(losses[which](*a), self.parameters[which], allow_unused=True)
                          for which in (0, 1)]

    def rate_factor(self, step):
        """A cosine to the floor, as the library's."""
        progress = min(step / self.s.steps, 1)
        return self.s.decay_floor + (1 - self.s.decay_floor) * 0.5 * (1 + math.cos(math.pi * progress))

    def compile(self):
        self.gradients = self.method.compiled()

    def update(self, which, *batch):
        for p, g in zip(self.parameters[which], self.gradients[which](*batch)):
            p.grad = g
        self.adams[which].step()

    def sources(self):
        x0 = self.draws[0](self.s.batch)
        return x0, torch.randn(len(x0), self.s.latent)

    def step(self):
        for _ in range(self.s.value_steps):
            x0, z = self.sources()
            self.update(0, x0, self.draws[1](self.s.batch), z)
        self.update(1, *self.sources())
        for rate in self.rates:
            rate.step()
        decay = min(self.s.ema, (1 + self.done) / (10 + self.done))     # a short memory at first, as the library's
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), self.parameters[1], 1 - decay)
        self.done += 1

    def run(self, steps):
        for _ in range(steps):
            self.step()

    @torch.no_grad()
    def generate(self, x0, z, rows=1000):
        return torch.cat([self.average(x0[i:i + rows], z[i:i + rows]) for i in range(0, len(x0), rows)])
