"""The tasks of picture_tasks.py by their names: what a training learns from and how it is judged."""
import typing

import numpy as np

import picture_data
import picture_mixtures
import picture_pairs
import picture_translation

GARMENTS = {"shares-easy": (1, 9), "shares-hard": (0, 4)}       # trouser and ankle boot, T-shirt and coat
TRANSLATION = (0, 1)    # T-shirts to trousers
FOLDERS = {"cats": ("cat", "dog"), "cars": ("automobile", "truck")}     # classes of a data set that --pictures names
NAMES = ("glyphs", "emoji", *GARMENTS, "trousers", *FOLDERS, "digits", "digits-none")
SIDES = dict.fromkeys(("glyphs", "emoji", *FOLDERS), 32)       # of the others 16
MADE_UP = 500           # pairs of made-up data
FIRST = 32              # of a grid of digits: the likeliest


class Pool:
    """A source that draws from pictures, with the interface of picture_data.Noise."""

    def __init__(self, pictures):
        self.pictures, self.mean = pictures, pictures.mean(0)

    def draw(self, rng, rows):
        return self.pictures[rng.integers(len(self.pictures), size=rows)]


class Task(typing.NamedTuple):
    """What is learnt from, and the pictures to generate from when it is judged. judge(made, ratio) gives the measures; ratio() is
    the density ratio of the target's pictures, or None. grid(path, made) writes a picture of them."""
    source: object
    target: np.ndarray
    inputs: np.ndarray
    judge: typing.Callable
    grid: typing.Callable


def garments_of(a):
    return "made-up" if a.made_up else "fashion"


def pairs_of(name, side, seed=0):
    """The pictures of a task whose partners are known."""
    if name == "made-up":
        rng = np.random.default_rng(seed)
        x = picture_data.made_up(side, MADE_UP)[0]
        return picture_pairs.split(x[:, None], np.clip(x + 0.1 * rng.standard_normal(x.shape), -1, 1).astype(np.float32)[:, None])
    if name == "glyphs":
        import glyph_data
        found = glyph_data.load(side)
        return picture_pairs.split(found.sans, found.serif)
    import emoji_data
    found = emoji_data.load(side)
    return picture_pairs.split(found.outline[:, None], found.colour[:, None])


def known_partners(a):
    pairs = pairs_of("made-up" if a.made_up else a.task, a.side)
    judge = lambda made, ratio: picture_pairs.judged(pairs, made)
    grid = lambda path, made: picture_pairs.grid(path, pairs, made)
    more = picture_pairs.moved if a.moved else lambda pictures: pictures
    return Task(Pool(more(pairs.source)), more(pairs.target), pairs.held_out, judge, grid)


def beside(inputs, path, made, count=64):
    """Writes some inputs and what was made of them below each other."""
    some = np.random.default_rng(0).permutation(len(inputs))[:count].reshape(-1, 16)
    picture_data.grid(path, np.concatenate([x[row] for row in some for x in (inputs, made)]))


def class_shares(a):
    problem = picture_mixtures.shares(garments_of(a), a.side, (0, 1) if a.made_up else GARMENTS[a.task],
                                      epochs=a.judge_epochs)
    judge = lambda made, ratio: picture_mixtures.judged_shares(problem, made)
    return Task(Pool(problem.source), problem.target, problem.inputs, judge, lambda *a: beside(problem.inputs, *a))


def translation_of(a):
    if a.task not in FOLDERS or a.made_up:
        name = garments_of(a)
        return picture_translation.load(picture_data.load(name, a.side), name, TRANSLATION, a.judge_epochs)
    import picture_folders
    if not a.pictures:
        raise SystemExit(f"{a.task}: --pictures has to name a folder or an archive with the classes {' and '.join(FOLDERS[a.task])}")
    data, name, classes = picture_folders.load(a.pictures, a.side)
    missing = [each for each in FOLDERS[a.task] if each not in classes]
    if missing:
        raise SystemExit(f"{a.task}: {a.pictures} has no class {missing[0]}, but {', '.join(classes)}")
    return picture_translation.load(data, name, tuple(map(classes.index, FOLDERS[a.task])), a.judge_epochs)


def translation(a):
    problem = translation_of(a)
    judge = lambda made, ratio: picture_translation.judged(problem, made)
    return Task(Pool(problem.source), problem.target, problem.inputs, judge, lambda *a: beside(problem.inputs, *a))


def digits(a):
    problem = picture_mixtures.digits(garments_of(a), a.side,
                                      share=0 if a.task == "digits-none" else picture_mixtures.DIGITS, epochs=a.judge_epochs)
    source = picture_data.Noise(problem.target, picture_data.WIDTH)
    inputs = source.draw(np.random.default_rng(a.seed + 1), len(problem.garments.data.test))

    def grid(path, made):
        """Most likely digits first, then some of all."""
        scores = problem.digits.seen(made)[1]
        order = np.argsort(scores[:, 0] - scores[:, 1])
        picture_data.grid(path, np.concatenate([made[order[:FIRST]], made[:96]]))

    return Task(source, problem.target, inputs, lambda made, ratio: picture_mixtures.judged_digits(problem, made, ratio()), grid)


def loaded(a):
    own = {"glyphs": known_partners, "emoji": known_partners, "digits": digits, "digits-none": digits}
    own |= dict.fromkeys(("trousers", *FOLDERS), translation)
    return own.get(a.task, class_shares)(a)


def yardsticks(a):
    """What needs no training."""
    if a.task in ("trousers", *FOLDERS):
        return picture_translation.yardsticks(translation_of(a))
    return picture_pairs.yardsticks(pairs_of("made-up" if a.made_up else a.task, a.side))
