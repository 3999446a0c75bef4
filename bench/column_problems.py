"""Tables as users have them: columns of very different scales, with tails, with two modes. Only the marginals are known.

Both sides have the same columns, each independent of the others, and column j is measured in units of its own. A solver that has
one length for all of them sees the narrow ones as nearly constant.
"""
import numpy as np

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def modes(rng, rows):
    return np.where(rng.uniform(size=rows) < 0.6, -1.5, 1.5) + 0.3 * rng.normal(size=rows)


# of a column in its own units: source, target, and the target's standard deviation
LAWS = {
    "gaussian": (lambda rng, n: rng.normal(size=n), lambda rng, n: 1 + 0.5 * rng.normal(size=n), 0.5),
    "modes": (lambda rng, n: rng.normal(size=n), modes, (9 * 0.6 * 0.4 + 0.3**2) ** 0.5),
    "lognormal": (lambda rng, n: rng.lognormal(0, 0.5, n), lambda rng, n: rng.lognormal(0.5, 1, n), (np.e - 1) ** 0.5 * np.e),
    "student": (lambda rng, n: rng.normal(size=n), lambda rng, n: rng.standard_t(3, n), 3**0.5)}
# the laws of the columns, and the units of the last in those of the first; between them the units rise evenly in their logarithms
TABLES = {
    "gaussian, 1 : 1e2": (["gaussian"] * 2, 1e2), "gaussian, 1 : 1e4": (["gaussian"] * 2, 1e4),
    "modes, 1 : 1e2": (["modes"] * 2, 1e2), "modes, 1 : 1e4": (["modes"] * 2, 1e4),
    "five columns, 1 : 1e4": (["modes", "gaussian", "modes", "gaussian", "modes"], 1e4),
    "lognormal pair": (["lognormal"] * 2, 1.0), "Student-t and Gaussian": (["student", "gaussian"], 1.0)}


class Columns:
    """`sigma` is a multiple of `length`, the common scale of the samples of both sides."""

    def __init__(self, table="modes, 1 : 1e2", sigma=0.1, truth_rows=1_000_000):
        names, ratio = TABLES[table]
        self.laws, self.units = [LAWS[name] for name in names], np.geomspace(1, ratio, len(names))
        self.d = len(names)
        self.std = self.units * [std for *_, std in self.laws]
        self.truth = np.quantile(self.target(np.random.default_rng(31), truth_rows), LEVELS, axis=0)
        sides = self.source(np.random.default_rng(32), 50_000), self.target(np.random.default_rng(33), 50_000)
        centre = (sides[0].mean(0) + sides[1].mean(0)) / 2
        self.length = float(np.sqrt(np.mean([((side - centre) ** 2).mean() for side in sides])))
        self.epsilon = (sigma * self.length) ** 2

    def draw(self, side, rng, rows):
        return np.stack([law[side](rng, rows) for law in self.laws], 1) * self.units

    def source(self, rng, rows):
        return self.draw(0, rng, rows)

    def target(self, rng, rows):
        return self.draw(1, rng, rows)

    def sample_plan(self, x, rng):
        """Fresh samples of the target: the true marginals, whatever x is."""
        return self.target(rng, len(x))

    def report(self, generate, rows=50_000):
        """Of the worst column: the ratio of the standard deviation to the true one, and the largest error of a quantile in percent
        of the true standard deviation. `columns` has them all."""
        y = generate(self.source(np.random.default_rng(34), rows), 6)
        ratios = y.std(0) / self.std
        errors = 100 * (np.quantile(y, LEVELS, axis=0) - self.truth) / self.std
        worst = np.argmax(np.abs(np.log(np.maximum(ratios, 1e-30))))
        return {"std_ratio": ratios[worst], "quantile_error_percent": np.abs(errors).max(),
                "columns": {"std_ratio": ratios.round(4).tolist(), "quantile_error_percent": errors.T.round(2).tolist()}}
