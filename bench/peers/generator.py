"""The generator of a model file in plain numbers: y = x + mean(x, z) + exp(clip(log_std(x, z))) * xi for x = seen(x0), source
samples moved as in src/euot/gaussian_bridge.rs, and the noise that the library draws for it.

A model file is safetensors; the tensor `generator` holds W (inputs x outputs, by rows) and b of each layer, one after the other,
for samples (x - shift) / scale. That is folded into the first and the last layer here, so that nobody pays for it.
"""
import json
import math
import pathlib
import struct

import numpy as np

LATENT_STREAM, ENDPOINT_STREAM = 3, 4       # src/rng.rs


class Generator:
    def __init__(self, path):
        data = pathlib.Path(path).read_bytes()
        length, = struct.unpack("<Q", data[:8])
        head = json.loads(data[8:8 + length])
        start, end = head["generator"]["data_offsets"]
        flat = np.frombuffer(data[8 + length + start:8 + length + end], np.float32).astype(np.float64)
        about = json.loads(head["__metadata__"]["description"])
        assert about["activation"] == "silu" and not about["deterministic"], "written for SiLU and a generator with a spread"
        self.dim, self.latent = math.prod(about["sample_shape"]), about["latent_dimension"]
        self.layers, offset = [], 0
        sizes = [self.dim + self.latent, *[about["hidden_width"]] * about["hidden_layers"], 2 * self.dim]
        for i, o in zip(sizes[:-1], sizes[1:]):
            w, b = flat[offset:offset + i * o].reshape(i, o).copy(), flat[offset + i * o:offset + i * o + o].copy()
            self.layers.append((w, b))
            offset += i * o + o
        shift, scale = np.array(about["shift"]), about["scale"]
        first, last, d = self.layers[0], self.layers[-1], self.dim
        first[0][:d] /= scale
        first[1][:] -= shift @ first[0][:d]
        for part in last:
            part[..., :d] *= scale
        bridge = about["bridge"]
        self.kept = bridge["contraction"]
        self.moved = (1 - self.kept) * shift + self.kept * scale * np.array(bridge["pull"])
        start = math.log(0.5 * about["sigma"] * math.sqrt(self.kept))
        last[1][d:] += start + math.log(scale)
        self.low, self.high = min(-6, start - 4) + math.log(scale), max(3, start + 1) + math.log(scale)

    def seen(self, x0):
        """What the network is given of source samples."""
        return (self.kept * x0 + self.moved).astype(np.float32)

    def float32(self):
        return [(w.astype(np.float32), b.astype(np.float32)) for w, b in self.layers]

    def __call__(self, x0, z, xi):
        """In float64: what all others are compared with."""
        h = np.concatenate([x0, z], 1).astype(np.float64)
        for w, b in self.layers[:-1]:
            a = h @ w + b
            h = a / (1 + np.exp(-a))
        w, b = self.layers[-1]
        out = h @ w + b
        return x0 + out[:, :self.dim] + np.exp(out[:, self.dim:].clip(self.low, self.high)) * xi

    def library_noise(self, seed, rows):
        """z and xi of the library's call with this seed and first row 0."""
        return normals(seed, LATENT_STREAM, rows * self.latent).reshape(rows, -1), normals(seed, ENDPOINT_STREAM,
                                                                                           rows * self.dim).reshape(rows, -1)


def normals(seed, stream, count):
    """Philox 4x32-10 (Salmon et al., SC 2011), counter (block, stream), and Box and Muller's pairs."""
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
    result = np.empty((blocks, 4))
    for i in (0, 2):
        radius = np.sqrt(-2 * np.log((w[i] + 0.5) / 2**32))
        angle = w[i + 1].astype(np.uint32).view(np.int32) * (np.pi / 2**31)
        result[:, i], result[:, i + 1] = radius * np.cos(angle), radius * np.sin(angle)
    return result.ravel()[:count]
