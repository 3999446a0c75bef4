"""The parts of gpu-check, each a function of a visit. What is worth the most comes first in each."""
import csv
import importlib.util
import json
import re
import shutil
import sys
import tempfile

from gpu_check import libtest, pack, tests
from gpu_check.report import FAILED, NOT_RUN, PASSED, SKIPPED
from gpu_check.visit import BENCH, ended

SHARE_BAR = 0.7
# One training step's kernels; as many launches are profiled.
PROFILED_LAUNCHES = 60
SANITIZER = "compute-sanitizer"


def lacks_numpy(visit, *checks):
    """Whether there is no NumPy, by which the measurements call the library; the checks are then reported as not run."""
    if importlib.util.find_spec("numpy"):
        return False
    for check in checks:
        visit.report.not_run(check, f"{sys.executable} has no NumPy")
    return True


def take_checks(visit, log, path, what, words, seconds=float("inf")):
    """Runs a program and adds the checks that it wrote as JSON. Its status is 1 where one of them has not passed; without one, that
    is the status of an uncaught exception."""
    path.unlink(missing_ok=True)
    status, _ = visit.run(log, words, seconds)
    checks = json.loads(path.read_text()) if path.exists() else []
    for check in checks:
        value = check["value"] if check["value"] is not None else check.get("why")
        visit.report.add(check["check"], check["bar"], value, check["result"])
    told = any(check["result"] != PASSED for check in checks)
    visit.report.check(what, "ends", ended(status), status == 0 or status == 1 and told)


def environment(visit):
    log = "environment.txt"
    query = "name,driver_version,memory.total,clocks.max.sm,clocks.max.memory,clocks.sm,power.limit,persistence_mode"
    visit.run(log, ["date", "--utc"], 5)
    visit.run(log, ["nvidia-smi", f"--query-gpu={query}", "--format=csv"], 20)
    visit.run(log, ["nvcc", "--version"], 10)
    visit.run(log, [sys.executable, "-c", "import numpy, torch; print(numpy.__version__, torch.__version__, torch.version.cuda)"], 30)
    visit.run(log, ["cat", "/proc/version", pack.MANIFEST], 5)


def correct(visit):
    smoke = ["--smoke"] * visit.smoke
    first, comparison = "a context, steps and samples", "trainings against the CPU's"
    has_numpy = not lacks_numpy(visit, first, comparison)
    if has_numpy:
        status, _ = visit.run("tests.log", [sys.executable, BENCH / "gpu_training.py", "--first", *smoke], 40)
        visit.report.check(first, "ends", ended(status), status == 0)
    for number, some in enumerate(tests.CORRECT):
        tests.check(visit, some)
        if number == 1 and has_numpy:     # after the kernels and whole trainings, before the interface
            path = visit.folder / "training.json"
            words = [sys.executable, BENCH / "gpu_training.py", "--output", path, *smoke]
            take_checks(visit, "tests.log", path, comparison, words, 150)


def sanitize(visit):
    if not shutil.which(SANITIZER):
        return visit.report.not_run(SANITIZER, "there is none")
    runs = [("memcheck", tests.TRAINING), ("racecheck", tests.KERNELS), ("initcheck", tests.TRAINING), ("synccheck", tests.KERNELS)]
    for number, (tool, some) in enumerate(runs):
        # What one leaves is the others'.
        some = some._replace(seconds=visit.left() / (len(runs) - number))
        sanitized(visit, tool, some)


def sanitized(visit, tool, some):
    name = f"{tool}, {some.title}"
    log = "sanitizer.log"
    prefix = [SANITIZER, "--tool", tool, "--error-exitcode", "9", "--print-limit", "20", "--target-processes", "application-only"]
    if visit.smoke and not some.smoke:
        # The command line of the visit, but that the tests are listed.
        status, output = visit.run(log, [*prefix, *some.words(), "--list", "--format", "terse"], 60)
        errors, counts = summed(output), libtest.Counts(0, 0, len(libtest.listed(output)), True)
        well, result = status == 0 and counts.skipped, SKIPPED
    else:
        counts, well, status, output = tests.run(visit, some, log, prefix, SFEUOT_TEST_CASES="2")
        errors = summed(output)
        result = PASSED if counts.passed else NOT_RUN
    value = f"{errors} errors" if errors is not None else "no summary"
    value += f"; {counts}" + ("" if status == 0 else f"; {ended(status)}")
    visit.report.add(name, "0 errors", value, result if well and errors == 0 else FAILED, counts[:3])


