"""Tests of the truths of shapes.py, which need NumPy alone (curves' SciPy as well); scripts/gpu-rehearsal runs them."""
import importlib.util
import unittest

import numpy as np

from column_problems import TABLES, Columns
from correlated_problems import Correlated, OwnAxes
from curve_problems import CURVES, Curve


def log_normal(y, mean, cov):
    z = np.linalg.solve(np.linalg.cholesky(cov), (y - mean).T)
    return -0.5 * (z**2).sum(0) - 0.5 * np.linalg.slogdet(2 * np.pi * cov)[1]


class Plans(unittest.TestCase):
    def test_correlated_ends_are_those_asked_for(self):
        for dim, condition, epsilon in ((2, 1e4, 0.1), (16, 100.0, 1.0), (16, 1e4, 10.0)):
            for source_axes in (False, True):
                p = Correlated(dim, epsilon, condition, source_axes)
                a, q = p.root_a @ p.root_a, p.gain[0]
                in_axes = p.axes_b @ (q @ a @ q + epsilon * q) @ p.axes_b.T
                np.testing.assert_allclose(in_axes, np.diag(p.var_b), atol=1e-9)

    def test_a_potential_of_y_alone_gives_every_conditional(self):
        """log p(y | x) - <x, y> / epsilon has to be a function of x plus one of y."""
        for p in (OwnAxes(3, 0.7), Correlated(3, 0.7, source_axes=True)):
            rng = np.random.default_rng(0)
            x, y = rng.normal(size=(4, 3)), 2 * rng.normal(size=(6, 3))
            w, mean = p.conditional(x)
            density = [sum(wk * np.exp(log_normal(y, mk, p.epsilon * s)) for wk, mk, s in zip(w[i], mean[i], p.gain))
                       for i in range(4)]
            rest = np.log(density) - x @ y.T / p.epsilon
            rest -= rest.mean(0)
            np.testing.assert_allclose(rest - rest.mean(1, keepdims=True), 0, atol=1e-9)

    def test_moments_are_those_of_draws(self):
        p, rng = OwnAxes(4), np.random.default_rng(1)
        x = p.source(rng, 2000)
        y = p.sample_plan(np.repeat(x[:1], 100_000, 0), rng)
        mean, cov = p.conditional_moments(x[:1])
        np.testing.assert_allclose(y.mean(0), mean[0], atol=0.02)
        np.testing.assert_allclose(np.cov(y.T), cov[0], atol=0.05)
        one_by_one = [p.conditional_moments(x[i:i + 1]) for i in range(50)]
        mean, cov = p.end_moments(x[:50])
        means = np.array([m[0] for m, _ in one_by_one])
        np.testing.assert_allclose(mean, means.mean(0))
        np.testing.assert_allclose(cov, np.mean([c[0] for _, c in one_by_one], 0) + np.cov(means.T, bias=True))


class Ends(unittest.TestCase):
    def test_columns_have_the_spread_that_is_said(self):
        for table in TABLES:
            p = Columns(table, truth_rows=200_000)
            y = p.target(np.random.default_rng(2), 400_000)
            np.testing.assert_allclose(y.std(0) / p.std, 1, atol=0.1 if "Student" in table else 0.02)
            report = p.report(lambda x, seed: p.sample_plan(x, np.random.default_rng(seed)))
            self.assertLess(report["quantile_error_percent"], 8)

    @unittest.skipUnless(importlib.util.find_spec("scipy"), "needs SciPy")
    def test_densities_of_curves_are_densities_of_their_samples(self):
        for shape in [*CURVES, "checkerboard"]:
            axis = np.linspace(-4, 4, 101 if shape in CURVES else 321)
            grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
            p, cell = Curve(shape), (axis[1] - axis[0])**2
            density = np.exp(p.log_density(grid))
            self.assertAlmostEqual(density.sum() * cell, 1, delta=2e-3, msg=shape)
            y = p.target(np.random.default_rng(3), 100_000)
            np.testing.assert_allclose(density @ grid * cell, y.mean(0), atol=0.02)
            np.testing.assert_allclose(density @ grid**2 * cell, (y**2).mean(0), atol=0.05)
            # The density's own mean over its samples is its integral of the square.
            np.testing.assert_allclose(np.exp(p.log_density(y[:5000])).mean() / ((density**2).sum() * cell), 1, atol=0.03)


if __name__ == "__main__":
    unittest.main()
