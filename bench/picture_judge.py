"""Judges pictures: a small classifier, trained here, whose features are compared.

Frechet distance (Heusel et al. 2017) between Gaussians of the features of generated and of test pictures, in 64 bits, in percent
of the variance of the test pictures' features: pictures that are all alike and average score 100. It depends on the classifier,
so it compares methods on one data set of one size and nothing else; the floor, pictures to learn against pictures to judge by,
and the score of noise stand beside it. Judged are the bytes that a file would hold. Density and coverage (Naeem et al. 2020) with 5 neighbours in the same features. Counts
are fixed: all measures have a bias that depends on them.
"""
import hashlib
import os
import pathlib
import sys
import time

import numpy as np
import torch
from torch import nn

import cached
import picture_data

FEATURES = 64
NEIGHBOURS = 5
WIDTHS = (32, 64, 64)
# Of the classifier's training.
BATCH, EPOCHS, RATE, DECAY = 128, 5, 2e-3, 1e-4
ROWS = 1000     # pictures of a pass, and rows of a table of distances


class Classifier(nn.Module):
    """Three convolutions, the later two with steps of two pixels, and two dense layers; features are the first one's outputs."""

    def __init__(self, shape, classes):
        super().__init__()
        channels, height, width = shape
        last = (-(-height // 4)) * (-(-width // 4)) * WIDTHS[2]
        conv = lambda a, b, stride: [nn.Conv2d(a, b, 3, stride, 1), nn.ReLU()]
        self.features = nn.Sequential(*conv(channels, WIDTHS[0], 1), *conv(WIDTHS[0], WIDTHS[1], 2), *conv(*WIDTHS[1:], 2),
                                      nn.Flatten(), nn.Linear(last, FEATURES), nn.ReLU())
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, x):
        return self.head(self.features(x))


def train(data, epochs, seed=0):
    """A classifier of the data's classes, about a minute on one core for 60,000 pictures of 16 x 16."""
    torch.manual_seed(seed)
    net = Classifier(data.shape, data.classes).to(memory_format=torch.channels_last)
    x, labels = torch.from_numpy(data.train), torch.from_numpy(data.train_classes.astype(np.int64))
    steps = epochs * (len(x) // BATCH)
    adam = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    rates = torch.optim.lr_scheduler.OneCycleLR(adam, RATE, steps)
    for step in range(steps):
        rows = torch.randint(len(x), (BATCH,))
        adam.zero_grad()
        nn.functional.cross_entropy(net(x[rows].contiguous(memory_format=torch.channels_last)), labels[rows]).backward()
        adam.step()
        rates.step()
    return net.eval()


def trained(data, name, folder=None, epochs=EPOCHS):
    """The classifier, from the cache or trained and put there."""
    key = hashlib.sha256(f"{name} {data.shape} {len(data.train)} {epochs} {cached.code_of(['picture_judge.py', 'picture_data.py'])}".encode())
    path = (folder or picture_data.CACHE) / f"judge-{name}-{data.shape[-1]}-{key.hexdigest()[:12]}.pt"
    if path.exists():
        net = Classifier(data.shape, data.classes)
        net.load_state_dict(torch.load(path))
        return net.eval()
    net = train(data, epochs)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    torch.save(net.state_dict(), unfinished)
    unfinished.replace(path)
    return net


def as_bytes(pictures):
    """Pictures as a file of bytes would hold them: numbers beyond white and black are those."""
    return (np.clip(np.round(127.5 * (pictures + 1)), 0, 255) / 127.5 - 1).astype(np.float32)


def moments(features):
    features = features.astype(np.float64)
    return features.mean(0), np.cov(features.T)


def frechet(a, b):
    """Squared 2-Wasserstein distance of two Gaussians, each a mean and a covariance."""
    (mean_a, cov_a), (mean_b, cov_b) = a, b
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    between = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0)).sum()
    return ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * between


