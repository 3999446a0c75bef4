"""The pack: which programs it holds, what it was made of, and how it is unpacked."""
import hashlib
import json
import pathlib
import shutil
import subprocess
import tarfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ARCHIVE = ROOT / "gpu-pack.tar.xz"
PACK = ROOT / "gpu-pack"
MANIFEST = PACK / "manifest.json"

# The test programs that meet a GPU.
TESTS = ("unit", "cuda", "cuda_tensors", "cuda_steady", "c_programs", "examples")
EXAMPLES = ("color_transfer", "particle_morph", "outliers")
# What the packed programs are built from, and what they read of the repository when they run.
SOURCES = ("Cargo.lock", "Cargo.toml", "build.rs", "cuda", "examples-c", "include", "src", "tests")


def _git(*words):
    return subprocess.run(["git", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout


def files_that_travel():
    """Names of the repository's files: those that git tracks, and those that it neither tracks nor ignores. None where there is no
    git or no checkout, also where the tree was unpacked within a checkout of something else."""
    try:
        if pathlib.Path(_git("rev-parse", "--show-toplevel").strip()).resolve() != ROOT:
            return None
        names = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    except (OSError, subprocess.CalledProcessError):
        return None
    return sorted({name for name in names if name and (ROOT / name).is_file()})


def sources():
    """Names of the sources. Without a checkout all files there count."""
    names = files_that_travel()
    if names is None:
        files = (path for name in SOURCES for path in [ROOT / name, *(ROOT / name).rglob("*")])
        names = sorted(path.relative_to(ROOT).as_posix() for path in files if path.is_file() and path.suffix != ".pyc")
    return [name for name in names if name.split("/")[0] in SOURCES]


def digest_of(names):
    """One number for the bytes and names of these files, so that a pack tells whether it is that of a tree. A file that is not
    there gives another number."""
    whole = hashlib.sha256()
    for name in names:
        path = ROOT / name
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "none"
        whole.update(f"{name}\0{digest}\n".encode())
    return whole.hexdigest()


def manifest():
    return json.loads(MANIFEST.read_text())


def lines(entry):
    """A manifest for a reader."""
    names = ("revision", "changes", "made", "rustc", "glibc", "nvcc", "kernels")
    return "\n".join(f"{name}: {entry[name]}" for name in names)


class Unusable(Exception):
    """A sentence: why there is no pack to check with."""


def unpack():
    """Unpacks the archive, unless that very archive has been. The folder is replaced as a whole."""
    mark = PACK / "unpacked-from"
    if not ARCHIVE.exists():
        if MANIFEST.exists():
            return
        raise Unusable(f"There is no {ARCHIVE.name} in {ROOT}. scripts/gpu-pack makes it where Rust is.")
    name = hashlib.sha256(ARCHIVE.read_bytes()).hexdigest()
    if mark.exists() and mark.read_text() == name:
        return
    shutil.rmtree(PACK, ignore_errors=True)
    try:
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(ROOT)
    except Exception:      # a Python without lzma, or a damaged file, which tar does not read either
        if subprocess.run(["tar", "-xJf", ARCHIVE, "-C", ROOT]).returncode:
            shutil.rmtree(PACK, ignore_errors=True)
            raise Unusable(f"{ARCHIVE} cannot be unpacked: neither this Python nor tar reads xz, or the file is damaged.") from None
    mark.write_text(name)


def missing():
    """What a visit needs of the pack and of the repository and is not there."""
    bench = ROOT / "bench"
    wanted = [MANIFEST, PACK / "lib" / "libsfeuot.so", PACK / "include" / "sfeuot.h",
              *(PACK / "tests" / name for name in TESTS), *(PACK / "examples" / name for name in EXAMPLES),
              *(ROOT / "examples-c" / "images" / name for name in ("coffee.png", "rocket.png")),
              *(bench / f"{name}.py" for name in ("accuracy", "children", "gpu_speed", "gpu_training", "problems", "programs", "report",
                                                  "runs", "sfeuot_ctypes")),
              *(bench / "peers" / name for name in ("common.py", "library_step.py", "torch_step.py"))]
    return [str(path.relative_to(ROOT)) for path in wanted if not path.exists()]
