"""Pairs of modes and contaminated targets for `unbalanced.py`, and the AUC."""
import numpy as np
import scipy.stats

from unbalanced_problems import Mixture

PAIRS = {"imbalance": (Mixture([0.25, 0.75], [[-3, 3], [1, 3]], [0.2] * 2), Mixture([0.75, 0.25], [[-3, 0], [1, 0]], [0.2] * 2)),
         "outlier": (Mixture([0.25, 0.73, 0.02], [[-3, 3], [1, 3], [-1, 4]], [0.2] * 3),
                     Mixture([0.25, 0.73, 0.02], [[-3, 0], [1, 0], [-1, -1]], [0.2] * 3))}


def contaminated(kind, share):
    """Source, target, and how many of the target's components are clean; they come first."""
    angles = np.arange(6) * np.pi / 3
    means, std = {"far": ([[0.0, 5.0]], 0.7), "ring": (4 * np.stack([np.cos(angles), np.sin(angles)], 1), 0.5)}[kind]
    weights = [0.5 * (1 - share)] * 2 + [share / len(means)] * len(means)
    target = Mixture(weights, np.concatenate([[[-1.5, 0.0], [1.5, 0.0]], means]), [0.7] * 2 + [std] * len(means))
    return Mixture([1], [[0.0, 0.0]], [1.0]), target, 2


def clean_part(target, y, clean):
    """Where the clean components have the higher density."""
    terms = target.log_terms(y)
    return np.logaddexp.reduce(terms[..., :clean], -1) > np.logaddexp.reduce(terms[..., clean:], -1)


class Hidden:
    """A problem of the plane in d dimensions, turned at random. The other directions go from N(0, 1) to N(0, 1 + epsilon), where
    the noise carries them by itself: V does not depend on them, and the density ratio is the plane's, for every divergence."""

    def __init__(self, mu, nu, dim, epsilon):
        self.mu, self.nu, self.d, self.epsilon = mu, nu, dim, epsilon
        self.turn = np.linalg.qr(np.random.default_rng(2).normal(size=(dim, dim)))[0]

    def draw(self, rng, rows):
        """Source, target, and the target's components."""
        x, _ = self.mu.sample(rng, rows)
        y, component = self.nu.sample(rng, rows)
        rest = rng.normal(size=(2, rows, self.d - 2))
        full = lambda plane, other: (np.concatenate([plane, other], 1) @ self.turn).astype(np.float32)
        return full(x, rest[0]), full(y, rest[1] * np.sqrt(1 + self.epsilon)), component

    def plane(self, y):
        return (y @ self.turn.T)[:, :2]


def auc(score, positive):
    """Probability that a positive has the higher score, ties counting half: the rank statistic of Mann and Whitney."""
    ranks, n = scipy.stats.rankdata(score), positive.sum()
    return (ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(score) - n))
