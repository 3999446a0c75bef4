"""One class of pictures to another, without pairs and without a truth: T-shirts to trousers, cats to dogs. Measured on test pictures
of the first:

* class: share of the outputs that a judge as that of pictures.py, of all classes, takes for the second, percent;
* Frechet: in its features, to test pictures of the second, in percent of the variance of all test pictures' features;
* brightness: correlation of the outputs' mean with the inputs'; alike: correlation of the pixels about each side's mean picture, and
  that with the inputs in another order, which is 0 where an output tells nothing of its input.
"""
import typing

import numpy as np

import picture_judge


class Translation(typing.NamedTuple):
    """Both sides to learn from, the inputs and the targets to judge by, and the judge."""
    source: np.ndarray
    target: np.ndarray
    inputs: np.ndarray
    targets: np.ndarray
    wanted: int
    judge: picture_judge.Judge


def load(data, name, pair, epochs=picture_judge.EPOCHS):
    """Of two classes of a data set of this name."""
    of = lambda pictures, classes: [pictures[classes == c] for c in pair]
    judge = picture_judge.Judge(data, name, epochs=epochs)
    return Translation(*of(data.train, data.train_classes), *of(data.test, data.test_classes), pair[1], judge)


def correlation(a, b):
    return float((a * b).sum() / np.sqrt((a ** 2).sum() * (b ** 2).sum()))


def judged(problem, made, seed=0):
    features, scores = problem.judge.seen(made)
    wanted = problem.judge.seen(problem.targets)[0]
    far = problem.judge.percent * picture_judge.frechet(*map(picture_judge.moments, (wanted, features)))
    outputs, inputs = ((x - x.mean(0)).reshape(len(x), -1).astype(np.float64) for x in (made, problem.inputs))
    other = inputs[np.random.default_rng(seed).permutation(len(inputs))]
    alike = [correlation(outputs, inputs), correlation(outputs, other)]
    return {"class": 100 * float((scores.argmax(1) == problem.wanted).mean()), "frechet": float(far),
            "brightness": correlation(outputs.mean(1), inputs.mean(1)), "alike": alike}


def yardsticks(problem):
    """What needs no training."""
    flat = lambda x: x.reshape(len(x), -1)
    a, b = flat(problem.inputs), flat(problem.target)
    nearest = ((b ** 2).sum(1) - 2 * a @ b.T).argmin(1)
    return {"the input itself": judged(problem, problem.inputs), "nearest target picture": judged(problem, problem.target[nearest])}
