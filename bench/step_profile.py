"""Where a training step's time goes, by operation, at both standard sizes, on one thread.

    cargo build --release
    python bench/step_profile.py --output step_profile.md         # a minute

Linux's perf is needed, and addr2line and nm of binutils.

Samples of the processor's cycles (perf) are taken to the source by the release build's line tables. A product's kernel is one
function for each thing that is fused into it, so forward, reverse and weight products are told apart, and what is fused is told
from the product by the inlined function that a sample falls into. The first 2.5 seconds, in which the program starts, are left out.
"""
import collections
import pathlib
import re
import subprocess
import sys
import tempfile

import report
import sfeuot_ctypes as sfeuot
from programs import PEERS, Size, width_of

# What an instantiation of the product is for, by the epilogue that is inlined somewhere in it.
PRODUCTS = [("Activate", "products, forward", "activations and their derivatives"),
            ("Adjoin", "products, reverse and tangent", "derivatives applied in reverse and tangent passes"),
            ("Scale", "products, reverse and tangent", "derivatives applied in reverse and tangent passes")]
WEIGHTS = "products, weight gradients, and layers without activation"
# Other kernels by the source file that a sample's innermost known function lies in.
FILES = [("mixture.rs", "mixture log-density"), ("components.rs", "components and their probabilities"),
         ("method.rs", "bridges, dual and action"), ("rng.rs", "noise"),
         ("cpu/batch.rs", "drawing of the batch"), ("adam.rs", "optimiser and average"),
         ("optimiser.rs", "optimiser and average"),
         ("net.rs", "arranging weights for products"), ("activation.rs", "activations and their derivatives"),
         ("pool.rs", "waiting for threads"), ("sampler.rs", "drawing of the batch"), ("data/", "drawing of the batch"),
         ("block.rs", "copies and clearing"), ("train/cpu.rs", "copies and clearing")]


def run(*command):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout


def record(size, seconds, folder):
    """[(object, mangled symbol, offset in it)] of the samples taken while steps were made."""
    data = pathlib.Path(folder) / "perf.data"
    start = 2.5         # the interpreter, the pools and the first steps
    subprocess.run([
        "perf", "record", "-q", "-F", "1997", "--delay",
        str(int(1000 * start)), "-o", data, "--", sys.executable, PEERS / "library_step.py", "--dim",
        str(size.dim), "--hidden",
        str(size.width), "--threads", "1", "--seconds",
        str(start + seconds)
    ], check=True, stdout=subprocess.DEVNULL)
    samples = []
    for line in run("perf", "script", "-i", data, "--no-demangle", "-F", "ip,sym,symoff,dso").splitlines():
        match = re.match(r"\s*[0-9a-f]+ (\S+?)(?:\+0x([0-9a-f]+))? \((.*)\)", line)
        if match:
            samples.append((match[3], match[1], int(match[2] or "0", 16)))
    return samples


def inlined(library, addresses):
    """{address: [(function, file), ...]}, innermost first."""
    result, current = {}, None
    lines = subprocess.run(["addr2line", "-e", library, "-a", "-i", "-f", "-C"], input="\n".join(map(hex, addresses)), check=True,
                           capture_output=True, text=True).stdout.splitlines()
    i = 0
    while i < len(lines):
        if lines[i].startswith("0x"):
            current = result.setdefault(int(lines[i], 16), [])
            i += 1
        else:
            current.append((lines[i], lines[i + 1]))
            i += 2
    return result


def operations(samples, library):
    """{operation: samples}"""
    addresses = {}
    for line in run("nm", "--defined-only", library).splitlines():
        address, _, name = line.split()
        addresses[name] = int(address, 16)
    ours = [(name, addresses[name] + offset) for dso, name, offset in samples if dso.endswith(library.name) and name in addresses]
    frames = inlined(library, sorted({address for _, address in ours}))
    text_of = collections.defaultdict(str)          # all that is inlined into a function, as far as samples show it
    for name, address in ours:
        text_of[name] += "".join(f"{function} {file}\n" for function, file in frames[address])
    found = collections.Counter(operation(text_of[name], frames[address]) for name, address in ours)
    for dso, name, _ in samples:
        if not dso.endswith(library.name):
            found["copies and clearing" if re.search("mem(set|move|cpy)", name) else "mixture log-density" if "log" in
                  name and "libm" in dso else "interpreter, operating system"] += 1
    return found


def operation(inside, frames):
    if "gemm.rs" in inside and "DotProducts" in inside:
        return "narrow layers (dot products)"
    if "gemm.rs" in inside and "Gemm" in inside:
        for mark, product, fused in PRODUCTS:
            if f"dense::{mark}" in inside:
                return fused if any("dense::" in function or "activation" in file for function, file in frames) else product
        return WEIGHTS
    if "ColumnSums" in inside:
        return "gradients of biases"
    for function, file in frames:
        for mark, name in FILES:
            if mark in file:
                return name
    return "other"


def profile(a):
    seconds = report.by_scale(a, 10, 3, 1)
    library = pathlib.Path(sfeuot.library()._name).resolve()
    sizes = [Size(dim, width_of(dim), threads=1) for dim in (2, 16)]
    counts = []
    for size in sizes:
        print(size, file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            counts.append(operations(record(size, seconds, folder), library))
    names = sorted({name
                    for count in counts
                    for name in count}, key=lambda name: -sum(count[name] / count.total() for count in counts))
    rows = [[name, *(f"{100 * count[name] / count.total():.1f} %" for count in counts)] for name in names]
    head = ["operation", *(f"d = {size.dim}, width {size.width}" for size in sizes)]
    samples = " and ".join(str(count.total()) for count in counts)
    return [
        report.provenance(a, ["numpy"], threads=1), f"Share of the cycles of a training step of 128 x 8 rows; {samples} samples.",
        report.table(head, rows)
    ]


def main():
    p = report.parser(__doc__)
    a = p.parse_args()
    try:
        parts = profile(a)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        # Many containers refuse to count; that is no fault of the library.
        parts = [f"Not measured: {error} (perf, addr2line and nm are needed; Debian: linux-perf, binutils)."]
    report.write(a, "Profile", parts)


if __name__ == "__main__":
    main()
