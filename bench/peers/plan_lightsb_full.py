"""LightSB (Korotin, Gushchin, Burnaev, "Light Schroedinger Bridge", ICLR 2024), with full covariances; see plan_lightsb.py.

S_k = L_k L_k^T, where L_k has exp(log_diagonal) on its diagonal and free numbers below. Recipe, start and rates are those of the
diagonal form; the start's S_k are multiples of I there as here.
"""
import sys

import jax
import jax.numpy as jnp
import numpy as np

import plan_lightsb

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


def draw(p, x, component, normal, eps):
    """All components for all rows: a gather of (rows, d, d) would need more memory than time is saved."""
    root = roots(p)

    def add(k, y):
        of_k = p["r"][k] + (x @ root[k] + jnp.sqrt(eps) * normal) @ root[k].T
        return jnp.where((component == k)[:, None], of_k, y)
    return jax.lax.fori_loop(0, len(root), add, x)


def covariances(components, dim, spread):
    return {"log_diagonal": jnp.full((components, dim), 0.5 * np.log(spread), jnp.float32),
            "below": jnp.zeros((components, dim, dim), jnp.float32)}


class Method(plan_lightsb.Method):
    form, row = sys.modules[__name__], "LightSB, full covariances"
