"""What the measuring programs share: their options, the line that says where and when, tables, and plots in one style.

Every program writes one section of RESULTS.md as its `--output`, and pictures into `--plots`. `--quick` is a version of
minutes for a look, `--smoke` runs every line of the program with a few steps and proves nothing but that it runs.
"""
import argparse
import datetime
import importlib.metadata
import os
import pathlib
import platform
import time

ROOT = pathlib.Path(__file__).resolve().parent
BUSY_LIMIT, BUSY_WAIT = 0.1, 600     # cores that others may use, and seconds to wait for them


def parser(description):
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    scale = p.add_mutually_exclusive_group()
    scale.add_argument("--quick", dest="scale", action="store_const", const="quick", help="minutes in place of the full measurement")
    scale.add_argument("--smoke", dest="scale", action="store_const", const="smoke", help="a few steps of everything: a test of the program")
    p.set_defaults(scale="full")
    p.add_argument("--output", type=pathlib.Path, help="markdown file; standard output if left out")
    p.add_argument("--plots", type=pathlib.Path, help="folder for pictures; none if left out")
    return p


def by_scale(a, full, quick, smoke):
    """The one of three settings that the command line asks for."""
    return {"full": full, "quick": quick, "smoke": smoke}[a.scale]


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def busy_cores(seconds=1.0):
    """Cores that anything on this machine uses while this program sleeps."""
    def read():
        fields = [int(v) for v in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(fields) - fields[3] - fields[4]      # idle, and waiting for a disk
    before = read()
    time.sleep(seconds)
    return (read() - before) / os.sysconf("SC_CLK_TCK") / seconds


def refuse_busy(a):
    """Timings beside another program's work are worth nothing: waits for a quiet machine. Returns the busy cores to be told."""
    end, busy = time.monotonic() + BUSY_WAIT, busy_cores()
    while busy > BUSY_LIMIT and a.scale == "full" and not a.force:
        if time.monotonic() > end:
            raise SystemExit(f"other programs use {busy:.2f} cores, more than {BUSY_LIMIT}: wait until the machine is quiet, or pass --force")
        busy = busy_cores(5.0)
    return busy


def provenance(a, packages, seeds=None, threads=None, busy=None):
    """One paragraph: machine, date, versions, seeds."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    parts = [f"{datetime.date.today()}", f"{processor()}, {len(os.sched_getaffinity(0))} cores", f"Python {platform.python_version()}, {versions}"]
    if threads is not None:
        parts.append(f"{threads} thread{'s' * (threads != 1)}")
    if seeds is not None:
        parts.append(f"seed{'s' * (len(seeds) != 1)} {' '.join(map(str, seeds))}")
    if busy is not None:
        rough = " (**these numbers are rough**)" if busy > BUSY_LIMIT else ""
        parts.append(f"cores in use by others at the start {busy:.2f}{rough}")
    note = {"full": "", "quick": " **Quick version: fewer steps and seeds than the published tables.**",
            "smoke": " **Smoke run: the numbers mean nothing.**"}[a.scale]
    return "; ".join(parts) + "." + note


def table(head, rows):
    """Markdown; cells are strings or numbers already rounded."""
    line = lambda cells: "| " + " | ".join(map(str, cells)) + " |"
    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])


def write(a, title, parts):
    """A section of RESULTS.md, to --output or standard output."""
    text = f"## {title}\n\n" + "\n\n".join(parts) + "\n"
    if not a.output:
        print(text)
        return
    a.output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = a.output.with_name(a.output.name + ".tmp")
    unfinished.write_text(text)
    unfinished.replace(a.output)


def figure(columns=1, rows=1, width=4.2, height=3.2):
    """A matplotlib figure with its axes, rows x columns."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
                         "figure.dpi": 110, "savefig.dpi": 110, "legend.frameon": False, "legend.fontsize": 8})
    return plt.subplots(rows, columns, figsize=(width * columns, height * rows), squeeze=False, layout="constrained")


def save(a, fig, name):
    """Writes --plots/name.png and returns the markdown that shows it in RESULTS.md."""
    import matplotlib.pyplot as plt
    if a.plots:
        a.plots.mkdir(parents=True, exist_ok=True)
        fig.savefig(a.plots / f"{name}.png")
    plt.close(fig)
    return f"![{name.replace('_', ' ')}](plots/{name}.png)" if a.plots else ""
