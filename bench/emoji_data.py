"""OpenMoji (https://openmoji.org, CC BY-SA 4.0) in outline and in colour, from the npm package openmoji.

Emoji that stand for themselves: without skin tones and without those that are put together of several, which are variants of
others, and without flags, whose outlines do not tell their colours. Pictures made of them have to name OpenMoji and its licence.
"""
import csv
import io
import typing

import numpy as np

import npm_data
import picture_cache

ATTRIBUTION = "Emoji by [OpenMoji](https://openmoji.org), the open-source emoji and icon project, CC BY-SA 4.0."
JOINER = "200D"
FINER = 4           # emoji are drawn this many times as large, then averaged
UNUSED = ("flags", "extras-openmoji", "extras-unicode")     # groups


class Emoji(typing.NamedTuple):
    """Pictures (emoji, 3, side, side) on white, from -1 to 1, and the emoji's code points."""
    outline: np.ndarray
    colour: np.ndarray
    codes: np.ndarray


def drawn(path, side):
    """An SVG picture on white."""
    import resvg_py
    from PIL import Image
    whole = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_path=str(path), width=FINER * side, height=FINER * side))))
    whole = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole.convert("RGBA")).convert("RGB")
    pixels = np.asarray(whole, np.float32).reshape(side, FINER, side, FINER, 3).mean((1, 3))
    return pixels.transpose(2, 0, 1) / np.float32(127.5) - 1


def made(side):
    package = npm_data.package("openmoji")
    with open(package / "data" / "openmoji.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row["skintone"] and row["group"] not in UNUSED]
    codes = [row["hexcode"] for row in rows if JOINER not in row["hexcode"].split("-")]
    outline, colour = (np.stack([drawn(package / kind / "svg" / f"{code}.svg", side) for code in codes]) for kind in ("black", "color"))
    return {"outline": outline, "colour": colour, "codes": np.array(codes)}


def load(side):
    return Emoji(**picture_cache.arrays(f"openmoji-{side}", lambda: made(side), ["emoji_data.py"]))
