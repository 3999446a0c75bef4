"""The training step of `jax_step.py` with the generator's bridge times random or all 1, a choice that the library does not offer.

    from jax_times import train
    generate = train(Mixture(2, 1.0), steps=4000, seed=0, fixed=True)
"""
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

import common
import jax_step
from problems import pools

SOURCES, FORM, HIDDEN, EMA, INNER = 128, common.Form(8, 0), 128, 0.998, 50


def train(problem, steps, seed, fixed):
    """`generate(x, seed)` of the averaged generator, as the problems' reports take it."""
    source, target = (jnp.asarray(p) for p in pools(problem, 200_000))
    d, sigma = problem.d, math.sqrt(problem.epsilon)
    kv, kg, key = jax.random.split(jax.random.key(seed), 3)
    value_inputs, generator_inputs = FORM.inputs(d)
    value = jax_step.init_mlp(kv, [value_inputs, *[HIDDEN] * 3, 1])
    generator = jax_step.init_mlp(kg, [generator_inputs, *[HIDDEN] * 3, FORM.outputs(d)], 0.5)
    value_adam, generator_adam = optax.adam(3e-4, b1=0.5, b2=0.99), optax.adam(1e-3, b1=0.5, b2=0.99)
    draw = lambda key: jax_step.draw(key, source, target, SOURCES, FORM)

    def one(state, _):
        pv, pg, sv, sg, average, key = state
        key, a1, a2 = jax.random.split(key, 3)
        update, sv = value_adam.update(jax.grad(jax_step.value_loss)(pv, pg, draw(a1), sigma, lambda v: v, FORM), sv)
        pv = optax.apply_updates(pv, update)
        x0, y, extra, xi, raw_t, eta = draw(a2)
        batch = x0, y, extra, xi, jnp.ones_like(raw_t) if fixed else raw_t, eta
        update, sg = generator_adam.update(jax.grad(jax_step.generator_loss)(pg, pv, batch, sigma, FORM), sg)
        pg = optax.apply_updates(pg, update)
        average = jax.tree.map(lambda e, p: EMA * e + (1 - EMA) * p, average, pg)
        return (pv, pg, sv, sg, average, key), None

    many = jax.jit(lambda state: jax.lax.scan(one, state, length=INNER)[0], donate_argnums=0)
    state = (value, generator, value_adam.init(value), generator_adam.init(generator), jax.tree.map(jnp.copy, generator), key)
    for _ in range(max(1, steps // INNER)):
        state = many(state)
    draw_ends = jax.jit(functools.partial(ends, state[4], sigma=sigma))
    return lambda x, noise: np.asarray(draw_ends(jnp.asarray(x, jnp.float32), jax.random.key(noise)), np.float64)


def ends(generator, x, key, sigma):
    kc, kx = jax.random.split(key)
    raw, log_weight = jax_step.components(generator, jnp.repeat(x, FORM.k, 0), None, FORM)
    choice = FORM.k * jnp.arange(len(x)) + jax.random.categorical(kc, log_weight)
    mean, std = jax_step.head(raw[choice], x, sigma)
    return mean + std * jax.random.normal(kx, x.shape)
