"""LightSB (Korotin, Gushchin, Burnaev, "Light Schroedinger Bridge", ICLR 2024), with diagonal covariances.

The plan is pi(y|x) = exp(<x, y> / eps) v(y) / c(x) with v(y) = sum_k a_k N(y; r_k, eps S_k), so that
    c(x) = sum_k a_k exp(<x, r_k> / eps + <x, S_k x> / (2 eps)),
pi(y|x) is the mixture of N(r_k + S_k x, eps S_k) with the terms of c(x) as weights, and KL(pi* | pi) is, up to a constant,
E_x log c(x) - E_y log v(y). This family contains the benchmark's answer.

Size and length are the paper's recipe: 50 components, batch 128, 10,000 Adam steps at 1e-3 / 3e-3 for epsilon 0.1 / 1; training
ends with the recipe or the budget, whichever is first. Levels log a_k are held in units of the cost (times epsilon). Two things
are changed, both in this method's favour. The recipe's start, r_k samples of the target and S_k = 0.1, fell into one component
at d = 16, epsilon = 0.1: 0.79 percent with any of three seeds, and no better with more steps, larger batches or other rates.
Here it is the plan of unit Gaussians around target samples y_k, S_k = 1 / (1 + epsilon) and r_k = (1 - S_k) y_k: 0.075 there
with S_k = 0.9. And the rate at epsilon = 10 is 6e-3 in place of 6e-2: 0.02 in place of 0.25 at d = 16 (the recipe's start).
"""
import sys

import jax
import jax.numpy as jnp
import numpy as np

from plan_networks import adam_start, adam_step, chunked, in_blocks, timed_chunks

STEPS_PER_CALL = 50


def settings(dim, epsilon):
    rate = 1e-3 if epsilon <= 0.3 else 3e-3 if epsilon <= 3 else 6e-3
    return dict(components=50, learning_rate=rate, batch=128, recipe_steps=10_000)


def log_v(p, y, eps):
    var = eps * jnp.exp(p["log_s"])
    quadratic = (y * y) @ (1 / var).T - 2 * y @ (p["r"] / var).T + (p["r"] ** 2 / var).sum(1)
    return jax.nn.logsumexp(p["level"] / eps - 0.5 * (quadratic + jnp.log(2 * jnp.pi * var).sum(1)), 1)


def log_weights(p, x, eps):
    return p["level"] / eps + (x @ p["r"].T + 0.5 * (x * x) @ jnp.exp(p["log_s"]).T) / eps


def draw(p, x, component, normal, eps):
    """Samples of these components of the plan given x."""
    s = jnp.exp(p["log_s"])[component]
    return p["r"][component] + s * x + jnp.sqrt(eps * s) * normal


def covariances(components, dim, spread):
    """Parameters for which every S_k is spread times I."""
    return {"log_s": jnp.full((components, dim), np.log(spread), jnp.float32)}


class Method:
    """`form` is the module whose log_v, log_weights, draw and covariances say what the S_k are."""
    form, row = sys.modules[__name__], "LightSB (family contains the answer)"

    def __init__(self, task, components, learning_rate, batch, recipe_steps):
        rng, form = np.random.default_rng(task.seed), self.form
        eps, source, target = task.epsilon, jnp.asarray(task.source), jnp.asarray(task.target)
        spread = 1 / (1 + eps)
        params = {"level": jnp.full(components, -eps * np.log(components), jnp.float32),
                  "r": (1 - spread) * target[rng.choice(len(target), components, replace=False)],
                  **form.covariances(components, source.shape[1], spread)}

        def step(state, key):
            i, j = (jax.random.randint(k, (batch,), 0, len(source)) for k in jax.random.split(key))

            def loss(p):
                return jax.nn.logsumexp(form.log_weights(p, source[i], eps), 1).mean() - form.log_v(p, target[j], eps).mean()
            return adam_step(state, jax.grad(loss)(state["params"]), learning_rate, ema=0.0)

        @jax.jit
        def sample(p, x, key):
            k1, k2 = jax.random.split(key)
            component = jax.random.categorical(k1, form.log_weights(p, x, eps))
            return form.draw(p, x, component, jax.random.normal(k2, x.shape), eps)

        self.state, self.sample = adam_start(params), sample
        self.call = chunked(step, STEPS_PER_CALL, self.state)
        self.steps, self.recipe_steps, self.key = 0, recipe_steps, jax.random.key(task.seed)

    @property
    def done(self):
        return self.steps >= self.recipe_steps

    def train(self, seconds):
        for _ in timed_chunks(seconds):
            self.key, key = jax.random.split(self.key)
            self.state = jax.block_until_ready(self.call(self.state, key))
            self.steps += STEPS_PER_CALL
            if self.done:
                return

    def samplers(self):
        p = self.state["params"]
        return {self.row: in_blocks(lambda x, key: self.sample(p, x, key))}
