"""Plans whose covariances are full: correlated Gaussians, and mixtures of components that have axes of their own.

The plan given x is a mixture of N(r_k + S_k x, epsilon S_k) with weights in closed form; the reports are those of problems.Mixture.
"""
import numpy as np

from problems import Mixture

BLOCK = 10_000      # rows at once, for the memory's sake


def random_axes(rng, dim):
    """Orthonormal rows."""
    return np.linalg.qr(rng.normal(size=(dim, dim)))[0]


def power(matrix, exponent):
    """Of a symmetric positive matrix."""
    lam, q = np.linalg.eigh(matrix)
    return (q * lam**exponent) @ q.T


class FullPlan(Mixture):
    """Needs `weights(x)`, and `shift` (k, d) and `gain` (k, d, d), the r_k and S_k above."""

    axes = None

    def conditional(self, x):
        return self.weights(x), self.shift + np.einsum("kij,nj->nki", self.gain, x, optimize=True)

    def target(self, rng, rows):
        return np.concatenate([self.sample_plan(self.source(rng, min(BLOCK, rows - i)), rng) for i in range(0, rows, BLOCK)])

    def sample_plan(self, x, rng):
        w, mean = self.conditional(x)
        c = np.minimum((w.cumsum(1) < rng.uniform(size=(len(x), 1))).sum(1), w.shape[1] - 1)
        y, noise = mean[np.arange(len(x)), c], rng.normal(size=x.shape)
        for k, root in enumerate(np.linalg.cholesky(self.epsilon * self.gain)):
            y[c == k] += noise[c == k] @ root.T
        return y

    def conditional_moments(self, x):
        w, mean = self.conditional(x)
        m = (w[..., None] * mean).sum(1)
        dm = mean - m[:, None]
        return m, np.einsum("nk,nki,nkj->nij", w, dm, dm, optimize=True) + self.epsilon * np.einsum("nk,kij->nij", w, self.gain)

    def end_moments(self, x, block=BLOCK):
        first, second = np.zeros(self.d), np.zeros((self.d, self.d))
        for i in range(0, len(x), block):
            w, mean = self.conditional(x[i:i + block])
            flat = mean.reshape(-1, self.d)
            weighted = w.reshape(-1, 1) * flat
            first += weighted.sum(0) / len(x)
            second += (weighted.T @ flat + self.epsilon * np.einsum("nk,kij->ij", w, self.gain)) / len(x)
        return first, second - np.outer(first, first)


class OwnAxes(FullPlan):
    """problems.Mixture with the covariances of the potential's components each in axes of its own."""

    def __init__(self, dim=2, epsilon=1.0, components=5):
        super().__init__(dim, epsilon, components)
        rng = np.random.default_rng(9)
        self.turns = np.stack([random_axes(rng, dim) for _ in range(components)])
        in_axes = lambda values: np.einsum("kji,kj,kjl->kil", self.turns, values, self.turns, optimize=True)
        self.gain = in_axes(self.plan_var / epsilon)
        self.shift = np.einsum("kij,kj->ki", in_axes(self.plan_var / self.var), self.mu)

    def weights(self, x):
        along = np.einsum("kij,nkj->nki", self.turns, x[:, None] - self.mu, optimize=True)
        log_w = -0.5 * (along**2 / (self.var + self.epsilon) + np.log(self.var + self.epsilon)).sum(-1)
        w = np.exp(log_w - log_w.max(1, keepdims=True))
        w[w < 1e-30] = 0    # products with subnormal numbers are many times slower
        return w / w.sum(1, keepdims=True)


class Correlated(FullPlan):
    """N(0, A) -> N(m, B), balanced: the plan given x is N(m + Q x, epsilon Q) with

        Q = A^-1/2 [(A^1/2 B A^1/2 + epsilon^2/4 I)^1/2 - epsilon/2 I] A^-1/2    (Janati et al., NeurIPS 2020).

    B's variances fall evenly in their logarithms from `largest` to `largest` / condition, in axes drawn at random. A is I, or with
    `source_axes` such a matrix with its own axes, from 1 to 1 / condition.
    """

    def __init__(self, dim=2, epsilon=1.0, condition=100.0, source_axes=False, largest=10**0.5):
        rng = np.random.default_rng(21)
        self.d, self.epsilon, self.mean = dim, epsilon, np.full(dim, 2 / np.sqrt(dim))
        variances = np.geomspace(1, 1 / condition, dim)
        self.axes_b, axes_a = random_axes(rng, dim), random_axes(rng, dim)
        self.var_b = largest * variances
        b = (self.axes_b.T * self.var_b) @ self.axes_b
        a = (axes_a.T * variances) @ axes_a if source_axes else np.eye(dim)
        self.root_a, back = power(a, 0.5), power(a, -0.5)
        lam, q = np.linalg.eigh(self.root_a @ b @ self.root_a)
        lam = np.maximum(lam, 0)
        # The bracket, written without a difference of numbers that are nearly the same.
        middle = (q * (lam / (np.sqrt(lam + epsilon**2 / 4) + epsilon / 2))) @ q.T
        self.gain, self.shift = (back @ middle @ back)[None], self.mean[None]
        self.half_variance = 0.5 * self.var_b.sum()

    def source(self, rng, rows):
        return rng.normal(size=(rows, self.d)) @ self.root_a

    def weights(self, x):
        return np.ones((len(x), 1))

    def narrow_report(self, generate, rows=50_000):
        """Spread of the end along the narrowest axis of B, generated / true: hardly any of the variance that the percents count."""
        y = generate(self.source(np.random.default_rng(96), rows), 5)
        return {"narrow_ratio": (y @ self.axes_b[-1]).std() / np.sqrt(self.var_b[-1])}
