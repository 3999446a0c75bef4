"""The training step in JAX on the CPU: value step, generator step, Adam for both, average of the generator, in one jit.

    python jax_step.py --dim 2 --hidden 128 --sources 128 --k 8 --threads 2 --steps 500 --warmup 50 --json
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


def squares(x, t):
    """About x^2 / sqrt(2) less a mean, bent to grow like |x| far out."""
    square = x * (x / (1 + jnp.sqrt(1 + (x / common.REACH) ** 2)))
    return math.sqrt(2) * square - (common.START + common.CHANGE * t)


def value_at(params, t, x):
    return mlp(params, jnp.concatenate([x, t, squares(x, t)], 1))[:, 0]


def components(params, x0, extra, form):
    """What the head reads of each row's component (rows, 2 d), and the log-probabilities (sources, k), None where all are alike."""
    if form.latent:
        return mlp(params, jnp.concatenate([x0, extra, squares(x0, 0)], 1)), None
    x0_once = x0[::form.k]
    outputs = mlp(params, jnp.concatenate([x0_once, squares(x0_once, 0)], 1))
    return outputs[:, :-form.k].reshape(len(x0), -1), jax.nn.log_softmax(outputs[:, -form.k:])


def chosen(raw, log_weight, uniform):
    """A component for each row in place of all in turn, drawn systematically: row j takes the one at (j + uniform) / k along the
    cumulated probabilities of its source."""
    n, k = log_weight.shape
    place = (jnp.arange(k) + uniform) / k
    cumulated = jnp.cumsum(jnp.exp(log_weight), 1)
    index = (place[:, :, None] > cumulated[:, None, :-1]).sum(2)
    return raw[(index + k * jnp.arange(n)[:, None]).ravel()]


def head(raw, x0, sigma):
    """Mean and standard deviation of x1 given x0 and the component."""
    d = x0.shape[1]
    return x0 + raw[:, :d], jnp.exp(jnp.clip(raw[:, d:] + math.log(0.5 * sigma), common.LOG_STD_MIN, common.LOG_STD_MAX))


def value_loss(value, generator, batch, sigma, conjugate, form):
    """Minus the dual objective."""
    x0, y, extra, xi, raw_t, eta = batch
    raw, log_weight = components(generator, x0, extra, form)
    mean, std = jax.lax.stop_gradient(head(raw if form.latent else chosen(raw, log_weight, extra), x0, sigma))
    x1, t = mean + std * xi, common.VALUE_TIME_MAX * raw_t
    ends = value_at(value, jnp.ones((len(x1) + len(y), 1)), jnp.concatenate([x1, y]))
    potential = ends[:len(x1)].mean() - conjugate(ends[len(x1):]).mean()
    away = t * std * xi + sigma * jnp.sqrt(t * (1 - t)) * eta
    x_t = (1 - t) * x0 + t * mean + away
    drift = mean - x0 + (std**2 - sigma**2) / (t * std**2 + (1 - t) * sigma**2) * away
    gradient = jax.grad(lambda x: value_at(value, t, x).sum())(x_t)
    return (gradient * (0.5 * gradient + drift)).sum(1).mean() - potential


def log_mixture(x_t, centre, variance, log_weight):
    """log of the sum over k of exp(log_weight_k) N(x_t; centre_k, variance_k); arguments (sources, k, d). Of components that are
    drawn and equally likely, None, it is twice that, less that over the sample's own half, whose bias is twice as large; k even."""
    square = ((x_t[:, :, None] - centre[:, None]) ** 2 / variance[:, None]).sum(-1)
    log_det = jnp.log(variance).sum(-1)[:, None]
    _, k, d = x_t.shape
    pairs, h = -0.5 * (square + log_det), k // 2
    if log_weight is not None:
        return jax.nn.logsumexp(pairs + log_weight[:, None], 2) - 0.5 * d * math.log(2 * math.pi)
    own = jnp.concatenate([jax.nn.logsumexp(pairs[:, :h, :h], 2), jax.nn.logsumexp(pairs[:, h:, h:], 2)], 1)
    return 2 * (jax.nn.logsumexp(pairs, 2) - math.log(k)) - (own - math.log(h)) - 0.5 * d * math.log(2 * math.pi)


