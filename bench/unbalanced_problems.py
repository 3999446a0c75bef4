"""Unbalanced problems with their truth: Gaussians in closed form, and mixtures in one and two dimensions on a grid.

All are min E[1/2 |x0 - x1|^2] - epsilon E[H(x1 | x0)] + D(law of x1 | nu) with the source fixed. The entropy is that of the
density, as in the library: with samples of nu in place of a grid, one would have to weight them by 1 / nu.
"""
import numpy as np
import scipy.special

TINY = 1e-250


class UnbalancedGaussian:
    """N(0, I) -> N(m, S), KL with weight tau. The optimum stays Gaussian, as with both sides relaxed (Janati, Muzellec, Peyre,
    Cuturi, NeurIPS 2020).

    With V(y) = 1/2 y'Py - q'y + c and M = (I + P)^-1 the plan sends x to N(M (x + q), epsilon M), so that the end marginal is
    N(Mq, C), C = M^2 + epsilon M. It also is exp(V / tau) nu: C^-1 = S^-1 - P / tau and C^-1 M q = S^-1 m - q / tau. The first
    makes M a function of S; with k = 1 / s + 1 / tau for each eigenvalue s of S, its eigenvalue solves
    k M^2 + (epsilon k - 1 / tau) M - (1 + epsilon / tau) = 0. Cov(x0, x1) = M.
    """

    def __init__(self, dim, epsilon=0.5, tau=1.0):
        self.d, self.epsilon, self.tau, self.divergence = dim, epsilon, tau, "kl"
        rng = np.random.default_rng(0)
        axes = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
        variances = rng.uniform(0.5, 1.5, dim) ** 2
        k = 1 / variances + 1 / tau
        linear = epsilon * k - 1 / tau
        m = (np.sqrt(linear**2 + 4 * k * (1 + epsilon / tau)) - linear) / (2 * k)
        c = m**2 + epsilon * m
        self.target_mean, self.root = np.full(dim, 2 / np.sqrt(dim)), (axes * np.sqrt(variances)) @ axes.T
        q = (axes.T @ self.target_mean) / variances / (m / c + 1 / tau)
        self.mean, self.cov, self.cross = axes @ (m * q), (axes * c) @ axes.T, (axes * m) @ axes.T
        # The largest log density ratio among 999 of 1000 generated samples: the library's KL is continued linearly past 8.
        y = rng.multivariate_normal(self.mean, self.cov, 20_000)
        log_ratio = log_normal(y, self.mean, self.cov) - log_normal(y, self.target_mean, self.root @ self.root)
        self.log_ratio_999 = np.quantile(log_ratio, 0.999)

    def source(self, rng, rows):
        return rng.normal(size=(rows, self.d))

    def target(self, rng, rows):
        return self.target_mean + rng.normal(size=(rows, self.d)) @ self.root

    def report(self, generate, rows=100_000):
        x = self.source(np.random.default_rng(1), rows)
        y = generate(x, 2)
        both = np.cov(np.concatenate([x, y], 1).T)
        cov, cross = both[self.d:, self.d:], both[:self.d, self.d:]
        scale = lambda a: np.linalg.norm(a) / np.sqrt(self.d)
        return {"mean_error": scale(y.mean(0) - self.mean), "covariance_error": scale(cov - self.cov),
                "cross_error": scale(cross - self.cross)}


def log_normal(y, mean, cov):
    diff = y - mean
    return -0.5 * ((diff @ np.linalg.inv(cov) * diff).sum(1) + np.linalg.slogdet(2 * np.pi * cov)[1])


class Mixture:
    """Isotropic Gaussian mixture, weights (k), means (k, d), standard deviations (k)."""

    def __init__(self, weights, means, stds):
        self.weights, self.means, self.stds = np.asarray(weights, float), np.asarray(means, float), np.asarray(stds, float)
        self.d = self.means.shape[1]

    def log_terms(self, y):
        """log of weight times density of each component, (..., k)."""
        square = ((y[..., None, :] - self.means) ** 2).sum(-1) / self.stds**2
        return np.log(self.weights) - 0.5 * square - self.d * np.log(self.stds) - 0.5 * self.d * np.log(2 * np.pi)

    def sample(self, rng, rows):
        """Samples and their components."""
        c = rng.choice(len(self.weights), rows, p=self.weights / self.weights.sum())
        return self.means[c] + self.stds[c, None] * rng.normal(size=(rows, self.d)), c


