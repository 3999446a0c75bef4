"""The generator of a model file in plain numbers: y = x + mean + exp(clip(log_std)) * xi for x = seen(x0), source samples moved as
in src/euot/gaussian_bridge.rs, and the noise that the library draws for it. With latents the network gives mean and log_std for
(x, z). Without, it gives K of each for x, and K logits: what is taken is the first component whose cumulated probability is not
below u. That number or z, whichever a model has, is called `extra` here.

A model file is safetensors; the tensors `generator.0.weight` (inputs x outputs) and `generator.0.bias` are the first layer's, for samples (x - shift) / scale, and behind x0 and z the squares of src/formulas/squares.rs. That is folded
into the first and the last layer here, so that nobody pays for it.
"""
import json
import math
import pathlib
import struct

import numpy as np

LATENT_STREAM, ENDPOINT_STREAM, COMPONENT_STREAM = 3, 4, 7      # src/rng.rs
# What is drawn nearer to a cumulated probability than this is for rounding to decide.
UNDECIDED = 1e-5


class Generator:
    def __init__(self, path):
        data = pathlib.Path(path).read_bytes()
        length, = struct.unpack("<Q", data[:8])
        head = json.loads(data[8:8 + length])
        tensor = lambda name: np.frombuffer(data[8 + length:], np.float32, math.prod(head[name]["shape"]), head[name]["data_offsets"][0])
        about = json.loads(head["__metadata__"]["sfeuot_description"])
        assert about["activation"] == "silu" and not about["deterministic"], "written for SiLU and a generator with a spread"
        self.dim, self.latent = math.prod(about["sample_shape"]), about["latent_dimension"]
        self.components = 1 if self.latent else about["components"]     # those that the network gives
        self.raw = 2 * self.dim * self.components
        squares = self.dim if about["squares"] else 0
        self.layers = []
        outputs = self.raw + (0 if self.latent else self.components)
        sizes = [self.dim + self.latent + squares, *[about["hidden_width"]] * about["hidden_layers"], outputs]
        for number, shape in enumerate(zip(sizes[:-1], sizes[1:])):
            w, b = (tensor(f"generator.{number}.{part}").astype(np.float64) for part in ("weight", "bias"))
            self.layers.append((w.reshape(shape), b))
        bridge = about["bridge"]
        assert not about.get("rotated"), "written for a model whose axes are the numbers of a sample"
        q = np.array(bridge.get("contractions", [bridge.get("contraction")] * self.dim))
        shift, scale = np.array(about["shift"]), about["scale"] * np.array(bridge.get("units", [1.0] * self.dim))
        first, last, d = self.layers[0], self.layers[-1], self.dim
        first[0][:d] /= scale[:, None]
        first[1][:] -= shift @ first[0][:d]
        # s = 9 sqrt(2) (sqrt(1 + u^2) - 1) - c with u = along x + by: all around the root is folded into the layer too.
        self.along, self.by = (1 / (3 * scale), -shift / (3 * scale)) if squares else (None, None)
        if squares:
            centre = np.array(about["bridge"]["mean_squares"][0])
            centre = 9 * math.sqrt(2) * (np.sqrt(1 + centre / 9) - 1)
            first[1][:] -= (9 * math.sqrt(2) + centre) @ first[0][-d:]
            first[0][-d:] *= 9 * math.sqrt(2)
        is_mean = np.arange(self.raw) % (2 * d) < d
        means, spreads = np.flatnonzero(is_mean), np.flatnonzero(~is_mean)
        for part in last:
            part[..., means] *= np.tile(scale, self.components)
        self.kept = q
        self.moved = (1 - q) * shift + q * about["scale"] * np.array(bridge["pull"])
        start = np.log(0.5 * about["sigma"] * np.sqrt(q)) + math.log(about["scale"]) - np.log(scale)
        last[1][spreads] += np.tile(start + np.log(scale), self.components)
        # Axes have ranges of their own, which no model here comes near: the widest does for all.
        self.low = float((np.minimum(-6, start - 4) + np.log(scale)).min())
        self.high = float((np.maximum(3, start + 1) + np.log(scale)).max())

    def seen(self, x0):
        """What the network is given of source samples."""
        return (self.kept * x0 + self.moved).astype(np.float32)

    def float32(self):
        return [(w.astype(np.float32), b.astype(np.float32)) for w, b in self.layers]

    def outputs(self, x0, extra):
        parts = [x0, extra] if self.latent else [x0]
        if self.along is not None:
            parts.append(np.sqrt(1 + (self.along * x0.astype(np.float64) + self.by) ** 2))
        h = np.concatenate(parts, 1).astype(np.float64)
        for w, b in self.layers[:-1]:
            a = h @ w + b
            h = a / (1 + np.exp(-a))
        w, b = self.layers[-1]
        return h @ w + b

    def ends(self, outputs):
        """Cumulated probabilities, but the last one, which is 1."""
        p = np.exp(outputs[:, self.raw:] - outputs[:, self.raw:].max(1, keepdims=True))
        return (p.cumsum(1) / p.sum(1, keepdims=True))[:, :-1]

    def __call__(self, x0, extra, xi):
        """In float64: what all others are compared with."""
        out = self.outputs(x0, extra)
        if not self.latent:
            choice = (extra > self.ends(out)).sum(1)
            out = out[:, :self.raw].reshape(len(x0), self.components, -1)[np.arange(len(x0)), choice]
        return x0 + out[:, :self.dim] + np.exp(out[:, self.dim:].clip(self.low, self.high)) * xi

    def decided(self, x0, extra):
        """Rows whose component float32 must choose as float64 does."""
        if self.latent:
            return np.ones(len(x0), bool)
        return (np.abs(extra - self.ends(self.outputs(x0, extra))) > UNDECIDED).all(1)

    def library_noise(self, seed, rows):
        """z or u, and xi, of the library's call with this seed and first row 0."""
        extra = normals(seed, LATENT_STREAM, rows * self.latent) if self.latent else uniforms(seed, COMPONENT_STREAM, rows)
        return extra.reshape(rows, -1), normals(seed, ENDPOINT_STREAM, rows * self.dim).reshape(rows, -1)


