"""Training steps on pictures per second, and memory, beside the same step in PyTorch.

    pip install -r bench/requirements.txt && cargo build --release
    python bench/picture_speed.py --output picture_speed.md         # about 15 minutes; --quick: three

Both networks are convolutional, and alike in all programs (peers/picture_networks.py, tested against the library on the same
weights). All programs of a row stay alive and are measured in turn, as in speed.py; a busy machine is refused unless told --force.
"""
import statistics
import sys
import time
import typing

import report
from programs import PEERS, in_turn
from speed import memory, rate, ratios, spread

PROGRAMS = {"library": [], "torch": ["--program", "torch"], "torch-compile": ["--program", "torch", "--compile"]}
BAR = 1.0       # the library's rate over that of PyTorch's fastest program, at the least


class Size(typing.NamedTuple):
    side: int
    depth: int = 1
    channels: int = 32
    batch: int = 64
    threads: int = 1

    def __str__(self):
        colours = f"{self.depth} x " if self.depth > 1 else ""
        return f"{colours}{self.side} x {self.side} pixels, {self.channels} channels, {self.batch} pictures a step, {self.threads} thread" + \
            "s" * (self.threads > 1)


SIZES = [Size(16), Size(16, threads=2), Size(28), Size(32, 3), Size(32, 3, threads=2), Size(32, 3, 64)]
QUICK = [Size(16), Size(16, threads=2)]
SMOKE = [Size(8, channels=4, batch=4)]


def command(name, size):
    return [PEERS / "picture_step.py", *PROGRAMS[name], "--side", size.side, "--depth", size.depth, "--channels", size.channels,
            "--sources", size.batch, "--threads", size.threads]


def row(size, rates):
    ours = rates.get("library")
    peers = [name for name in rates if name != "library"]
    best = max(peers, key=lambda name: rate(rates[name]), default=None)
    ratio = statistics.median(ratios(rates, best)) if ours and best else None
    return [str(size), spread([m["steps_per_second"] for m in ours]) if ours else "-",
            *(spread(ratios(rates, name)) if ours and name in rates else "-" for name in PROGRAMS if name != "library"),
            ("yes" if ratio > BAR else "**no**") if ratio else "-",
            ", ".join(f"{name} {memory(measured)}" for name, measured in rates.items())]


HEAD = ["size", "library, steps/s", "library / PyTorch", "library / torch.compile", "ahead", "peak memory, MiB (its own)"]


def main():
    p = report.parser(__doc__)
    p.add_argument("--programs", nargs="+", choices=list(PROGRAMS), help="only these")
    p.add_argument("--rounds", type=int, help="default 3")
    p.add_argument("--seconds", type=float, help="measured in each round, for each program; default 4")
    p.add_argument("--force", action="store_true", help="measure on a busy machine; the table says so")
    a = p.parse_args()
    busy, start = report.refuse_busy(a), time.monotonic()
    names = a.programs or report.by_scale(a, list(PROGRAMS), list(PROGRAMS), ["library", "torch"])
    rounds, seconds = (a.rounds or report.by_scale(a, 3, 2, 1), a.seconds or report.by_scale(a, 4.0, 2.0, 0.05))
    rows = []
    for size in report.by_scale(a, SIZES, QUICK, SMOKE):
        rows.append(row(size, in_turn(names, size, rounds, seconds, report.by_scale(a, 5, 3, 1), command)))
        report.write(a, "Speed on pictures", [
            report.provenance(a, ["torch", "numpy"], busy=busy),
            "float32, convolutional networks of the default form. Every cell is the median, and in brackets the lowest to the highest "
            "round; ratios are those of a round. Memory as in the section on speed.",
            report.table(HEAD, rows), f"Measured in {(time.monotonic() - start) / 60:.0f} minutes."])
    print(f"{(time.monotonic() - start) / 60:.1f} minutes", file=sys.stderr)


if __name__ == "__main__":
    main()
