"""The library's convolutional networks (src/nn/pictures.rs) in PyTorch, and what reads their weights out of its model files.

Pictures have the shape (rows, channels, height, width), in the library's normalised units.
"""
import json
import math
import pathlib

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

WIDEST = 4              # channels are at most this many times those of the finest level
COARSEST = 4            # the least side of the coarsest picture
FOLDED = (12, 128)      # sides from which pixels are folded into channels once, and twice
MOST_FLAT = 256         # pixels of the largest coarsest picture that the value function does not sum over
MAX_LEVELS = 6
WAVES = 3               # features of the time
STEEPNESS = 1.5         # of the source picture in what a generator with a range sends through its hyperbolic tangent
VALUE_OF_NUMBER = 0.5   # the value function is its network's output times this for each number of a picture
VALUE_OUTPUT, GENERATOR_OUTPUT = 0.1, 0.5       # factors of the last layers' initial weights


class Dense(nn.Linear):
    """A dense layer with the library's initial weights."""

    def __init__(self, inputs, outputs, factor=1.0):
        super().__init__(inputs, outputs)
        start(self, inputs, factor)


class Conv(nn.Conv2d):
    """A convolution with the library's initial weights."""

    def __init__(self, inputs, outputs, side, factor=1.0):
        super().__init__(inputs, outputs, side, padding=side // 2)
        start(self, inputs * side * side, factor)


def start(layer, fan_in, factor):
    nn.init.normal_(layer.weight, std=1 / math.sqrt(fan_in)) if factor else nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.weight *= factor
    nn.init.zeros_(layer.bias)


class Block(nn.Module):
    """x + conv(f(modulate(conv(f(x)), e))), the second convolution zero at first."""

    def __init__(self, inputs, channels, embedding):
        super().__init__()
        # In the order in which the library's layers lie.
        self.first, self.modulation = Conv(inputs, channels, 3), Dense(embedding, 2 * channels)
        self.second = Conv(channels, channels, 3, factor=0.0)
        self.skip = Conv(inputs, channels, 1) if inputs != channels else None

    def forward(self, x, e):
        inner = self.first(F.silu(x))
        scale, shift = self.modulation(e)[:, :, None, None].chunk(2, 1)
        inner = self.second(F.silu((1 + scale) * inner + shift))
        return (x if self.skip is None else self.skip(x)) + inner


def fold(x):
    """The four pixels of each square beside each other as channels, all channels of a pixel together."""
    n, c, height, width = x.shape
    return x.view(n, c, height // 2, 2, width // 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(n, 4 * c, height // 2, width // 2)


def unfold(x):
    n, c, height, width = x.shape
    return x.view(n, 2, 2, c // 4, height, width).permute(0, 3, 4, 1, 5, 2).reshape(n, c // 4, 2 * height, 2 * width)


class Network(nn.Module):
    """What both networks have in common: an embedding of what is beside the picture, folds, and levels of blocks going down."""

    def __init__(self, shape, beside, channels=32, levels=0, blocks=1):
        super().__init__()
        self.shape, (depth, *sides) = shape, shape
        self.folds = sum(min(sides) >= side for side in FOLDED)
        side = min(sides) >> self.folds
        own = 1 + sum(side >> level >= COARSEST for level in range(1, MAX_LEVELS))
        self.levels, self.blocks = levels or own, blocks
        multiple = 1 << (self.folds + self.levels - 1)
        self.padded = [-(-side // multiple) * multiple for side in sides]
        self.edges = [(large - small) // 2 for large, small in zip(self.padded, sides)]
        self.widths = [channels * min(1 << level, WIDEST) for level in range(self.levels)]
        self.embedding = 2 * channels
        self.embed = nn.Sequential(Dense(beside, self.embedding), nn.SiLU(), Dense(self.embedding, self.embedding), nn.SiLU())
        self.stem = Conv(depth << (2 * self.folds), channels, 3)
        self.down = nn.ModuleList(self.level(self.widths[max(0, i - 1)], width) for i, width in enumerate(self.widths))

    def level(self, inputs, channels):
        return nn.ModuleList(Block(channels if i else inputs, channels, self.embedding) for i in range(self.blocks))

    def folded(self, x):
        (top, left), (height, width) = self.edges, self.padded
        if x.shape[2:] != (height, width):
            x = F.pad(x, (left, width - left - x.shape[3], top, height - top - x.shape[2]))
        for _ in range(self.folds):
            x = fold(x)
        return x.contiguous(memory_format=torch.channels_last)

    def descend(self, x, e):
        """The pictures of all levels."""
        found = []
        for i, level in enumerate(self.down):
            x = F.avg_pool2d(x, 2) if i else x
            for block in level:
                x = block(x, e)
            found.append(x)
        return found

    def layers(self):
        """Dense layers and convolutions in the order in which the library's weights lie."""
        return [m for m in self.modules() if isinstance(m, (Dense, Conv))]

    @torch.no_grad()
    def take(self, flat):
        """Takes the library's weights: of each layer its weights, by rows of inputs, and of convolutions by taps, then its biases."""
        flat, at = torch.as_tensor(np.array(flat)), 0
        for layer in self.layers():
            outputs, inputs, *taps = layer.weight.shape
            count = layer.weight.numel()
            weights = flat[at:at + count].view(*taps, inputs, outputs)
            order = (3, 2, 0, 1) if taps else (1, 0)
            layer.weight.copy_(weights.permute(order))
            layer.bias.copy_(flat[at + count:at + count + outputs])
            at += count + outputs
        if at != len(flat):
            raise ValueError(f"{len(flat)} weights for a network of {at}")


class Value(Network):
    """V(t, x): `value(t, x)` with t (rows, 1)."""

    def __init__(self, shape, channels=32, levels=0, blocks=1, factor=None):
        super().__init__(shape, WAVES, channels, levels, blocks)
        pixels = math.prod(self.padded) >> (2 * (self.folds + self.levels - 1))
        self.sums = pixels > MOST_FLAT
        self.factor = VALUE_OF_NUMBER * math.prod(shape) if factor is None else factor
        self.last = Dense(self.widths[-1] * (1 if self.sums else pixels), 1, VALUE_OUTPUT)

    def forward(self, t, x):
        e = self.embed(torch.cat([2 * t - 1, torch.sin(0.5 * math.pi * t), torch.cos(0.5 * math.pi * t)], 1))
        x = F.silu(self.descend(self.stem(self.folded(x)), e)[-1])
        x = x.sum((2, 3)) if self.sums else x.permute(0, 2, 3, 1).flatten(1)
        return self.factor * self.last(x)[:, 0]


class Generator(Network):
    """x1 of x0 and a latent: `generator(x0, z)`, with `half` not beyond that on both sides of 0."""

    def __init__(self, shape, latent, channels=32, levels=0, blocks=1, residual=True, half=None):
        super().__init__(shape, latent, channels, levels, blocks)
        self.residual, self.half = residual, half
        finer = range(self.levels - 2, -1, -1)
        self.up = nn.ModuleList(nn.ModuleList([Conv(self.widths[i + 1], self.widths[i], 1), self.level(self.widths[i], self.widths[i])])
                                for i in finer)
        outputs = shape[0] << (2 * self.folds)
        # A generator that changes a picture sees it once more at its end.
        self.last = Conv(self.widths[0] + outputs * residual, outputs, 3, GENERATOR_OUTPUT)

    def forward(self, x0, z):
        e = self.embed(z)
        folded = self.folded(x0)
        *finer, x = self.descend(self.stem(folded), e)
        for (narrow, level), beside in zip(self.up, reversed(finer)):
            x = narrow(F.interpolate(x, scale_factor=2, mode="nearest")) + beside
            for block in level:
                x = block(x, e)
        x = F.silu(x)
        x = self.last(torch.cat([x, folded], 1) if self.residual else x)
        for _ in range(self.folds):
            x = unfold(x)
        (top, left), (_, height, width) = self.edges, self.shape
        x = x[:, :, top:top + height, left:left + width]
        if self.half is None:
            return x0 + x if self.residual else x
        return self.half * torch.tanh(x + STEEPNESS / self.half * x0 if self.residual else x)


def tensors(path):
    """The tensors of a safetensors file of 32-bit numbers, and its metadata."""
    data = pathlib.Path(path).read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    metadata, start_at = header.pop("__metadata__", {}), 8 + size
    found = {}
    for name, tensor in header.items():
        begin, end = tensor["data_offsets"]
        found[name] = np.frombuffer(data[start_at + begin:start_at + end], "<f4").reshape(tensor["shape"])
    return found, metadata


def parameters(found, network):
    """All of a network's, one after the other in the order of its layers. They follow each other in the file, too."""
    parts = [f"{network}.{number}.{part}" for number in range(len(found)) for part in ("weight", "bias")]
    return np.concatenate([found[part].ravel() for part in parts if part in found])
