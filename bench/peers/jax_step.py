"""The training step in JAX on the CPU: value step, generator step, Adam for both, average of the generator, in one jit.

    python jax_step.py --dim 2 --hidden 128 --latent 8 --sources 64 --k 16 --threads 2 --steps 500 --warmup 50 --json
"""
import functools
import math

import common

if __name__ == "__main__":
    def _extra(p):
        p.add_argument("--prng", default="threefry2x32", choices=["threefry2x32", "rbg", "unsafe_rbg"], help="random number generator")
        p.add_argument("--inner", type=int, default=1, help="steps per call, in a device-side loop")
    ARGS = common.arguments(__doc__, _extra)

import jax
import jax.numpy as jnp
import optax

jax.config.update("jax_platforms", "cpu")


def init_mlp(key, sizes, last_scale=1.0):
    keys = jax.random.split(key, len(sizes) - 1)
    scales = [1.0] * (len(sizes) - 2) + [last_scale]
    return [(c * jax.random.normal(k, (i, o)) / math.sqrt(i), jnp.zeros(o))
            for k, c, i, o in zip(keys, scales, sizes[:-1], sizes[1:])]


def mlp(params, x):
    for w, b in params[:-1]:
        x = jax.nn.silu(x @ w + b)
    w, b = params[-1]
    return x @ w + b


def value_at(params, t, x):
    return mlp(params, jnp.concatenate([x, t], 1))[:, 0]


def head(params, x0, z, sigma):
    """Mean and standard deviation of x1 given (x0, z)."""
    d = x0.shape[1]
    out = mlp(params, jnp.concatenate([x0, z], 1))
    return x0 + out[:, :d], jnp.exp(jnp.clip(out[:, d:] + math.log(0.5 * sigma), common.LOG_STD_MIN, common.LOG_STD_MAX))


def value_loss(value, generator, batch, sigma, conjugate):
    """Minus the dual objective."""
    x0, y, z, xi, raw_t, eta = batch
    mean, std = jax.lax.stop_gradient(head(generator, x0, z, sigma))
    x1, t = mean + std * xi, common.VALUE_TIME_MAX * raw_t
    ends = value_at(value, jnp.ones((len(x1) + len(y), 1)), jnp.concatenate([x1, y]))
    potential = ends[:len(x1)].mean() - conjugate(ends[len(x1):]).mean()
    away = t * std * xi + sigma * jnp.sqrt(t * (1 - t)) * eta
    x_t = (1 - t) * x0 + t * mean + away
    drift = mean - x0 + (std**2 - sigma**2) / (t * std**2 + (1 - t) * sigma**2) * away
    gradient = jax.grad(lambda x: value_at(value, t, x).sum())(x_t)
    return (gradient * (0.5 * gradient + drift)).sum(1).mean() - potential


def log_mixture(x_t, centre, variance):
    """log of the mean over k of N(x_t; centre_k, variance_k), twice, less that over the sample's own half of them, whose bias
    is twice as large; arguments (sources, k, d), k even."""
    square = ((x_t[:, :, None] - centre[:, None]) ** 2 / variance[:, None]).sum(-1)
    log_det = jnp.log(variance).sum(-1)[:, None]
    _, k, d = x_t.shape
    pairs, h = -0.5 * (square + log_det), k // 2
    own = jnp.concatenate([jax.nn.logsumexp(pairs[:, :h, :h], 2), jax.nn.logsumexp(pairs[:, h:, h:], 2)], 1)
    return 2 * (jax.nn.logsumexp(pairs, 2) - math.log(k)) - (own - math.log(h)) - 0.5 * d * math.log(2 * math.pi)