class GridPlan:
    """The optimum between two mixtures in d = 1 or 2 on product grids, where the heat kernel is a product of one-d kernels.

    Fixed point in V: with A the heat flow of mu / Z and Z that of exp(-V / epsilon), the end marginal is exp(-V / epsilon) A and
    is Psi*'(V) nu. Solved for V at every grid point in closed form (chi2 by Wright's omega function), with Anderson mixing.
    """

    def __init__(self, mu, nu, epsilon, divergence="kl", tau=1.0, step=0.05, tolerance=1e-8, sweeps=20_000):
        self.mu, self.nu, self.epsilon, self.divergence, self.tau, self.d = mu, nu, epsilon, divergence, tau, mu.d
        self.source_axes, self.axes = self.axes_of(mu, step), self.axes_of(nu, step, wide=mu)
        self.kernels = [self.kernel(s[:, None], t) for s, t in zip(self.source_axes, self.axes)]
        self.points = np.stack(np.meshgrid(*self.axes, indexing="ij"), -1)
        start = np.stack(np.meshgrid(*self.source_axes, indexing="ij"), -1)
        p = np.exp(np.logaddexp.reduce(mu.log_terms(start), -1))
        self.p, self.cell = p / p.sum(), np.prod([a[1] - a[0] for a in self.axes])
        self.log_nu = np.logaddexp.reduce(nu.log_terms(self.points), -1)
        self.v, self.residual = self.solve(tolerance, sweeps)
        self.w = np.exp(-(self.v - self.v.min()) / epsilon)
        rho = self.w * self.back(self.p / self.heat(self.w))
        self.rho = rho / rho.sum()

    def axes_of(self, side, step, wide=None):
        reach = 5 * side.stds[:, None]
        lo, hi = (side.means - reach).min(0), (side.means + reach).max(0)
        if wide is not None and self.divergence != "balanced" and self.tau < 3 * self.epsilon:     # little is transported then
            reach = 5 * wide.stds[:, None]
            lo, hi = np.minimum(lo, (wide.means - reach).min(0)), np.maximum(hi, (wide.means + reach).max(0))
        return [np.linspace(a, b, int(np.ceil((b - a) / step)) + 1) for a, b in zip(lo, hi)]

    def kernel(self, x, y):
        return np.exp(-((x - y) ** 2) / (2 * self.epsilon)) / np.sqrt(2 * np.pi * self.epsilon)

    def heat(self, w):
        return self.kernels[0] @ w if self.d == 1 else self.kernels[0] @ w @ self.kernels[1].T

    def back(self, f):
        return self.kernels[0].T @ f if self.d == 1 else self.kernels[0].T @ f @ self.kernels[1]

    def update(self, v):
        low = v.min()
        z = self.heat(np.exp(-(v - low) / self.epsilon)) * self.cell + TINY
        log_a = np.log(self.back(self.p / z) + TINY) + low / self.epsilon
        ratio = log_a - self.log_nu
        if self.divergence == "balanced":
            return self.epsilon * ratio
        if self.divergence == "kl":
            return ratio / (1 / self.epsilon + 1 / self.tau)
        k = 2 * self.tau / self.epsilon     # log r + k (r - 1) = log(A / nu), r the density ratio
        return 2 * self.tau * (scipy.special.wrightomega(np.log(k) + k + ratio) / k - 1)

    def solve(self, tolerance, sweeps, memory=8):
        shape, weight = self.log_nu.shape, np.exp(0.5 * (self.log_nu - self.log_nu.max())).ravel()
        seen = weight > 1e-5
        v, best = np.zeros(shape), (np.inf, None)
        values, residuals = [], []
        for _ in range(sweeps):
            new = self.update(v)
            r = new - v
            size = np.abs(r.ravel()[seen]).max() if np.isfinite(r).all() else np.inf
            if size < best[0]:
                best = size, new
            if size < tolerance:
                break
            values, residuals = [*values, new.ravel()][-memory:], [*residuals, r.ravel()][-memory:]
            if not size < 100 * best[0] + 1:        # mixing went astray: begin again at the best
                v, values, residuals = best[1], [], []
                continue
            dr = np.diff(np.array(residuals), axis=0)
            if len(dr):
                normal = (dr * weight) @ (dr * weight).T
                rhs = (dr * weight) @ (residuals[-1] * weight)
                gamma = np.linalg.lstsq(normal, rhs, rcond=1e-12)[0]
                v = (values[-1] - gamma @ np.diff(np.array(values), axis=0)).reshape(shape)
            else:
                v = new
        return best[1], best[0]

    def share(self, inside):
        """Mass of the end marginal where `inside` (boolean, grid)."""
        return self.rho[inside].sum()

    def expectation(self, x, f):
        """E[f(x1) | x0 = x] for f on the grid, x (rows, d)."""
        k = [self.kernel(x[:, [i]], axis) for i, axis in enumerate(self.axes)]
        over = (lambda g: k[0] @ g) if self.d == 1 else (lambda g: np.einsum("na,ab,nb->n", k[0], g, k[1], optimize=True))
        return over(self.w * f) / over(self.w)

    def sample(self, rng, rows):
        """Samples of the end marginal, uniform within a cell."""
        flat = rng.choice(self.rho.size, rows, p=self.rho.ravel())
        steps = np.array([a[1] - a[0] for a in self.axes])
        return self.points.reshape(-1, self.d)[flat] + steps * (rng.uniform(size=(rows, self.d)) - 0.5)

    def log_ratio(self, y):
        """log of the density ratio at samples y, by interpolation of V."""
        from scipy.interpolate import RegularGridInterpolator
        v = RegularGridInterpolator(self.axes, self.v, bounds_error=False, fill_value=None)(y)
        if self.divergence == "kl":
            return v / self.tau
        return np.log(np.maximum(1 + v / (2 * self.tau), 1e-30)) if self.divergence == "chi2" else 0 * v
