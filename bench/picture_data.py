"""Pictures for the measurements: Fashion-MNIST, averaged down, or made-up ones for a trial of the programs.

Numbers of a picture are from -1 to 1. Arrays have the shape (pictures, channels, rows, columns).
"""
import gzip
import pathlib
import subprocess
import typing

import numpy as np

import report

CACHE = report.ROOT / ".cache" / "pictures"
FETCH = report.ROOT.parent / "scripts" / "fetch-pictures"
SIDE = 28           # pixels of a side of the data set's pictures
PADDED = 32         # with a black edge, so that the side can be halved
RANGE = (-1, 1)     # of a picture's numbers
MADE_UP_CLASSES = 3
WIDTH = 0.8         # of the source's noise, in spreads of the target
NORMALISING_ROWS = 4096     # samples of a source of noise by which the library measures it


class Pictures(typing.NamedTuple):
    """A data set: pictures to learn, pictures to judge by, and their classes."""
    train: np.ndarray
    train_classes: np.ndarray
    test: np.ndarray
    test_classes: np.ndarray

    @property
    def classes(self):
        return int(self.test_classes.max()) + 1

    @property
    def shape(self):
        return self.test.shape[1:]


def idx(path):
    """The array of bytes in a file of the MNIST database's format: a zero, a type, a rank, sizes, and the numbers."""
    data = gzip.decompress(path.read_bytes())
    rank = data[3]
    sizes = np.frombuffer(data, ">u4", rank, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(sizes)


def sized(pictures, side):
    """Bytes to numbers from -1 to 1, with `side` pixels a side: 28 as they are, 32 with a black edge, 16 their means."""
    if side != SIDE:
        edge = (PADDED - SIDE) // 2
        pictures = np.pad(pictures, ((0, 0), (edge, edge), (edge, edge)))
        each = PADDED // side
        if each * side != PADDED:
            raise ValueError(f"pictures of {side} pixels a side cannot be made of {SIDE} or {PADDED}")
        pictures = pictures.reshape(-1, side, each, side, each).mean((2, 4))
    return (pictures[:, None] / 127.5 - 1).astype(np.float32)


def fashion(side, folder=None):
    """Fashion-MNIST, 60,000 pictures to learn and 10,000 to judge by. Fetched where it is not there."""
    done = subprocess.run([FETCH, folder or CACHE], stdout=subprocess.PIPE, text=True, check=True)
    files = pathlib.Path(done.stdout.strip()).parent
    part = lambda name: (sized(idx(files / f"{name}-images-idx3-ubyte.gz"), side), idx(files / f"{name}-labels-idx1-ubyte.gz"))
    return Pictures(*part("train"), *part("t10k"))


def made_up(side, rows, seed=0):
    """Pictures of three classes that need no data: lying bars, standing bars and discs, somewhere and of some brightness."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / (side - 1)

    def draw(count):
        classes = rng.integers(MADE_UP_CLASSES, size=count)
        centre, light = rng.uniform(0.3, 0.7, (count, 2, 1, 1)), rng.uniform(0.5, 1, (count, 1, 1))
        far = np.stack([abs(y - centre[:, 0]), abs(x - centre[:, 1]), np.hypot(y - centre[:, 0], x - centre[:, 1])], 1)
        far = far[np.arange(count), classes]
        return (2 * light / (1 + np.exp(40 * (far - 0.2))) - 1).astype(np.float32)[:, None], classes.astype(np.uint8)

    return Pictures(*draw(rows), *draw(rows))


def load(name, side, rows=2000):
    """The data set of this name; `rows` are those of a made-up one."""
    return made_up(side, rows) if name == "made-up" else fashion(side)


class Noise:
    """A source of normal noise about the target's mean picture. White: independent numbers, `width` times as wide as the target's
    pixels are. Otherwise the covariance of the target's pictures times width^2."""

    def __init__(self, target, width, white=False):
        flat = target.reshape(len(target), -1)
        self.mean = target.mean(0)
        if white:
            self.factor = np.float32(width * np.sqrt(flat.var(0, dtype=np.float64).mean()))
        else:
            values, vectors = np.linalg.eigh(np.cov(flat.T.astype(np.float64)))
            self.factor = (width * np.sqrt(np.maximum(values, 0))[:, None] * vectors.T).astype(np.float32)

    def draw(self, rng, rows):
        noise = rng.standard_normal((rows, self.mean.size), np.float32)
        noise = noise @ self.factor if self.factor.ndim else self.factor * noise
        return self.mean + noise.reshape(rows, *self.mean.shape)


class Units(typing.NamedTuple):
    """The library's: its networks see (picture - centre) / scale, and relative sigmas are multiples of that scale."""
    centre: np.ndarray
    scale: float

    @classmethod
    def of(cls, source, target):
        """From samples of both sides: the midpoint of their means, and the root mean square distance to it of a number."""
        centre = 0.5 * (source.mean(0, dtype=np.float64) + target.mean(0, dtype=np.float64))
        square = 0.5 * sum(((side - centre) ** 2).mean() for side in (source, target))
        return cls(centre.astype(np.float32), float(np.sqrt(square)))


def grid(path, pictures, columns=16, zoom=2):
    """Writes pictures beside each other, row by row, into a PNG file."""
    from PIL import Image
    n, channels, height, width = pictures.shape
    rows = n // columns
    whole = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, channels), 64, np.uint8)     # lines of dark grey
    levels = np.clip(np.round(127.5 * (pictures + 1)), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    for i in range(rows * columns):
        y, x = (i // columns) * (height + 1) + 1, (i % columns) * (width + 1) + 1
        whole[y:y + height, x:x + width] = levels[i]
    whole = whole.repeat(zoom, 0).repeat(zoom, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(whole[:, :, 0] if channels == 1 else whole).save(path)
