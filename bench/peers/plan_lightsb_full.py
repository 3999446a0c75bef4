"""LightSB (Korotin, Gushchin, Burnaev, "Light Schroedinger Bridge", ICLR 2024), with full covariances; see plan_lightsb.py.

S_k = L_k L_k^T, where L_k has exp(log_diagonal) on its diagonal and free numbers below. Recipe, start and rates are those of the
diagonal form; the start's S_k are multiples of I there as here.
"""
import jax
import jax.numpy as jnp
import numpy as np

import plan_lightsb
from plan_networks import adam_start, adam_step, chunked, in_blocks

STEPS_PER_CALL = plan_lightsb.STEPS_PER_CALL
settings = plan_lightsb.settings


def roots(p):
    """L (k, d, d)."""
    return jnp.tril(p["below"], -1) + jnp.exp(p["log_diagonal"])[:, :, None] * jnp.eye(p["r"].shape[1])


def log_v(p, y, eps):
    root = roots(p)
    z = jax.scipy.linalg.solve_triangular(root, jnp.swapaxes(y[None] - p["r"][:, None], 1, 2), lower=True)      # k, d, rows
    size = 2 * p["log_diagonal"].sum(1) + y.shape[1] * jnp.log(2 * jnp.pi * eps)
    return jax.nn.logsumexp((p["level"] / eps - 0.5 * size)[:, None] - 0.5 * (z * z).sum(1) / eps, 0)


def log_weights(p, x, eps):
    along = jnp.einsum("kji,nj->kni", roots(p), x)     # x L
    return p["level"] / eps + (x @ p["r"].T + 0.5 * (along * along).sum(2).T) / eps


class Method(plan_lightsb.Method):
    def __init__(self, task, components, learning_rate, batch, recipe_steps):
        rng = np.random.default_rng(task.seed)
        eps, source, target = task.epsilon, jnp.asarray(task.source), jnp.asarray(task.target)
        dim, spread = source.shape[1], 1 / (1 + eps)
        params = {"level": jnp.full(components, -eps * np.log(components), jnp.float32),
                  "r": (1 - spread) * target[rng.choice(len(target), components, replace=False)],
                  "log_diagonal": jnp.full((components, dim), 0.5 * np.log(spread), jnp.float32),
                  "below": jnp.zeros((components, dim, dim), jnp.float32)}

        def step(state, key):
            i, j = (jax.random.randint(k, (batch,), 0, len(source)) for k in jax.random.split(key))

            def loss(p):
                return jax.nn.logsumexp(log_weights(p, source[i], eps), 1).mean() - log_v(p, target[j], eps).mean()
            return adam_step(state, jax.grad(loss)(state["params"]), learning_rate, ema=0.0)

        @jax.jit
        def sample(p, x, key):
            """All components for all rows: a gather of (rows, d, d) would need more memory than time is saved."""
            k1, k2 = jax.random.split(key)
            c = jax.random.categorical(k1, log_weights(p, x, eps))
            noise = jnp.sqrt(eps) * jax.random.normal(k2, x.shape)

            def add(k, y):
                root = roots(p)[k]
                return jnp.where((c == k)[:, None], p["r"][k] + (x @ root + noise) @ root.T, y)
            return jax.lax.fori_loop(0, components, add, x)

        self.state, self.sample = adam_start(params), sample
        self.call = chunked(step, STEPS_PER_CALL, self.state)
        self.steps, self.recipe_steps, self.key = 0, recipe_steps, jax.random.key(task.seed)

    def samplers(self):
        p = self.state["params"]
        return {"LightSB, full covariances": in_blocks(lambda x, key: self.sample(p, x, key))}
