"""Glyphs of one character in two families of type, so that the true partner of each is known: DejaVu Sans and DejaVu Serif.

Both families come with matplotlib, in four styles each. Characters are letters and digits that all eight files have. Those that
look alike, as the Latin, Greek and Cyrillic A do, count as one, so that a character that is held out has no twin among those to
learn. Numbers of a picture are from -1, paper, to 1, ink.
"""
import pathlib
import typing
import unicodedata

import numpy as np

import picture_cache

STYLES = (("", ""), ("-Bold", "-Bold"), ("-Oblique", "-Italic"), ("-BoldOblique", "-BoldItalic"))    # of the Sans and of the Serif
EM = 0.72           # of a side: what is left holds accents above capitals and what hangs below the line
BASELINE = 0.76     # of a side, from above
FINER = 4           # glyphs are drawn this many times as large, then averaged
TWINS = 0.002       # mean squared difference, over that of black and white, up to which two characters are one


class Glyphs(typing.NamedTuple):
    """Pictures (characters, styles, 1, side, side) of the two families, and the characters."""
    sans: np.ndarray
    serif: np.ndarray
    characters: np.ndarray


def files():
    import matplotlib
    folder = pathlib.Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return [[folder / f"DejaVu{family}{style}.ttf" for style in styles] for family, styles in zip(("Sans", "Serif"), zip(*STYLES))]


def characters():
    """Letters and digits that all files have."""
    from fontTools.ttLib import TTFont
    common = set.intersection(*(set(TTFont(path).getBestCmap()) for family in files() for path in family))
    return [chr(code) for code in sorted(common) if unicodedata.category(chr(code)) in ("Lu", "Ll", "Lo", "Lt", "Nd")]


def drawn(path, some, side):
    """Pictures of characters, each in the middle of its width on one base line; NaN where one does not fit."""
    from PIL import Image, ImageDraw, ImageFont
    fine = FINER * side
    font = ImageFont.truetype(path, round(EM * fine))
    found = np.full((len(some), 1, side, side), np.nan, np.float32)
    for i, character in enumerate(some):
        left, top, right, bottom = font.getbbox(character, anchor="ls")
        x, y = (fine - left - right) / 2, BASELINE * fine
        if right == left or x + left < 0 or x + right > fine or y + top < 0 or y + bottom > fine:
            continue
        whole = Image.new("L", (fine, fine))
        ImageDraw.Draw(whole).text((x, y), character, fill=255, font=font, anchor="ls")
        found[i, 0] = np.asarray(whole, np.float32).reshape(side, FINER, side, FINER).mean((1, 3)) / 127.5 - 1
    return found


def firsts(pictures):
    """Of pictures that are nearly the same the first; True for those that stay."""
    flat = pictures.reshape(len(pictures), -1)
    norm = (flat ** 2).sum(1)
    near = (norm[:, None] + norm - 2 * flat @ flat.T) / (4 * flat.shape[1]) <= TWINS
    return ~np.tril(near, -1).any(1)


def made(side):
    """All characters that fit and have no twin before them in the plain style of either family."""
    some = characters()
    sans, serif = (np.stack([drawn(path, some, side) for path in family], 1) for family in files())
    fit = np.isfinite(sans).all((1, 2, 3, 4)) & np.isfinite(serif).all((1, 2, 3, 4))
    sans, serif, some = sans[fit], serif[fit], np.array(some)[fit]
    alone = firsts(sans[:, 0]) & firsts(serif[:, 0])
    return {"sans": sans[alone], "serif": serif[alone], "characters": some[alone]}


def load(side):
    return Glyphs(**picture_cache.arrays(f"glyphs-{side}", lambda: made(side), ["glyph_data.py"]))
