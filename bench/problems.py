"""Problems whose truth owes nothing to the solver: a closed form, a plan known by construction, a grid solution.

Each problem has `d`, `epsilon`, `source(rng, rows)` and `target(rng, rows)` in float64, and `report(generate)`,
which takes `generate(x, seed)` (rows x d -> rows x d, one sample per row) and returns its measures by name.
"""
import functools

import numpy as np


class Gaussian:
    """N(0, I) -> N(m, diag s^2), balanced: Cov(x0, x1) has a closed form (Janati et al., NeurIPS 2020)."""

    def __init__(self, dim=2, epsilon=0.5):
        self.d, self.epsilon = dim, epsilon
        self.mean = np.full(dim, 2 / np.sqrt(dim))
        self.std = np.random.default_rng(0).uniform(0.5, 1.5, dim)
        self.cov = (np.sqrt(4 * self.std**2 + epsilon**2) - epsilon) / 2

    def source(self, rng, rows):
        return rng.normal(size=(rows, self.d))

    def target(self, rng, rows):
        return self.mean + self.std * rng.normal(size=(rows, self.d))

    def report(self, generate, rows=50_000):
        x = self.source(np.random.default_rng(1), rows)
        y = generate(x, 2)
        cov = ((x - x.mean(0)) * (y - y.mean(0))).mean(0)
        return {"mean_error": np.abs(y.mean(0) - self.mean).mean(), "variance_error": np.abs(y.var(0) - self.std**2).mean(),
                "covariance_error": np.abs(cov - self.cov).mean()}