def words(seed, stream, count):
    """Philox 4x32-10 (Salmon et al., SC 2011), counter (block, stream): the four words of as many blocks as `count` takes."""
    blocks = -(-count // 4)
    mask = np.uint64(0xFFFFFFFF)
    w = [
        np.arange(blocks, dtype=np.uint64),
        np.zeros(blocks, np.uint64),
        np.zeros(blocks, np.uint64),
        np.full(blocks, stream << 24, np.uint64)
    ]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        p, q = np.uint64(0xD2511F53) * w[0], np.uint64(0xCD9E8D57) * w[2]
        high = np.uint64(32)
        w = [(q >> high) ^ w[1] ^ np.uint64(key[0]), q & mask, (p >> high) ^ w[3] ^ np.uint64(key[1]), p & mask]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return w


def uniforms(seed, stream, count):
    """In (0, 1], rounded as the library rounds them."""
    whole = np.stack(words(seed, stream, count), 1).ravel()[:count].astype(np.float32)
    return ((whole.astype(np.float64) + 0.5) / 2**32).astype(np.float32)


def normals(seed, stream, count):
    """Box and Muller's pairs."""
    w = words(seed, stream, count)
    result = np.empty((len(w[0]), 4))
    for i in (0, 2):
        radius = np.sqrt(-2 * np.log((w[i] + 0.5) / 2**32))
        angle = w[i + 1].astype(np.uint32).view(np.int32) * (np.pi / 2**31)
        result[:, i], result[:, i + 1] = radius * np.cos(angle), radius * np.sin(angle)
    return result.ravel()[:count]