def generator_loss(generator, value, batch, sigma, k):
    x0, _, z, xi, raw_t, eta = batch
    d, eps = x0.shape[1], sigma * sigma
    mean, std = head(generator, x0, z, sigma)
    t = common.GENERATOR_TIME_MIN + (1 - common.GENERATOR_TIME_MIN) * raw_t
    noise_var = eps * t * (1 - t)
    centre, variance = (1 - t) * x0 + t * mean, (t * std) ** 2 + noise_var
    deviation, held = jnp.sqrt(variance), jax.lax.stop_gradient
    x_t = centre + deviation * held((t * std * xi + jnp.sqrt(noise_var) * eta) / deviation)
    group = lambda a: a.reshape(-1, k, d)
    # Through the samples alone: the part through the components has mean zero.
    log_p = log_mixture(group(x_t), group(held(centre)), group(held(variance))).ravel()
    log_w = -0.5 * (((x_t - x0) ** 2).sum(1) / (eps * t[:, 0]) + d * jnp.log(2 * math.pi * eps * t[:, 0]))
    return (value_at(value, t, x_t) + eps * (log_p - log_w)).mean()


def draw(key, source, target, n, k, latent):
    """One batch: x0, y, z, xi, raw t, eta; n * k rows each, a source's k rows next to each other."""
    keys, d, rows = jax.random.split(key, 6), source.shape[1], n * k
    x0 = jnp.repeat(source[jax.random.randint(keys[0], (n,), 0, len(source))], k, 0)
    y = target[jax.random.randint(keys[1], (rows,), 0, len(target))]
    raw_t = jnp.repeat(jax.random.uniform(keys[2], (n, 1)), k, 0)
    normal = lambda key, width: jax.random.normal(key, (rows, width))
    return x0, y, normal(keys[3], latent), normal(keys[4], d), raw_t, normal(keys[5], d)


def main(a):
    jax.config.update("jax_default_prng_impl", a.prng)
    source, target = (jnp.asarray(p) for p in common.mixture_pools(a))
    sigma = math.sqrt(a.epsilon)
    kv, kg, key = jax.random.split(jax.random.key(a.seed), 3)
    value = init_mlp(kv, [a.dim + 1, *[a.hidden] * a.layers, 1])
    generator = init_mlp(kg, [a.dim + a.latent, *[a.hidden] * a.layers, 2 * a.dim], 0.5)
    value_adam, generator_adam = optax.adam(a.lr_value, b1=0.5, b2=0.99), optax.adam(a.lr_generator, b1=0.5, b2=0.99)
    batch = lambda key, source, target: draw(key, source, target, a.sources, a.k, a.latent)

    def one(state, source, target):
        pv, pg, sv, sg, average, key = state
        key, a1, a2 = jax.random.split(key, 3)
        lv, dv = jax.value_and_grad(value_loss)(pv, pg, batch(a1, source, target), sigma, lambda v: v)
        update, sv = value_adam.update(dv, sv)
        pv = optax.apply_updates(pv, update)
        lg, dg = jax.value_and_grad(generator_loss)(pg, pv, batch(a2, source, target), sigma, a.k)
        update, sg = generator_adam.update(dg, sg)
        pg = optax.apply_updates(pg, update)
        average = jax.tree.map(lambda e, p: a.ema * e + (1 - a.ema) * p, average, pg)
        return (pv, pg, sv, sg, average, key), (-lv, lg)

    @functools.partial(jax.jit, donate_argnums=0)
    def steps(state, source, target):
        if a.inner == 1:
            return one(state, source, target)
        state, losses = jax.lax.scan(lambda s, _: one(s, source, target), state, length=a.inner)
        return state, jax.tree.map(lambda x: x[-1], losses)

    state = (value, generator, value_adam.init(value), generator_adam.init(generator), jax.tree.map(jnp.copy, generator), key)

    def run(n):
        nonlocal state
        for _ in range(n // a.inner):
            state, losses = steps(state, source, target)
        jax.block_until_ready(state)
        return {"dual": losses[0], "generator_loss": losses[1]}

    common.measure(a, "jax", run, multiple=a.inner)


if __name__ == "__main__":
    main(ARGS)
