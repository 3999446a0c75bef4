"""Trains a generator of pictures out of noise with networks of one's own: a small U-Net and a convolutional value function in
PyTorch, which take the bridge and both losses from the library. Writes a grid of what is generated.

    cargo build --release && make bench/.venv/ready
    bench/.venv/bin/python examples-python/train_pictures.py --steps 2000 --out out/own.png

--pictures made-up needs no data; fashion is Fashion-MNIST at 16 x 16 pixels, which scripts/fetch-pictures gets.
"""
import argparse
import math
import pathlib
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sfeuot_torch import Problem, slope_of
import picture_data

LATENTS = 16


class Block(nn.Module):
    """x + conv(silu(modulate(conv(silu(x)), e))), the last convolution zero at first."""

    def __init__(self, inputs, channels, embedding):
        super().__init__()
        self.first, self.second = nn.Conv2d(inputs, channels, 3, padding=1), nn.Conv2d(channels, channels, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * channels)
        self.skip = nn.Conv2d(inputs, channels, 1) if inputs != channels else nn.Identity()
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x, e):
        scale, shift = self.modulation(e)[:, :, None, None].chunk(2, 1)
        return self.skip(x) + self.second(F.silu((1 + scale) * self.first(F.silu(x)) + shift))


class Down(nn.Module):
    """What both networks begin with: three levels of blocks, each with half the pixels a side of the one before."""

    def __init__(self, beside, channels):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(beside, 2 * channels), nn.SiLU(), nn.Linear(2 * channels, 2 * channels), nn.SiLU())
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.widths = [channels, 2 * channels, 4 * channels]
        self.levels = nn.ModuleList(Block(inputs, width, 2 * channels)
                                    for inputs, width in zip([channels, *self.widths], self.widths))

    def forward(self, x, beside):
        e, x, found = self.embed(beside), self.stem(x), []
        for level in self.levels:
            x = level(F.avg_pool2d(x, 2) if found else x, e)
            found.append(x)
        return e, found


