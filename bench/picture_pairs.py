"""Translations of pictures whose true partners are known: glyphs without and with serifs, emoji in outline and in colour.

Both sides of a training have the same characters, but their pictures are drawn independently, and nothing tells which belong
together; of characters that are held out a training sees nothing. Measures on the held out sources:

* error: mean squared difference to the true partner, in percent of that of the input to it: 100 is what doing nothing scores;
* first: share whose true partner is nearer to the output than any other target picture that is held out, percent; `top 5` likewise.
"""
import typing

import numpy as np

import picture_data

HELD_OUT = 0.15     # share of the characters
BATCH = 256         # of the exact transport, and how many of them are averaged
REPEATS = 8


class Pairs(typing.NamedTuple):
    """Pictures to learn from on each side, and held out pictures with their partners."""
    source: np.ndarray
    target: np.ndarray
    held_out: np.ndarray
    partners: np.ndarray


def split(source, target, seed=0):
    """Pairs (characters, variants, channels, side, side) by characters; all variants of one lie in the same set."""
    order = np.random.default_rng(seed).permutation(len(source))
    count = round(HELD_OUT * len(order))
    held, learnt = order[:count], order[count:]
    flat = lambda x: np.ascontiguousarray(x.reshape(-1, *x.shape[2:]))
    return Pairs(flat(source[learnt]), flat(target[learnt]), flat(source[held]), flat(target[held]))


def moved(pictures, far=1):
    """The pictures moved by up to `far` pixels along both axes."""
    shifts = [(y, x) for y in range(-far, far + 1) for x in range(-far, far + 1)]
    return np.concatenate([np.roll(pictures, shift, (2, 3)) for shift in shifts])


def squares(a, b):
    """Squared distances of all pairs."""
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    return (a ** 2).sum(1)[:, None] + (b ** 2).sum(1) - 2 * a @ b.T


def judged(pairs, made):
    """The measures of pictures made of those held out."""
    flat = lambda x: x.reshape(len(x), -1)
    error = ((flat(made) - flat(pairs.partners)) ** 2).mean(1)
    nothing = ((flat(pairs.held_out) - flat(pairs.partners)) ** 2).mean(1)
    far = squares(made, pairs.partners)
    rank = (far < np.diag(far)[:, None]).sum(1)
    return {"error": 100 * float(error.mean() / nothing.mean()), "better": 100 * float((error < nothing).mean()),
            "first": 100 * float((rank == 0).mean()), "top5": 100 * float((rank < 5).mean())}


def transported(pairs, rng):
    """What exact transport of batches makes of the pictures held out: the target picture that each is assigned, one draw and the
    mean of REPEATS."""
    from scipy.optimize import linear_sum_assignment
    count = len(pairs.held_out)
    found = np.zeros((REPEATS, *pairs.partners.shape), np.float32)
    for repeat in range(REPEATS):
        order = rng.permutation(count)
        for i in range(0, count, BATCH):
            rows = order[i:i + BATCH]
            # A last, smaller batch is filled up with sources to learn from.
            others = rng.integers(len(pairs.source), size=BATCH - len(rows))
            batch = np.concatenate([pairs.held_out[rows], pairs.source[others]])
            targets = pairs.target[rng.permutation(len(pairs.target))[:BATCH]]
            found[repeat, rows] = targets[linear_sum_assignment(squares(batch, targets))[1][:len(rows)]]
    return found[0], found.mean(0)


def yardsticks(pairs):
    """What needs no training."""
    nearest = pairs.target[squares(pairs.held_out, pairs.target).argmin(1)]
    once, mean = transported(pairs, np.random.default_rng(0))
    return {"the input itself": judged(pairs, pairs.held_out), "nearest target picture": judged(pairs, nearest),
            f"exact transport, batches of {BATCH}": judged(pairs, once), f"mean of {REPEATS} of these": judged(pairs, mean)}


def grid(path, pairs, made, columns=16, rows=4):
    """Inputs, outputs and partners below each other, of the same pictures for every method."""
    some = np.random.default_rng(1).permutation(len(made))[:columns * rows].reshape(rows, columns)
    picture_data.grid(path, np.concatenate([x[row] for row in some for x in (pairs.held_out, made, pairs.partners)]), columns)
