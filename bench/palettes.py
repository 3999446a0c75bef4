"""Palette transfer: how near the colours of examples-c/color_transfer come to the target's palette, beside simple transfers.

    make examples
    python bench/palettes.py --output palettes.md                               # about 4 minutes
    python bench/palettes.py --pairs portrait.jpg:temple.png temple.png:cup.png

The program runs with its default settings on both pictures of the repository, each with the palette of the other, and on the pairs
that are named. All transfers see the same pixels, of pictures made smaller until their longer side has --side pixels.

* mean and deviation: every channel of Oklab gets the target's (Reinhard, Ashikhmin, Gooch, Shirley, "Color Transfer between Images",
  2001, in a later space);
* Sinkhorn: the barycentric map of the entropic plan between pixels that are drawn from both, each other pixel takes the shift of the
  nearest one (as POT's transform does).

Measure: sliced Wasserstein distance, root of the mean over directions, between the recoloured pixels and the target's in sRGB from 0
to 1, times 1000. That of two halves of the target's own pixels is about 1.
"""
import pathlib
import subprocess
import tempfile

import numpy as np
from PIL import Image

import report

ROOT = report.ROOT.parent
IMAGES = ROOT / "examples-c" / "images"
LINEAR = np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                   [0.0883024619, 0.2817188376, 0.6299787005]])
OKLAB = np.array([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
                  [0.0259040371, 0.7827717662, -0.8086757660]])     # Ottosson, "A perceptual color space for image processing", 2020


def to_oklab(srgb):
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ LINEAR.T) @ OKLAB.T


def to_srgb(oklab):
    linear = np.clip((oklab @ np.linalg.inv(OKLAB).T) ** 3 @ np.linalg.inv(LINEAR).T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def sliced_w2(a, b, directions=200):
    rng = np.random.default_rng(3)
    axes = rng.normal(size=(3, directions))
    axes /= np.linalg.norm(axes, axis=0)
    at = (np.arange(2000) + 0.5) / 2000
    difference = np.quantile(a @ axes, at, axis=0) - np.quantile(b @ axes, at, axis=0)
    return 1000 * np.sqrt((difference**2).mean())


def mean_and_deviation(x, y):
    x, y = to_oklab(x), to_oklab(y)
    return to_srgb((x - x.mean(0)) / x.std(0) * y.std(0) + y.mean(0))


def sinkhorn(x, y, pixels=1000, regularization=0.01):
    import ot
    rng = np.random.default_rng(5)
    some, theirs = (a[rng.choice(len(a), min(pixels, len(a)), replace=False)] for a in (x, y))
    plan = ot.sinkhorn([], [], ot.dist(some, theirs), regularization, numItermax=5000, warn=False)
    shift = plan @ theirs / plan.sum(1, keepdims=True) - some
    nearest = np.concatenate([ot.dist(part, some).argmin(1) for part in np.array_split(x, max(len(x) // 4000, 1))])
    return np.clip(x + shift[nearest], 0, 1)


def small(path, side, file):
    """The picture at its size of the comparison, written to a file, as pixels."""
    picture = Image.open(path).convert("RGB")
    picture.thumbnail((side, side), Image.LANCZOS)
    picture.save(file)
    return pixels_of(file)


def pixels_of(file):
    return np.asarray(Image.open(file).convert("RGB"), float).reshape(-1, 3) / 255


def library(a, source, target, folder):
    command = [a.program, "--source", source, "--target", target, "--out", folder, "--steps", a.steps, "--lut-size", 2, "--hald-level", 2]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return pixels_of(folder / "recoloured.png"), pixels_of(folder / "drawn.png")


def arguments():
    p = report.parser(__doc__)
    p.add_argument("--pairs", nargs="+", default=[], metavar="SOURCE:TARGET", help="pictures, beside those of the repository")
    p.add_argument("--program", type=pathlib.Path, default=ROOT / "build" / "color_transfer")
    p.add_argument("--side", type=int, help="pixels of the longer side; default 200")
    p.add_argument("--steps", type=int, help="default 4000")
    a = p.parse_args()
    a.side = a.side or report.by_scale(a, 200, 100, 24)
    a.steps = a.steps or report.by_scale(a, 4000, 500, 3)
    if not a.program.exists():
        raise SystemExit(f"no program at {a.program}: build it with `make examples` or name it with --program")
    own = (IMAGES / "coffee.png", IMAGES / "rocket.png")
    pairs = [tuple(pair.split(":")) for pair in a.pairs]
    for pair, given in zip(pairs, a.pairs):
        if len(pair) != 2:
            raise SystemExit(f"--pairs has '{given}'; a pair is SOURCE:TARGET")
    a.pairs = [own, own[::-1], *pairs]
    return a


def main():
    a, rows = arguments(), []
    for source, target in a.pairs:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            files = [folder / f"{name}.png" for name in ("source", "target")]
            x, y = (small(path, a.side, file) for path, file in zip((source, target), files))
            mean, drawn = library(a, *files, folder / "out")
        found = [mean, drawn, mean_and_deviation(x, y), sinkhorn(x, y), x]
        rows.append([f"{pathlib.Path(source).stem} to {pathlib.Path(target).stem}", *(f"{sliced_w2(each, y):.0f}" for each in found)])
        print(*rows[-1])
    head = ["", "library, mean", "library, draws", "mean and deviation", "Sinkhorn, barycentric", "unchanged"]
    report.write(a, "Palettes: colours of photographs", [
        report.provenance(a, ["numpy", "POT"]),
        f"Sliced Wasserstein distance to the target's palette in sRGB, times 1000; {a.steps} steps, pictures of {a.side} pixels.",
        report.table(head, rows)])


if __name__ == "__main__":
    main()