class Value(nn.Module):
    """V(t, x) of pictures x (rows, d) with `side` pixels a side."""

    def __init__(self, side, channels=16):
        super().__init__()
        self.side, self.down = side, Down(3, channels)
        self.last = nn.Linear(self.down.widths[-1] * (side // 4) ** 2, 1)
        # Costs are sums over the numbers of a picture, and a network's output is about 1.
        self.factor = 0.5 * side * side
        with torch.no_grad():
            self.last.weight *= 0.1
            nn.init.zeros_(self.last.bias)

    def forward(self, t, x):
        waves = torch.stack([2 * t - 1, torch.sin(0.5 * math.pi * t), torch.cos(0.5 * math.pi * t)], 1)
        _, found = self.down(x.view(-1, 1, self.side, self.side), waves)
        return self.factor * self.last(F.silu(found[-1]).flatten(1))[:, 0]


class Generator(nn.Module):
    """x1 - x0 of pictures x0 (rows, d) and latents z, by a U-Net."""

    def __init__(self, side, channels=16):
        super().__init__()
        self.side, self.down = side, Down(LATENTS, channels)
        widths = self.down.widths
        self.narrow = nn.ModuleList(nn.Conv2d(wide, width, 1) for wide, width in [(widths[2], widths[1]), (widths[1], widths[0])])
        self.up = nn.ModuleList(Block(width, width, 2 * channels) for width in (widths[1], widths[0]))
        self.last = nn.Conv2d(widths[0] + 1, 1, 3, padding=1)
        with torch.no_grad():
            self.last.weight *= 0.5

    def forward(self, x0, z):
        x0 = x0.view(-1, 1, self.side, self.side)
        e, (fine, middle, x) = self.down(x0, z)
        for narrow, block, beside in zip(self.narrow, self.up, (middle, fine)):
            x = block(narrow(F.interpolate(x, scale_factor=2, mode="nearest")) + beside, e)
        return self.last(torch.cat([F.silu(x), x0], 1)).flatten(1)


class Training:
    """Both networks, their optimisers and the data, in units in which samples have a spread of about 1."""

    def __init__(self, pictures, options):
        self.options, self.rng = options, np.random.default_rng(options.seed)
        torch.manual_seed(options.seed)
        self.pictures, self.side = pictures, pictures.shape[-1]
        self.noise = picture_data.Noise(pictures, picture_data.WIDTH)
        self.units = picture_data.Units.of(self.noise.draw(self.rng, picture_data.NORMALISING_ROWS), pictures)
        self.problem = Problem(self.side ** 2, options.sigma, divergence=options.divergence, tau=options.tau, components=1,
                               latents=1, deterministic=1)
        self.value, self.generator = Value(self.side, options.channels), Generator(self.side, options.channels)
        rate = lambda network, rate: torch.optim.Adam(network.parameters(), rate, betas=(0.5, 0.99))
        self.steps = {"value": rate(self.value, 2e-4), "generator": rate(self.generator, 5e-4)}
        self.average = torch.optim.swa_utils.AveragedModel(self.generator, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))

    def normalised(self, pictures):
        return torch.from_numpy(((pictures - self.units.centre) / self.units.scale).reshape(len(pictures), -1).astype(np.float32))

    def sources(self, rows):
        return self.normalised(self.noise.draw(self.rng, rows)), torch.randn(rows, LATENTS)

    def step(self, number):
        """One step of both networks. Returns the two losses."""
        rows, seed = self.options.batch, self.options.seed
        x0, z = self.sources(rows)
        y = self.normalised(self.pictures[self.rng.integers(len(self.pictures), size=rows)])
        with torch.no_grad():
            outputs = self.generator(x0, z)
        times = self.problem.times("value", rows, seed, number)
        x1, xt, drift = self.problem.bridge("value", x0, outputs, times, seed, number)
        ends = self.value(torch.ones(2 * rows), torch.cat([x1, y]))
        _, slope = slope_of(self.value, times.flatten(), xt)
        value_loss = self.problem.value_loss(ends[:rows], ends[rows:], slope, drift)
        self.update("value", value_loss)

        x0, z = self.sources(rows)
        outputs = self.generator(x0, z)
        times = self.problem.times("generator", rows, seed, number)
        _, xt, _ = self.problem.bridge("generator", x0, outputs, times, seed, number)
        v, slope = slope_of(self.value, times, xt, create_graph=False)
        generator_loss = self.problem.generator_loss(outputs, x0, times, xt, v, slope)
        self.update("generator", generator_loss)
        self.average.update_parameters(self.generator)
        return value_loss.item(), generator_loss.item()

    def update(self, half, loss):
        self.steps[half].zero_grad()
        loss.backward()
        self.steps[half].step()

    @torch.no_grad()
    def generate(self, rows):
        x0, z = self.sources(rows)
        x1 = (x0 + self.average(x0, z)).numpy().reshape(rows, *self.pictures.shape[1:])
        return x1 * self.units.scale + self.units.centre


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pictures", default="fashion", choices=["fashion", "made-up"])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--sigma", type=float, default=0.1)
    parser.add_argument("--tau", type=float, default=100.0)
    parser.add_argument("--divergence", default="kl")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/own_networks.png"))
    options = parser.parse_args()
    training = Training(picture_data.load(options.pictures, 16).train, options)
    began = time.perf_counter()
    for step in range(options.steps):
        losses = training.step(step)
        if step + 1 == options.steps or (step + 1) % 100 == 0:
            seconds = time.perf_counter() - began
            print(f"step {step + 1}: value loss {losses[0]:.3f}, generator loss {losses[1]:.3f}, {(step + 1) / seconds:.1f} steps/s",
                  flush=True)
    picture_data.grid(options.out, training.generate(64), columns=16)
    print(options.out)


if __name__ == "__main__":
    main()
