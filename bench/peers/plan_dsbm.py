"""DSBM with iterative Markovian fitting (Shi, De Bortoli, Campbell, Doucet, "Diffusion Schroedinger bridge matching", NeurIPS
2023).

Two drifts, one for each direction of time, regressed in turn on Brownian bridges between the ends of the last coupling: the
independent one first, then pairs simulated with the other direction's averaged drift. The budget is cut into 2 x `outer` - 1
equal phases: forward, backward, ..., forward. A phase begins with `pairs` simulated in `simulation_steps` steps, whose time
counts. Losses are weighted by the inverse of the target's variance, 1 / (1 + sigma^2 t / (1 - t)); the rate falls by a cosine
within each phase to a tenth, and to a hundredth in the last.

Tried, one seed, in seconds of one core: at d = 16, epsilon = 1 (30 s) `outer` 2 / 4 / 7 gave 1.15 / 0.69 / 0.58 percent at rate
2e-3, rates 1e-3 / 2e-3 / 5e-3 gave 0.43 / 0.69 / 0.67; at d = 2, epsilon = 0.1 (8 s) rates 2e-3 / 5e-3 gave 0.077 / 0.031 and
`outer` = 8 gave 0.48.
"""
import time

import jax
import jax.numpy as jnp

from benchmark import width
from plan_networks import Units, adam_start, adam_step, chunked, cosine, in_blocks, mlp, mlp_start

STEPS_PER_CALL = 20
SAMPLING_STEPS = 100
TIME_MARGIN = 1e-3


def settings(dim, epsilon):
    outer, rate = (4, 5e-3) if dim <= 2 else (6, 1e-3)
    return dict(width=width(dim), outer=outer, pairs=10_000, simulation_steps=50, batch=512, learning_rate=rate, ema=0.998)


class Method:
    done = False

    def __init__(self, task, width, outer, pairs, simulation_steps, batch, learning_rate, ema):
        self.units, self.budget, self.rate = Units(task.source, task.target, task.epsilon), task.budget, learning_rate
        self.phases, self.pairs = 2 * outer - 1, min(pairs, len(task.source))
        self.key = jax.random.key(task.seed)
        dim, sigma = task.source.shape[1], self.units.sigma

        def drift_step(state, key, begins, ends, rate, independent):
            """A step on bridges from begins to ends, in the own direction's time."""
            k1, k2, k3, k4 = jax.random.split(key, 4)
            i = jax.random.randint(k1, (batch,), 0, len(begins))
            j = jnp.where(independent, jax.random.randint(k4, (batch,), 0, len(ends)), i)
            t = jax.random.uniform(k2, (batch, 1), minval=TIME_MARGIN, maxval=1 - TIME_MARGIN)
            noise = jax.random.normal(k3, (batch, dim))
            state_t = (1 - t) * begins[i] + t * ends[j] + sigma * jnp.sqrt(t * (1 - t)) * noise
            drift = ends[j] - begins[i] - sigma * jnp.sqrt(t / (1 - t)) * noise
            weight = 1 / (1 + sigma**2 * t / (1 - t))
            gradient = jax.grad(lambda p: (weight * (mlp(p, t, state_t) - drift) ** 2).mean())(state["params"])
            return adam_step(state, gradient, rate, ema)

        def simulate(steps):
            @jax.jit
            def run(params, x, key):
                def body(n, x):
                    t = jnp.full((len(x), 1), n / steps)
                    noise = jax.random.normal(jax.random.fold_in(key, n), x.shape)
                    return x + mlp(params, t, x) / steps + sigma * noise / steps**0.5
                return jax.lax.fori_loop(0, steps, body, x)
            return run

        self.nets = {way: adam_start(mlp_start(self.next_key(), dim, width)) for way in ("backward", "forward")}
        some = self.units.source[:self.pairs]
        self.call = chunked(drift_step, STEPS_PER_CALL, self.nets["forward"], some, some, 1e-3, False)
        jax.block_until_ready(self.call(self.nets["forward"], self.key, self.units.source, self.units.target, 1e-3, True))
        self.simulate, self.many_steps, self.one_step = simulate(simulation_steps), simulate(SAMPLING_STEPS), simulate(1)
        jax.block_until_ready(self.simulate(self.nets["forward"]["average"], some, self.key))
        self.steps, self.phase, self.gone = 0, -1, 0.0

    def next_key(self):
        self.key, key = jax.random.split(self.key)
        return key

    def begin_phase(self, phase):
        """Where this phase's direction begins and ends: the ends are one side's samples, simulated the other way for begins."""
        self.phase, self.way, other = phase, *(("backward", "forward") if phase % 2 else ("forward", "backward"))
        sides = {"forward": (self.units.source, self.units.target), "backward": (self.units.target, self.units.source)}
        self.begins, self.ends = sides[self.way]
        if phase:
            self.ends = jax.random.choice(self.next_key(), self.ends, (self.pairs,), replace=False)
            self.begins = jax.block_until_ready(self.simulate(self.nets[other]["average"], self.ends, self.next_key()))

    def train(self, seconds):
        start = time.perf_counter()
        before = self.gone
        while (self.gone - before) < seconds:
            position = self.gone / self.budget * self.phases
            phase = min(int(position), self.phases - 1)
            if phase != self.phase:
                self.begin_phase(phase)
            rate = self.rate * cosine(position - phase, 0.01 if phase == self.phases - 1 else 0.1)
            self.nets[self.way] = jax.block_until_ready(
                self.call(self.nets[self.way], self.next_key(), self.begins, self.ends, rate, phase == 0))
            self.steps += STEPS_PER_CALL
            self.gone = before + time.perf_counter() - start

    def samplers(self):
        params = self.nets["forward"]["average"]

        def sampler(simulate):
            blocks = in_blocks(lambda x, key: simulate(params, x, key))
            return lambda x, seed: self.units.unscaled(blocks(self.units.scaled(x), seed))
        return {f"DSBM-IMF, {SAMPLING_STEPS} steps": sampler(self.many_steps), "DSBM-IMF, 1 step": sampler(self.one_step)}
