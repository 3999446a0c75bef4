"""Problems of pictures whose classes have the wrong shares: a few digits among the garments, and two classes of garments.

Digits: the target is Fashion-MNIST with a hundredth of handwritten digits in it, the source is noise. Measured:

* AUC: probability that a digit of the target has a smaller density ratio than a garment of it; .5 is chance;
* digits: share of generated pictures that a classifier of digits and garments, trained on others, takes for digits, percent. It
  takes some garments for digits: `false` is that share of the test garments;
* Frechet: as in pictures.py, to the test garments.

Shares: the source has two classes of garments as 9 to 1, the target has other pictures of these two as 1 to 1. Balanced transport
has to turn four in ten pictures into the other class. Measured on test pictures, weighed as 9 to 1:

* kept: share of pictures whose class stays, percent, of each class and of all; classes are those of the judge of pictures.py;
* first: share of the generated pictures that are of the frequent class, percent;
* moved: mean squared difference to the input in percent of that between pictures of the two classes.
"""
import typing

import numpy as np

import digit_data
import picture_data
import picture_judge
from outlier_problems import auc

DIGITS = 0.01           # of the target
FREQUENT = 0.9          # share of the source's first class
TEACHING = 5000         # digits that teach the classifier, none of them in the target
MADE_UP_CLASS = 2       # takes the digits' place in made-up data


class Digits(typing.NamedTuple):
    """The target, which of its pictures are digits, and the judges."""
    target: np.ndarray
    is_digit: np.ndarray
    garments: picture_judge.Judge
    digits: picture_judge.Judge


def garments_and_digits(name, side):
    """A data set of garments and digits in a random order; made-up ones: two of the classes, and the third."""
    data = picture_data.load(name, side)
    if name != "made-up":
        return data, digit_data.load(side)[0]
    some, others = data.train_classes < MADE_UP_CLASS, data.test_classes < MADE_UP_CLASS
    garments = picture_data.Pictures(data.train[some], data.train_classes[some], data.test[others], data.test_classes[others])
    return garments, data.train[~some]


def digits(name, side, share=DIGITS, epochs=picture_judge.EPOCHS):
    garments, digit = garments_and_digits(name, side)
    count, teaching = round(share * len(garments.train)), min(TEACHING, len(digit) // 2)
    mixed = digit[len(digit) - count:]
    taught, tested = digit[:teaching], digit[teaching:len(digit) - count]
    classes = lambda a, b: np.repeat(np.array([0, 1], np.uint8), [len(a), len(b)])
    both = picture_data.Pictures(np.concatenate([garments.train, taught]), classes(garments.train, taught),
                                 np.concatenate([garments.test, tested]), classes(garments.test, tested))
    judges = (picture_judge.Judge(garments, name, epochs=epochs), picture_judge.Judge(both, f"{name}-digits", epochs=epochs))
    return Digits(np.concatenate([garments.train, mixed]), classes(garments.train, mixed) > 0, *judges)


def judged_digits(problem, made, ratio):
    """The measures; ratio is that of the target's pictures, or None."""
    called = lambda pictures: 100 * float((problem.digits.seen(pictures)[1].argmax(1) == 1).mean())
    found = {"digits": called(made), "false": called(problem.garments.data.test), "frechet": problem.garments.distance(made)}
    if ratio is not None and problem.is_digit.any():
        found["auc"] = float(auc(-ratio, problem.is_digit))
        found["ratios"] = [float(np.mean(ratio[which])) for which in (~problem.is_digit, problem.is_digit)]
    return found


class Shares(typing.NamedTuple):
    """Both sides, test pictures of the source's kind with their classes, and their judge."""
    source: np.ndarray
    target: np.ndarray
    inputs: np.ndarray
    rare: np.ndarray
    pair: tuple
    judge: picture_judge.Judge


def shares(name, side, pair, seed=0, epochs=picture_judge.EPOCHS):
    """Half of each class's pictures for the target; of the other half all of the first class and a ninth as many of the second."""
    data, rng = picture_data.load(name, side), np.random.default_rng(seed)
    of = [data.train[data.train_classes == c] for c in pair]
    of = [x[rng.permutation(len(x))] for x in of]
    half = min(map(len, of)) // 2
    source = np.concatenate([of[0][:half], of[1][:round(half * (1 - FREQUENT) / FREQUENT)]])
    target = np.concatenate([x[half:2 * half] for x in of])
    inputs = [data.test[data.test_classes == c] for c in pair]
    rare = np.repeat([False, True], list(map(len, inputs)))
    return Shares(source, target, np.concatenate(inputs), rare, pair, picture_judge.Judge(data, name, epochs=epochs))


def judged_shares(problem, made):
    """The measures of pictures made of the inputs."""
    weight = np.where(problem.rare, 1 - FREQUENT, FREQUENT) / np.where(problem.rare, problem.rare.sum(), (~problem.rare).sum())
    scores = problem.judge.seen(made)[1][:, list(problem.pair)]
    is_rare = scores[:, 1] > scores[:, 0]
    kept = is_rare == problem.rare
    a, b = (problem.inputs[which].reshape(which.sum(), -1) for which in (~problem.rare, problem.rare))
    apart = a.var(0).sum() + b.var(0).sum() + ((a.mean(0) - b.mean(0)) ** 2).sum()      # mean squared distance of two independent ones
    far = ((made - problem.inputs) ** 2).reshape(len(made), -1).sum(1)
    percent = lambda x: 100 * float(x)
    return {"kept": percent(weight @ kept), "kept_frequent": percent(kept[~problem.rare].mean()),
            "kept_rare": percent(kept[problem.rare].mean()), "first": percent(weight @ ~is_rare), "moved": percent(weight @ far / apart)}
