"""The rate of the library's convolutions on one thread, beside the product of as many operations and PyTorch's, which are oneDNN's.

    pip install -r bench/requirements.txt
    python bench/convolution_speed.py --output convolution_speed.md     # about 8 minutes; --quick: two

The library's are those of `cargo bench --bench kernels`, in blocks of a quarter of a megabyte, as a training has them; PyTorch's
are of 64 pictures (peers/convolution_rate.py). Both take turns. Minimal filtering needs fewer operations than the definition, which
is what counts here, so a rate may be above the processor's. A busy machine is refused unless told --force.
"""
import json
import statistics
import subprocess
import sys
import time

import report
from programs import PEERS

CRATE = report.ROOT.parent
CRITERION = CRATE / "target" / "criterion"
SIZES = [(32, 32), (32, 64), (16, 32), (16, 64), (8, 32), (8, 64)]      # side and channels, as in benches/kernels.rs
PASSES = {"convolution": "forward", "convolution_reverse": "reverse", "convolution_weights": "weights",
          "convolution_weights_of_two": "weights of two pairs"}
# oneDNN takes one pair after the other.
OTHERS = {"convolution_weights_of_two": "convolution_weights"}
PRODUCT_BAR, OTHER_BAR = 0.85, 1.0


def library(side, channels, smoke):
    """GFLOP/s of each operation. Criterion's own trial writes no numbers: 0 there."""
    group = f"{side}x{side}_c{channels}"
    only = ["--test"] if smoke else ["--noplot"]
    subprocess.run(["cargo", "bench", "--quiet", "--bench", "kernels", "--", f"^{group}/", *only], cwd=CRATE, check=True,
                   stdout=subprocess.DEVNULL)

    def measured(name):
        where = CRITERION / group / name / "new"
        count = json.loads((where / "benchmark.json").read_text())["throughput"]["Elements"]
        return count / json.loads((where / "estimates.json").read_text())["median"]["point_estimate"]

    return {name: 0.0 if smoke else measured(name) for name in ("product", *PASSES)}


def torch(side, channels, seconds):
    command = [sys.executable, PEERS / "convolution_rate.py", "--side", side, "--channels", channels, "--seconds", seconds]
    return json.loads(subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout)


def ratio(rounds, name):
    """Medians of a pass over the product and over oneDNN's, each of a round."""
    product = statistics.median(own[name] / own["product"] if own["product"] else 0 for own, _ in rounds)
    return product, statistics.median(own[name] / other[OTHERS.get(name, name)] for own, other in rounds)


def rows(size, rounds):
    side, channels = size
    for name, title in PASSES.items():
        of_product, of_other = ratio(rounds, name)
        own, other = (statistics.median(pair[i][OTHERS.get(name, name) if i else name] for pair in rounds) for i in (0, 1))
        holds = of_product >= PRODUCT_BAR and of_other >= OTHER_BAR
        yield [f"{side} x {side}, {channels} channels", title, f"{own:.0f}", f"{other:.0f}", f"{of_product:.2f}", f"{of_other:.2f}",
               "yes" if holds else "**no**"]


def main():
    p = report.parser(__doc__)
    p.add_argument("--rounds", type=int, help="default 3")
    p.add_argument("--force", action="store_true", help="measure on a busy machine; the table says so")
    a = p.parse_args()
    busy, start, lines = report.refuse_busy(a), time.monotonic(), []
    smoke, seconds = a.scale == "smoke", report.by_scale(a, 1.0, 0.5, 0.01)
    for size in report.by_scale(a, SIZES, SIZES[2:4], SIZES[-2:-1]):
        rounds = [(library(*size, smoke), torch(*size, seconds)) for _ in range(a.rounds or report.by_scale(a, 3, 1, 1))]
        lines += rows(size, rounds)
        report.write(a, "Convolutions", [
            report.provenance(a, ["torch"], threads=1, busy=busy),
            "float32, 3 x 3 taps, stride 1, GFLOP/s of the definition's operations; medians of the rounds, ratios of a round. Bars: "
            f"{PRODUCT_BAR} of the product, {OTHER_BAR} of oneDNN.",
            report.table(["pictures", "pass", "library", "oneDNN", "of the product", "of oneDNN", "holds"], lines)])
    print(f"{(time.monotonic() - start) / 60:.1f} minutes", file=sys.stderr)


if __name__ == "__main__":
    main()