class Mixture:
    """N(0, I) -> the target that a 5-component Gaussian-mixture potential gives (Gushchin et al., NeurIPS 2023).

    The potential's covariances are diagonal, or with `rotated` so in axes that are drawn at random.
    """

    def __init__(self, dim=2, epsilon=1.0, components=5, rotated=False):
        rng = np.random.default_rng(7)
        self.d, self.epsilon = dim, epsilon
        mu = rng.normal(size=(components, dim))
        self.mu = 5 * mu / np.linalg.norm(mu, axis=1, keepdims=True)
        self.var = rng.uniform(0.5, 1.5, (components, dim))
        self.plan_var = 1 / (1 / epsilon + 1 / self.var)
        # Of the potential's axes, by rows; what follows is in these but where it says otherwise.
        self.axes = np.linalg.qr(np.random.default_rng(8).normal(size=(dim, dim)))[0] if rotated else None

    def to_axes(self, x):
        return x if self.axes is None else x @ self.axes.T

    def from_axes(self, x):
        return x if self.axes is None else x @ self.axes

    def conditional(self, x):
        """Weights (rows, components) and means (rows, components, d) of the plan's mixture given x, all in the potential's axes."""
        diff = x[:, None] - self.mu
        log_w = -0.5 * (diff**2 / (self.var + self.epsilon) + np.log(self.var + self.epsilon)).sum(-1)
        w = np.exp(log_w - log_w.max(1, keepdims=True))
        w[w < 1e-30] = 0    # products with subnormal numbers are many times slower
        return w / w.sum(1, keepdims=True), self.plan_var * (self.mu / self.var + x[:, None] / self.epsilon)

    def source(self, rng, rows):
        return rng.normal(size=(rows, self.d))

    def target(self, rng, rows):
        return self.sample_plan(self.source(rng, rows), rng)

    def sample_plan(self, x, rng):
        """One draw of the plan for each row of x."""
        w, mean = self.conditional(self.to_axes(x))
        c = np.minimum((w.cumsum(1) < rng.uniform(size=(len(x), 1))).sum(1), w.shape[1] - 1)
        return self.from_axes(mean[np.arange(len(x)), c] + np.sqrt(self.plan_var[c]) * rng.normal(size=x.shape))

    def conditional_moments(self, x):
        """Mean (rows, d) and covariance (rows, d, d) of the plan given x, exact."""
        w, mean = self.conditional(self.to_axes(x))
        m = (w[..., None] * mean).sum(1)
        dm = mean - m[:, None]
        return self.moments_from_axes(m, np.einsum("nk,nki,nkj->nij", w, dm, dm) + (w @ self.plan_var)[:, :, None] * np.eye(self.d))

    def moments_from_axes(self, mean, cov):
        return (mean, cov) if self.axes is None else (mean @ self.axes, self.axes.T @ cov @ self.axes)

    @functools.cached_property
    def half_variance(self):
        return 0.5 * self.target(np.random.default_rng(5), 50_000).var(0).sum()

    def end_moments(self, x, block=10_000):
        """Mean and covariance of the plan's end when x are its beginnings, each exact given its x."""
        first, second = np.zeros(self.d), np.zeros((self.d, self.d))
        for i in range(0, len(x), block):   # in blocks, for the memory's sake
            w, mean = self.conditional(self.to_axes(x[i:i + block]))
            flat = mean.reshape(-1, self.d)
            weighted = w.reshape(-1, 1) * flat
            first += weighted.sum(0) / len(x)
            second += (weighted.T @ flat + np.diag(w.sum(0) @ self.plan_var)) / len(x)
        return self.moments_from_axes(first, second - np.outer(first, first))

    def percent(self, bw_squared):
        """UVP: BW^2 carries the factor 1/2 of the cost, the scale is half the target's variance."""
        return 100 * 0.5 * np.mean(bw_squared) / self.half_variance

    def report(self, generate, n_x=500, n_y=1000):
        """cBW2^2-UVP in percent, the benchmark's measure: mean over x of BW^2 between the plan given x and n_y samples."""
        x = self.source(np.random.default_rng(99), n_x)
        y = generate(np.repeat(x, n_y, 0), 3).reshape(n_x, n_y, self.d)
        return {"cbw_uvp_percent": self.percent(bures(*self.conditional_moments(x), *moments(y)))}

    def sharp_report(self, generate, n_x=50, n_y=4000):
        """The same measure with its bias taken off: 2 BW^2(n samples) - BW^2(n/2 samples), as the bias falls like 1/n.

        What is left of the floor is of order (d/n)^2 and noise of either sign.
        """
        x = self.source(np.random.default_rng(98), n_x)
        distances = []
        for i in range(0, n_x, 10):
            truth = self.conditional_moments(x[i:i + 10])
            y = generate(np.repeat(x[i:i + 10], n_y, 0), 1000 + i).reshape(-1, n_y, self.d)
            halves = [bures(*truth, *moments(part)) for part in np.split(y, 2, axis=1)]
            distances.append(2 * bures(*truth, *moments(y)) - np.mean(halves, 0))
        return {"sharp_cbw_uvp_percent": self.percent(np.concatenate(distances))}

    def marginal_report(self, generate, rows=50_000):
        """BW2^2-UVP of the end marginal in percent: BW^2 between the moments of one sample per x and the exact ones."""
        x = self.source(np.random.default_rng(97), rows)
        mean, cov = self.end_moments(x)
        m, c = moments(generate(x, 4)[None])
        return {"bw_uvp_percent": self.percent(bures(mean[None], cov[None], m, c))}


def moments(y):
    """Means and covariances over the samples of y (..., samples, d)."""
    m = y.mean(-2)
    dy = y - m[..., None, :]
    return m, np.swapaxes(dy, -1, -2) @ dy / y.shape[-2]


def bures(m1, c1, m2, c2):
    """Squared Bures-Wasserstein distance of Gaussians: |m1-m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2), batched."""
    lam, q = np.linalg.eigh(c1)
    root = (q * np.sqrt(np.maximum(lam, 0))[:, None]) @ q.transpose(0, 2, 1)
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ c2 @ root), 0)).sum(-1)
    trace = np.trace(c1, axis1=1, axis2=2) + np.trace(c2, axis1=1, axis2=2)
    return ((m1 - m2) ** 2).sum(-1) + trace - 2 * cross


