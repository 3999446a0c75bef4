"""Pictures that lie in folders by class: train/CLASS/NAME and test/CLASS/NAME, in a folder or in an archive that tarfile reads.

Any file that Pillow reads; all are brought to one size. CIFAR-10 is spread like this. Nothing of it is in the repository.
"""
import hashlib
import io
import pathlib
import tarfile

import numpy as np

import picture_cache
import picture_data

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp"}


def files(path):
    """(name, bytes) of each file below a folder, or of each member of an archive, in any order."""
    if path.is_dir():
        for file in path.rglob("*"):
            if file.is_file():
                yield file.relative_to(path).as_posix(), file.read_bytes()
        return
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile():
                yield member.name.removeprefix("./"), archive.extractfile(member).read()


def numbers(data, side):
    """The picture of a file's bytes: (3, side, side), from -1 to 1."""
    from PIL import Image
    with Image.open(io.BytesIO(data)) as picture:
        picture = picture.convert("RGB")
        if picture.size != (side, side):
            picture = picture.resize((side, side), Image.Resampling.LANCZOS)
        return np.asarray(picture, np.uint8).transpose(2, 0, 1)


def made(path, side):
    found = {}
    for name, data in files(path):
        place = pathlib.PurePosixPath(name)
        if place.suffix.lower() in SUFFIXES and len(place.parts) >= 3 and place.parts[-3] in ("train", "test"):
            found[place.parts[-3:]] = data
    names = sorted({which for part, which, _ in found if part == "train"})
    if not names:
        raise SystemExit(f"{path} has no pictures as train/CLASS/NAME")
    unknown = {which for _, which, _ in found} - set(names)
    if unknown:
        raise SystemExit(f"{path} has the class {min(unknown)} to test, but not to learn")
    arrays = {"names": np.array(names)}
    for part in ("train", "test"):
        chosen = sorted(key for key in found if key[0] == part)
        arrays[part] = np.stack([numbers(found[key], side) for key in chosen])
        arrays[f"{part}_classes"] = np.array([names.index(which) for _, which, _ in chosen], np.uint8)
    return arrays


def name_of(path):
    """A name under which what is made of the pictures is kept: other files, or newer ones, have another."""
    inside = sorted(path.rglob("*")) if path.is_dir() else [path]
    known = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in inside]
    return f"{path.name.split('.')[0]}-{hashlib.sha256(repr(known).encode()).hexdigest()[:8]}"


def load(path, side):
    """The data set, its name, and the names of its classes in their order."""
    path = path.resolve()
    name = name_of(path)
    kept = picture_cache.arrays(f"{name}-{side}", lambda: made(path, side), ["picture_folders.py"])
    as_numbers = lambda pictures: pictures.astype(np.float32) / 127.5 - 1
    data = picture_data.Pictures(as_numbers(kept["train"]), kept["train_classes"], as_numbers(kept["test"]), kept["test_classes"])
    return data, name, kept["names"].tolist()
