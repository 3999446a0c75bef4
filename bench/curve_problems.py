"""N(0, I) to thin shapes in the plane whose density is known: curves with Gaussian noise across them, and a checkerboard.

The plan is not known; the end marginal is measured: W2 to true samples, and the likelihood under the true density.
"""
import numpy as np

POINTS = 2000       # of a curve, for its density: their distances are a fraction of the noise


def s_curve(u):
    t = 3 * np.pi * (u - 0.5)
    return 1.3 * np.sin(t), 0.9 * np.sign(t) * (np.cos(t) - 1)


def ring(u):
    return 2 * np.cos(2 * np.pi * u), 2 * np.sin(2 * np.pi * u)


def spiral(u):
    angle = 3.5 * np.pi * np.sqrt(u)
    return 0.25 * angle * np.cos(angle), 0.25 * angle * np.sin(angle)


def moons(u):
    angle, first = np.pi * (2 * u % 1), u < 0.5
    return (1.5 * np.where(first, np.cos(angle) - 0.5, 0.5 - np.cos(angle)),
            1.5 * np.where(first, np.sin(angle) - 0.25, 0.25 - np.sin(angle)))


CURVES = {"S-curve": s_curve, "ring": ring, "spiral": spiral, "two moons": moons}
SQUARES = np.array([(i - 2, j - 2) for i in range(4) for j in range(4) if (i + j) % 2 == 0], float)     # lower left corners, side 1


class Curve:
    def __init__(self, shape="ring", sigma=0.3):
        self.d, self.epsilon = 2, sigma**2
        self.curve = CURVES.get(shape)
        self.noise = 0.1 if self.curve else 0.03

    def source(self, rng, rows):
        return rng.normal(size=(rows, 2))

    def target(self, rng, rows):
        if self.curve:
            y = np.stack(self.curve(rng.uniform(size=rows)), 1)
        else:
            y = SQUARES[rng.integers(len(SQUARES), size=rows)] + rng.uniform(size=(rows, 2))
        return y + self.noise * rng.normal(size=(rows, 2))

    def sample_plan(self, x, rng):
        """Fresh samples of the target: the true end marginal, whatever x is."""
        return self.target(rng, len(x))

    def log_density(self, y, block=1000):
        return np.concatenate([self._log_density(y[i:i + block]) for i in range(0, len(y), block)])

    def _log_density(self, y):
        from scipy.special import log_ndtr, logsumexp
        if self.curve:
            points = np.stack(self.curve((np.arange(POINTS) + 0.5) / POINTS), 1)
            squared = ((y[:, None] - points) ** 2).sum(-1)
            return logsumexp(-squared / (2 * self.noise**2), axis=1) - np.log(2 * np.pi * self.noise**2 * POINTS)
        # of each square and direction: Phi(begin) - Phi(end), of the distances from both, from the side where they are small
        begin = (y[:, None] - SQUARES) / self.noise
        end = begin - 1 / self.noise
        far, near = np.where(begin + end > 0, -begin, end), np.where(begin + end > 0, -end, begin)
        inside = log_ndtr(near) + np.log1p(-np.exp(np.minimum(log_ndtr(far) - log_ndtr(near), -1e-12)))
        return logsumexp(inside.sum(-1), axis=1) - np.log(len(SQUARES))

    def report(self, generate, rows=10_000, w2_rows=2000, draws=3):
        """W2 of samples to as many true ones, the mean of some draws; and the samples' mean log density, as true ones have it."""
        import ot
        distances = []
        for draw in range(draws):
            rng = np.random.default_rng([41, draw])
            y, truth = generate(self.source(rng, w2_rows), 10 + draw), self.target(rng, w2_rows)
            finite = np.isfinite(y).all()
            distances.append(ot.emd2([], [], ot.dist(y, truth), numItermax=1_000_000) ** 0.5 if finite else np.nan)
        y = generate(self.source(np.random.default_rng(42), rows), 9)
        return {"w2": np.mean(distances), "log_likelihood": self.log_density(y).mean()}