class Outliers:
    """1-d: N(0, 1) -> 0.70 N(-2, .4) + 0.25 N(2, .4) + 0.05 N(6, .2), unbalanced; truth from a fixed point on a grid."""

    WEIGHTS, MEANS, STDS = np.array([0.70, 0.25, 0.05]), np.array([-2.0, 2.0, 6.0]), np.array([0.4, 0.4, 0.2])
    REGIONS = (("left", -99, 0), ("middle", 0, 4), ("outlier", 4, 99))

    def __init__(self, divergence="kl", epsilon=0.3, tau=1.0):
        self.d, self.divergence, self.epsilon, self.tau = 1, divergence, epsilon, tau
        self.solve()

    def solve(self):
        eps, tau = self.epsilon, self.tau
        grid = np.linspace(-8, 8, 1601)
        bump = lambda m, s: np.exp(-0.5 * ((grid - m) / s) ** 2) / s
        mu = bump(0, 1) / bump(0, 1).sum()
        nu = sum(w * bump(m, s) for w, m, s in zip(self.WEIGHTS, self.MEANS, self.STDS))
        nu /= nu.sum()
        kernel = np.exp(-((grid[:, None] - grid) ** 2) / (2 * eps))
        v = np.zeros_like(grid)
        for _ in range(20_000):     # rho_1 = Psi*'(V) nu and rho_1 = exp(-V / eps) A
            a = kernel.T @ (mu / (kernel @ np.exp(-v / eps)))
            ratio = np.log((a + 1e-300) / (nu + 1e-300))
            if self.divergence == "kl":
                new = ratio / (1 / eps + 1 / tau)
            elif self.divergence == "balanced":
                new = ratio * eps
            elif self.divergence == "chi2":
                new = v.copy()
                for _ in range(50):     # Newton on exp(-V / eps) A = max(0, 1 + V / (2 tau)) nu
                    left, right = a * np.exp(-new / eps), np.maximum(1 + new / (2 * tau), 0)
                    new -= (left - right * nu) / (-left / eps - nu * (right > 0) / (2 * tau) - 1e-300)
            else:
                raise ValueError(f"no grid truth for divergence {self.divergence!r}: balanced, kl or chi2")
            new = np.clip(new, -200, 200)
            done = np.abs(new - v)[nu > 1e-12].max() < 1e-9
            v = new
            if done:
                break
        w = np.exp(-v / eps)
        z = kernel @ w
        rho = w * (kernel.T @ (mu / z))
        self.grid, self.rho, self.conditional_mean = grid, rho / rho.sum(), ((kernel * w) @ grid) / z

    def true_masses(self):
        return {name: self.rho[(self.grid >= lo) & (self.grid < hi)].sum() for name, lo, hi in self.REGIONS}

    def source(self, rng, rows):
        return rng.normal(size=(rows, 1))

    def target(self, rng, rows):
        c = rng.choice(3, size=(rows, 1), p=self.WEIGHTS)
        return self.MEANS[c] + self.STDS[c] * rng.normal(size=(rows, 1))

    def report(self, generate, rows=200_000, per_point=20_000):
        y = np.sort(generate(self.source(np.random.default_rng(1), rows), 2)[:, 0])
        quantiles = np.interp((np.arange(rows) + 0.5) / rows, np.cumsum(self.rho), self.grid)
        truth = self.true_masses()
        masses = {name: np.mean((y >= lo) & (y < hi)) for name, lo, hi in self.REGIONS}
        xs = np.linspace(-2, 2, 9)
        means = generate(np.repeat(xs, per_point)[:, None], 4).reshape(9, per_point).mean(1)
        report = {f"mass_{name}": mass for name, mass in masses.items()}
        report["mass_error"] = max(abs(masses[name] - truth[name]) for name in truth)
        report["w2_to_optimum"] = np.sqrt(((y - quantiles) ** 2).mean())
        report["conditional_mean_error"] = np.abs(means - np.interp(xs, self.grid, self.conditional_mean)).mean()
        return report


def pools(problem, rows, seed=11):
    """Pre-drawn samples of both sides, float32, rows x d each."""
    rng = np.random.default_rng(seed)
    return problem.source(rng, rows).astype(np.float32), problem.target(rng, rows).astype(np.float32)
