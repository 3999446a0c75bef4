"""Sinkhorn's algorithm for the cost |x - y|^2 / 2 and uniform weights, stable for small epsilon.

Each round has one iteration in logarithms, whose potentials are absorbed into the kernel, and INNER plain ones with that kernel.
As a program it compares itself with POT's (whose `reg` for the cost |x - y|^2 is 2 epsilon):  python entropic.py
"""
import functools

import jax
import jax.numpy as jnp

INNER = 10


def cost(x, y):
    return 0.5 * ((x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T)


def soft_minimum(c, g, epsilon, axis):
    """-epsilon log mean exp((g - c) / epsilon) along an axis: the potential that fulfils the other side's constraint."""
    return -epsilon * (jax.nn.logsumexp((g - c) / epsilon, axis) - jnp.log(c.shape[axis]))


def sinkhorn_round(c, g, epsilon):
    """Potentials f, g after a round, and the error of the first marginal before the last update (total variation times two)."""
    f = soft_minimum(c, g, epsilon, 1)
    g = soft_minimum(c, f[:, None], epsilon, 0)
    kernel = jnp.exp((f[:, None] + g - c) / epsilon) / (c.shape[0] * c.shape[1])

    def inner(_, uv):
        u = 1 / c.shape[0] / (kernel @ uv[1])
        return u, 1 / c.shape[1] / (u @ kernel)
    u, v = jax.lax.fori_loop(0, INNER, inner, (jnp.ones(c.shape[0]), jnp.ones(c.shape[1])))
    error = jnp.abs(u * (kernel @ v) - 1 / c.shape[0]).sum()
    return f + epsilon * jnp.log(u), g + epsilon * jnp.log(v), error


@functools.partial(jax.jit, static_argnames="rounds")
def coupling_logits(x, y, epsilon, rounds, tolerance):
    """Rows of logits of y given x, after at most so many rounds."""
    c = cost(x, y)

    def more(state):
        return (state[2] > tolerance) & (state[3] < rounds)

    def body(state):
        return (*sinkhorn_round(c, state[1], epsilon), state[3] + 1)
    f, g, _, _ = jax.lax.while_loop(more, body, (jnp.zeros(len(x)), jnp.zeros(len(y)), jnp.inf, 0))
    return (g - c) / epsilon


def check():
    import numpy as np
    import ot
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 3)), 2 + rng.normal(size=(64, 3))
    ours = jax.nn.softmax(coupling_logits(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32), 0.5, 200, 1e-6), 1) / 64
    theirs = ot.sinkhorn(np.full(64, 1 / 64), np.full(64, 1 / 64), ot.dist(x, y), reg=1.0)
    difference = float(np.abs(ours - theirs).sum())
    assert difference < 1e-3, difference
    print(f"coupling beside POT's: sum of differences {difference:.1e}")


if __name__ == "__main__":
    check()