def generator_loss(generator, value, batch, sigma, form):
    x0, _, extra, xi, raw_t, eta = batch
    d, eps = x0.shape[1], sigma * sigma
    raw, log_weight = components(generator, x0, extra, form)
    mean, std = head(raw, x0, sigma)
    t = common.GENERATOR_TIME_MIN + (1 - common.GENERATOR_TIME_MIN) * raw_t
    noise_var = eps * t * (1 - t)
    centre, variance = (1 - t) * x0 + t * mean, (t * std) ** 2 + noise_var
    deviation, held = jnp.sqrt(variance), jax.lax.stop_gradient
    x_t = centre + deviation * held((t * std * xi + jnp.sqrt(noise_var) * eta) / deviation)
    group = lambda a: a.reshape(-1, form.k, d)
    # Through the samples alone: the part through the components has mean zero.
    log_p = log_mixture(group(x_t), group(held(centre)), group(held(variance)), held(log_weight)).ravel()
    log_w = -0.5 * (((x_t - x0) ** 2).sum(1) / (eps * t[:, 0]) + d * jnp.log(2 * math.pi * eps * t[:, 0]))
    losses = value_at(value, t, x_t) + eps * (log_p - log_w)
    return losses.mean() if form.latent else (jnp.exp(log_weight) * losses.reshape(-1, form.k)).sum(1).mean()


def draw(key, source, target, n, form):
    """One batch: x0, y, z, xi, raw t, eta; n * k rows each, a source's k rows next to each other. Without latents, in place of z
    what the components are drawn by: one uniform number a source."""
    keys, k, d, rows = jax.random.split(key, 6), form.k, source.shape[1], n * form.k
    x0 = jnp.repeat(source[jax.random.randint(keys[0], (n,), 0, len(source))], k, 0)
    y = target[jax.random.randint(keys[1], (rows,), 0, len(target))]
    raw_t = jnp.repeat(jax.random.uniform(keys[2], (n, 1)), k, 0)
    normal = lambda key, width: jax.random.normal(key, (rows, width))
    extra = normal(keys[3], form.latent) if form.latent else jax.random.uniform(keys[3], (n, 1))
    return x0, y, extra, normal(keys[4], d), raw_t, normal(keys[5], d)


def main(a):
    jax.config.update("jax_default_prng_impl", a.prng)
    source, target = (jnp.asarray(p) for p in common.mixture_pools(a))
    sigma, form = math.sqrt(a.epsilon), common.Form(a.k, a.latent)
    kv, kg, key = jax.random.split(jax.random.key(a.seed), 3)
    value_inputs, generator_inputs = form.inputs(a.dim)
    value = init_mlp(kv, [value_inputs, *[a.hidden] * a.layers, 1])
    generator = init_mlp(kg, [generator_inputs, *[a.hidden] * a.layers, form.outputs(a.dim)], 0.5)
    value_adam, generator_adam = optax.adam(a.lr_value, b1=0.5, b2=0.99), optax.adam(a.lr_generator, b1=0.5, b2=0.99)
    batch = lambda key, source, target: draw(key, source, target, a.sources, form)

    def one(state, source, target):
        pv, pg, sv, sg, average, key = state
        key, a1, a2 = jax.random.split(key, 3)
        lv, dv = jax.value_and_grad(value_loss)(pv, pg, batch(a1, source, target), sigma, lambda v: v, form)
        update, sv = value_adam.update(dv, sv)
        pv = optax.apply_updates(pv, update)
        lg, dg = jax.value_and_grad(generator_loss)(pg, pv, batch(a2, source, target), sigma, form)
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