def summed(output):
    """Errors and hazards of all summaries; None without one."""
    found = [int(count) for count in re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (\d+)", output)]
    return sum(found) if found else None


def speed(visit):
    if lacks_numpy(visit, "speed beside PyTorch"):
        return
    path = visit.folder / "speed-tables.md"
    # All programs' rounds take about a minute, generation ten seconds.
    patience = max(10, visit.left() - 100)
    smoke = ["--smoke"] * visit.smoke
    take_checks(visit, "speed.log", path.with_suffix(".json"), "speed beside PyTorch",
                [sys.executable, BENCH / "gpu_speed.py", "--rounds", "3", "--seconds", "0.4", "--patience", f"{patience:.0f}", "--output",
                 path, *smoke])


def rates(visit):
    some = tests.select(visit, tests.RATES, "rates.log")
    if some is None:
        return
    status, output = visit.run("rates.log", [*some.words(), "--ignored", "--nocapture"], visit.left() - 60)
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    keep_kernels(visit, "rates", lines)
    measured = [line for line in lines if "share" in line]
    for line in measured:
        visit.report.check(f"{line['kernel']}, {line['size']}: share of the {line['bound']} bound", SHARE_BAR, line["share"],
                           line["share"] >= SHARE_BAR)
    visit.report.check("kernel rates", "ends", ended(status), status == 0 and measured)
    profile(visit)


def keep_kernels(visit, key, value):
    path = visit.folder / "kernels.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**kept, key: value}, indent=1) + "\n")


def profile(visit):
    """Time and throughput of one step's kernels, by ncu. Nothing hangs on it."""
    if not shutil.which("ncu") or not importlib.util.find_spec("numpy"):
        return
    metrics = ("gpu__time_duration.sum", "sm__throughput.avg.pct_of_peak_sustained_elapsed",
               "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed")
    with tempfile.NamedTemporaryFile("r", suffix=".csv") as table:
        visit.run("rates.log", ["ncu", "--target-processes", "all", "--clock-control", "none", "--csv", "--log-file", table.name,
                                "--metrics", ",".join(metrics), "--launch-skip", "20", "--launch-count", PROFILED_LAUNCHES, sys.executable,
                                BENCH / "peers" / "library_step.py", "--device", "cuda", "--dim", "16", "--hidden", "256", "--steps", "2",
                                "--warmup", "0", "--json"])
        lines = [line for line in table.read().splitlines() if line.startswith('"')]
    by_kernel = {}
    for row in csv.DictReader(lines):
        if row.get("Metric Name") in metrics:
            kernel = by_kernel.setdefault(row["Kernel Name"], {metric: [] for metric in metrics})
            kernel[row["Metric Name"]].append(float(row["Metric Value"].replace(",", "")))
    total = sum(sum(kernel[metrics[0]]) for kernel in by_kernel.values())
    keep_kernels(visit, "profile", sorted((
        {"kernel": name, "launches": len(kernel[metrics[0]]), "share_of_time": round(sum(kernel[metrics[0]]) / total, 4),
         **{metric: round(sum(values) / len(values), 3) for metric, values in kernel.items() if values}}
        for name, kernel in by_kernel.items()), key=lambda entry: -entry["share_of_time"]))


def accuracy(visit):
    if lacks_numpy(visit, "accuracy"):
        return
    path = visit.folder / "accuracy-table.md"
    # A row takes a few seconds more than its start allows. A smoke run starts none: a simulated GPU takes minutes for one.
    budget = 0 if visit.smoke else max(1, visit.left() - 30)
    status, _ = visit.run("accuracy.log", [sys.executable, BENCH / "accuracy.py", "table", "--device", "cuda", "--seeds", "0", "--budget",
                                           f"{budget:.0f}", "--output", path])
    take_rows(visit, path, status)


def take_rows(visit, path, status):
    """Adds the rows of a table of measures. The program's status is 1 where one of them does not hold, as in `take_checks`."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in (path.read_text() if path.exists() else "").splitlines()
            if line.startswith("| ")][1:]
    rows = [row for row in rows if len(row) == 6]
    for problem, _, measure, value, bound, holds in rows:
        # What no time was left for is no failure.
        result = SKIPPED if value == "not run" else PASSED if holds == "yes" else FAILED
        visit.report.add(f"{problem}: {measure}", bound, value, result)
    measured = rows if visit.smoke else [row for row in rows if row[3] != "not run"]
    told = any(row[5] != "yes" and row[3] != "not run" for row in rows)
    visit.report.check("accuracy", "measures and ends", ended(status), measured and (status == 0 or status == 1 and told))


# In the order of their worth.
PARTS = {"correct": (correct, "the kernels and whole trainings against the CPU's, and the interface on the driver"),
         "speed": (speed, "training steps per second beside PyTorch on this GPU, generation"),
         "sanitize": (sanitize, "compute-sanitizer: memcheck and initcheck on a training, racecheck and synccheck on the kernels"),
         "rates": (rates, "each kernel against what memory or arithmetic allows, and a profile of a step"),
         "accuracy": (accuracy, "trained maps against known truths")}