def squares(a, b):
    """Squared distances of all pairs, ROWS rows at a time."""
    norm = (b ** 2).sum(1)
    for i in range(0, len(a), ROWS):
        part = a[i:i + ROWS]
        yield np.maximum((part ** 2).sum(1)[:, None] + norm - 2 * part @ b.T, 0)


def density_and_coverage(real, fake, k=NEIGHBOURS):
    """Density: real pictures' balls, each to the k-th real neighbour, that a fake one lies in, over k. Coverage: the share of real
    pictures whose ball has a fake one."""
    radius = np.concatenate([np.partition(part, k, axis=1)[:, k] for part in squares(real, real)])      # the first is itself
    inside, covered = 0, np.zeros(len(real), bool)
    for part in squares(fake, real):
        within = part < radius
        inside += within.sum()
        covered |= within.any(0)
    return inside / (k * len(fake)), covered.mean()


class Judge:
    """Measures pictures against the test pictures of a data set."""

    def __init__(self, data, name, folder=None, epochs=EPOCHS):
        self.data, self.net = data, trained(data, name, folder, epochs)
        self.real, scores = self.seen(data.test)
        self.accuracy = (scores.argmax(1) == data.test_classes).mean()
        self.moments = moments(self.real)
        self.percent = 100 / np.trace(self.moments[1])
        self.spread = data.test.std(0).mean()

    @torch.no_grad()
    def seen(self, pictures):
        """Features and scores of the classes."""
        features, scores = [], []
        for i in range(0, len(pictures), ROWS):
            features.append(self.net.features(torch.from_numpy(as_bytes(pictures[i:i + ROWS]))))
            scores.append(self.net.head(features[-1]))
        return torch.cat(features).numpy(), torch.cat(scores).numpy()

    def distance(self, pictures):
        """The Frechet distance alone."""
        return self.percent * frechet(self.moments, moments(self.seen(pictures)[0]))

    def measure(self, pictures):
        features, scores = self.seen(pictures)
        density, coverage = density_and_coverage(self.real, features)
        shares = np.bincount(scores.argmax(1), minlength=self.data.classes) / len(pictures)
        return {"frechet": self.percent * frechet(self.moments, moments(features)), "density": density, "coverage": coverage,
                "shares": shares.tolist(), "spread": float(as_bytes(pictures).std(0).mean() / self.spread)}

    def scale(self, width):
        """What pictures to learn score, and noise about their mean: the floor and the ceiling."""
        rng, count = np.random.default_rng(0), len(self.data.test)
        some = self.data.train[rng.permutation(len(self.data.train))[:count]]
        return {"floor": self.measure(some), "noise": self.measure(picture_data.Noise(self.data.train, width).draw(rng, count)),
                "accuracy": float(self.accuracy)}


def alike(a, b, mean):
    """Correlation of two draws for the same source samples, about the mean picture: 1 where the latent does nothing."""
    a, b = (x.reshape(len(x), -1) - mean.reshape(-1) for x in (a, b))
    return float((a * b).sum(dtype=np.float64) / np.sqrt((a ** 2).sum(dtype=np.float64) * (b ** 2).sum(dtype=np.float64)))


if __name__ == "__main__":
    import argparse
    import json
    p = argparse.ArgumentParser(description="The floor, the ceiling and the classifier's accuracy, and what files of pictures score.")
    p.add_argument("--data", default="fashion", choices=["fashion", "made-up"])
    p.add_argument("--side", type=int, default=16)
    p.add_argument("--width", type=float, default=picture_data.WIDTH, help="of the noise, in spreads of the target")
    p.add_argument("--rows", type=int, default=2000, help="pictures of made-up data")
    p.add_argument("--epochs", type=int, default=EPOCHS)
    p.add_argument("files", nargs="*", type=pathlib.Path, help=".npy files of pictures as the data's")
    a = p.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    judge = Judge(picture_data.load(a.data, a.side, a.rows), a.data, epochs=a.epochs)
    print(f"classifier and test pictures: {time.process_time() - began:.0f} s", file=sys.stderr)
    for path in a.files:
        print(path, json.dumps(judge.measure(np.load(path))))
    print(json.dumps(judge.scale(a.width)))
