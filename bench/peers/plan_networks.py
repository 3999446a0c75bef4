"""What the methods in JAX share: an MLP of time and state, Adam with an average, compiled chunks of steps, blocks of rows."""
import math
import time

import jax
import jax.numpy as jnp
import numpy as np

BLOCK_ROWS = 10_000
FREQUENCIES = 4


def mlp_start(key, dim, width, layers=3):
    sizes = [dim + 1 + 2 * FREQUENCIES, *[width] * layers, dim]
    keys = jax.random.split(key, len(sizes) - 1)
    return [(jax.random.normal(k, (m, n)) / m**0.5, jnp.zeros(n)) for k, m, n in zip(keys, sizes, sizes[1:])]


def mlp(params, t, x):
    """t is rows x 1."""
    angles = jnp.pi * t * jnp.arange(1, FREQUENCIES + 1)
    h = jnp.concatenate([x, t, jnp.sin(angles), jnp.cos(angles)], 1)
    for w, b in params[:-1]:
        h = jax.nn.silu(h @ w + b)
    return h @ params[-1][0] + params[-1][1]


def adam_start(params):
    zeros = jax.tree.map(jnp.zeros_like, params)
    return {"params": params, "first": zeros, "second": zeros, "average": params, "step": jnp.zeros(())}


def adam_step(state, gradient, rate, ema, betas=(0.9, 0.999)):
    n, (b1, b2) = state["step"] + 1, betas
    first = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state["first"], gradient)
    second = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state["second"], gradient)
    params = jax.tree.map(lambda p, m, v: p - rate * (m / (1 - b1**n)) / (jnp.sqrt(v / (1 - b2**n)) + 1e-8),
                          state["params"], first, second)
    decay = jnp.minimum(ema, (1 + n) / (10 + n))
    average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, state["average"], params)
    return {"params": params, "first": first, "second": second, "average": average, "step": n}


def chunked(step, count, state, *given):
    """step(state, key, *given) `count` times in one call(state, key, *given), compiled now, so that no budget pays for it."""
    @jax.jit
    def call(state, key, *given):
        return jax.lax.scan(lambda s, k: (step(s, k, *given), None), state, jax.random.split(key, count))[0]
    jax.block_until_ready(call(state, jax.random.key(0), *given))
    return call


def timed_chunks(seconds):
    """Iterates, with seconds gone, until so many have."""
    start = time.perf_counter()
    while (gone := time.perf_counter() - start) < seconds:
        yield gone


def cosine(fraction, floor=0.01):
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0)))


def in_blocks(sample):
    """generate(x, seed) of sample(block, key), which is compiled for BLOCK_ROWS rows."""
    def generate(x, seed):
        parts = []
        for i in range(0, len(x), BLOCK_ROWS):
            block = np.asarray(x[i:i + BLOCK_ROWS], np.float32)
            rows = len(block)
            size = BLOCK_ROWS if len(x) >= BLOCK_ROWS else rows
            block = np.concatenate([block, np.zeros((size - rows, block.shape[1]), np.float32)])
            parts.append(np.asarray(sample(block, jax.random.fold_in(jax.random.key(seed), i)), np.float64)[:rows])
        return np.concatenate(parts)
    return generate


class Units:
    """Data centred and divided by one length, which leaves the problem the same: networks see numbers of order one."""

    def __init__(self, source, target, epsilon):
        self.centre = (source.mean(0) + target.mean(0)) / 2
        self.length = float(np.sqrt((((source - self.centre) ** 2).mean() + ((target - self.centre) ** 2).mean()) / 2))
        self.source, self.target = jnp.asarray(self.scaled(source)), jnp.asarray(self.scaled(target))
        self.sigma = epsilon**0.5 / self.length

    def scaled(self, x):
        return (x - self.centre) / self.length

    def unscaled(self, x):
        return x * self.length + self.centre
