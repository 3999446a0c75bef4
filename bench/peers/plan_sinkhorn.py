"""Sinkhorn on as many samples as the budget allows, with the plan that its potential gives away from the samples.

    p(y_j | x)  ~  exp((g_j - |x - y_j|^2 / 2) / epsilon)    over the target samples y_j: a discrete plan for any x.

Solved for 1000 samples a side first, then for twice as many, started from the potentials found (the same formula gives them at
new samples), as long as the time that is left allows the larger problem as many rounds (ROUNDS where the smaller has not
converged); the largest that has converged or had ROUNDS rounds is sampled. A size is left when it has converged or has had an
eighth of the budget.
"""
import time

import jax
import jax.numpy as jnp
import numpy as np

from entropic import INNER, cost, sinkhorn_round, soft_minimum

ROUNDS = 8


def settings(dim, epsilon):
    return dict(first_rows=1000, most_rows=16_000, tolerance=1e-3)


class Method:
    done = False

    def __init__(self, task, first_rows, most_rows, tolerance):
        self.epsilon, self.budget, self.tolerance = task.epsilon, task.budget, tolerance
        rng = np.random.default_rng(task.seed)
        self.most = min(most_rows, len(task.source))
        self.source, self.target = (jnp.asarray(side[rng.permutation(len(side))[:self.most]])
                                    for side in (task.source, task.target))
        self.compile(min(first_rows, self.most))
        self.steps, self.gone, self.solved = 0, 0.0, None
        self.open(min(first_rows, self.most), jnp.zeros(min(first_rows, self.most)))

    def compile(self, rows):
        """A round and the step to the next size, for every size, so that no budget pays for it."""
        def extended(c, g, source, more):
            f = soft_minimum(c, g, self.epsilon, 1)
            return jnp.concatenate([g, soft_minimum(cost(source, more), f[:, None], self.epsilon, 0)])

        numbers = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)
        dim, self.rounds_of, self.extended_of = self.source.shape[1], {}, {}
        while True:
            compiled = jax.jit(lambda c, g: sinkhorn_round(c, g, self.epsilon)).lower(numbers(rows, rows), numbers(rows))
            self.rounds_of[rows], bigger = compiled.compile(), min(2 * rows, self.most)
            if bigger == rows:
                return
            self.extended_of[rows] = jax.jit(extended).lower(
                numbers(rows, rows), numbers(rows), numbers(rows, dim), numbers(bigger - rows, dim)).compile()
            rows = bigger

    def open(self, rows, g):
        self.rows, self.g, self.rounds, self.spent = rows, g, 0, 0.0
        self.cost = cost(self.source[:rows], self.target[:rows])

    def grow(self):
        rows = min(2 * self.rows, self.most)
        more = self.target[self.rows:rows]
        self.open(rows, self.extended_of[self.rows](self.cost, self.g, self.source[:self.rows], more))

    def train(self, seconds):
        end = time.perf_counter() + seconds
        while not self.done and (start := time.perf_counter()) < end:
            _, self.g, error = jax.block_until_ready(self.rounds_of[self.rows](self.cost, self.g))
            now = time.perf_counter() - start
            self.rounds, self.steps = self.rounds + 1, self.steps + INNER + 1
            self.spent, self.gone = self.spent + now, self.gone + now
            converged = float(error) < self.tolerance
            if converged or self.rounds >= ROUNDS or self.solved is None:
                self.solved = self.rows, self.g
            rounds = self.rounds if converged else ROUNDS
            room = self.rows < self.most and self.gone + 4 * rounds * self.spent / self.rounds < self.budget
            if room and (converged or self.spent > self.budget / 8):
                start = time.perf_counter()
                self.grow()
                self.gone += time.perf_counter() - start
            self.done = converged and not room

    @property
    def note(self):
        return f"{self.solved[0]} samples"

    def samplers(self):
        rows, g = self.solved
        y = self.target[:rows]
        table = np.asarray(y, np.float64)

        @jax.jit
        def cumulative(x):
            return jnp.cumsum(jax.nn.softmax((g - cost(x, y)) / self.epsilon, 1), 1)

        def generate(x, seed):
            rng = np.random.default_rng(seed)
            starts = np.flatnonzero(np.r_[True, (x[1:] != x[:-1]).any(1)])     # equal rows share one conditional
            counts, chosen = np.diff(np.r_[starts, len(x)]), np.empty(len(x), np.int64)
            for i in range(0, len(starts), 500):
                block = starts[i:i + 500]
                for c, start, count in zip(np.asarray(cumulative(jnp.asarray(x[block], jnp.float32))), block, counts[i:i + 500]):
                    chosen[start:start + count] = np.searchsorted(c, rng.uniform(size=count) * c[-1])
            return table[np.minimum(chosen, rows - 1)]
        return {"Sinkhorn, out of sample": generate}
