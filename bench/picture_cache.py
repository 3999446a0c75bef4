"""Arrays that take a while to make, kept in the cache of pictures."""
import os

import numpy as np

import cached
import picture_data


def arrays(name, make, code):
    """A dictionary of arrays: from the cache, or made and put there. `code` names the files that make them."""
    kept = picture_data.CACHE / f"{name}-{cached.code_of(code)[:12]}.npz"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_suffix(f".{os.getpid()}.npz")
        np.savez(unfinished, **make())
        unfinished.replace(kept)
    with np.load(kept) as found:
        return dict(found)
