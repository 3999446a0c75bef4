"""[SF]2M (Tong, Malkin, Fatras, Atanackovic, Zhang, Huguet, Wolf, Bengio, "Simulation-free Schroedinger bridges via score and
flow matching", AISTATS 2024).

Pairs from a Sinkhorn coupling of two batches at the problem's own epsilon, then two regressions on the Brownian bridge between
them at noise n: the flow x1 - x0 + sigma (1 - 2 t) / (2 sqrt(t (1 - t))) n, and (sigma^2 / 2) score, weighted so that its target
is -n. Sampled with Euler and Maruyama's steps, whose drift is the sum of both networks.

`reuse` steps are made with one coupling, each with pairs drawn from it anew. The rate falls by a cosine over the budget to a
hundredth.

Tried, one seed, in seconds of one core: rates 1e-3 / 2e-3 / 5e-3 gave 1.26 / 0.69 / 0.56 percent at d = 16, epsilon = 1 (8 s) and
0.25 / 0.16 / 0.06 at d = 2, epsilon = 0.1 (4 s); `reuse` 1 / 4 / 16 0.67 / 0.69 / 0.80 and 0.16 / 0.16 / 0.13; couplings of 1024
were worse at both.
"""
import time

import jax
import jax.numpy as jnp

from benchmark import width
from entropic import coupling_logits
from plan_networks import Units, adam_start, adam_step, chunked, cosine, in_blocks, mlp, mlp_start

SAMPLING_STEPS = 100
TIME_MARGIN = 1e-3


def settings(dim, epsilon):
    return dict(width=width(dim), coupled=512, rounds=20, tolerance=1e-2, reuse=2, batch=512, learning_rate=5e-3, ema=0.998)


class Method:
    done = False

    def __init__(self, task, width, coupled, rounds, tolerance, reuse, batch, learning_rate, ema):
        self.units, self.budget = Units(task.source, task.target, task.epsilon), task.budget
        self.rate, self.reuse = learning_rate, reuse
        self.key = jax.random.key(task.seed)
        dim, sigma = task.source.shape[1], self.units.sigma

        @jax.jit
        def couple(source, target, key):
            k1, k2 = jax.random.split(key)
            x0 = source[jax.random.randint(k1, (coupled,), 0, len(source))]
            x1 = target[jax.random.randint(k2, (coupled,), 0, len(target))]
            return x0, x1, coupling_logits(x0, x1, sigma**2, rounds, tolerance)

        def step(state, key, x0, x1, logits, rate):
            k1, k2, k3, k4 = jax.random.split(key, 4)
            i = jax.random.randint(k1, (batch,), 0, coupled)
            begin, end = x0[i], x1[jax.random.categorical(k2, logits[i])]
            t = jax.random.uniform(k3, (batch, 1), minval=TIME_MARGIN, maxval=1 - TIME_MARGIN)
            noise, spread = jax.random.normal(k4, (batch, dim)), jnp.sqrt(t * (1 - t))
            x = (1 - t) * begin + t * end + sigma * spread * noise
            flow = end - begin + sigma * (1 - 2 * t) / (2 * spread) * noise

            def loss(p):
                score_loss = ((2 * spread / sigma * mlp(p["score"], t, x) + noise) ** 2).mean()
                return ((mlp(p["flow"], t, x) - flow) ** 2).mean() + score_loss
            return adam_step(state, jax.grad(loss)(state["params"]), rate, ema)

        @jax.jit
        def sample(params, x, key):
            def body(n, x):
                t = jnp.full((len(x), 1), n / SAMPLING_STEPS)
                noise = jax.random.normal(jax.random.fold_in(key, n), x.shape)
                drift = mlp(params["flow"], t, x) + mlp(params["score"], t, x)
                return x + drift / SAMPLING_STEPS + sigma * noise / SAMPLING_STEPS**0.5
            return jax.lax.fori_loop(0, SAMPLING_STEPS, body, x)

        self.couple, self.sample = couple, sample
        self.state = adam_start({name: mlp_start(self.next_key(), dim, width) for name in ("flow", "score")})
        pairs = couple(self.units.source, self.units.target, self.key)
        self.call = chunked(step, reuse, self.state, *pairs, 1e-3)
        self.steps, self.gone = 0, 0.0

    def next_key(self):
        self.key, key = jax.random.split(self.key)
        return key

    def train(self, seconds):
        start, before = time.perf_counter(), self.gone
        while self.gone - before < seconds:
            pairs = self.couple(self.units.source, self.units.target, self.next_key())
            rate = self.rate * cosine(self.gone / self.budget)
            self.state = jax.block_until_ready(self.call(self.state, self.next_key(), *pairs, rate))
            self.steps += self.reuse
            self.gone = before + time.perf_counter() - start

    def samplers(self):
        params = self.state["average"]
        blocks = in_blocks(lambda x, key: self.sample(params, x, key))
        return {f"[SF]2M, {SAMPLING_STEPS} steps": lambda x, seed: self.units.unscaled(blocks(self.units.scaled(x), seed))}
