"""The report of one part: a table that is written anew after each result, so that a part that is cut leaves what it found."""
import json
import os
import time

PASSED, FAILED, SKIPPED, NOT_RUN = RESULTS = "passed", "failed", "skipped", "not run"


class Report:
    def __init__(self, folder, part, heading):
        self.path = folder / f"{part}.md"
        self.heading, self.begin = heading, time.monotonic()
        self.checks, self.ended = [], False
        folder.mkdir(parents=True, exist_ok=True)
        self.write()

    def add(self, check, bar, value, result, tests=None):
        """One line. `tests`, where the line stands for tests: how many passed, failed, and were skipped."""
        value = f"{value:.3g}" if isinstance(value, float) else value
        self.checks.append({"check": check, "bar": bar, "value": value, "result": result, "tests": tests})
        print(f"{result:8} {check}: {value} (bar: {bar})", flush=True)
        self.write()

    def check(self, check, bar, value, passed):
        self.add(check, bar, value, PASSED if passed else FAILED)

    def not_run(self, check, why):
        self.add(check, "runs", why, NOT_RUN)

    def total(self):
        """How many passed, failed, were skipped, and were not run. A check that stands for no tests counts as one; so does a
        program that failed without a failed test, because it crashed or ran out of time."""
        sums = dict.fromkeys(RESULTS, 0)
        for check in self.checks:
            tests = check["tests"] or (0, 0, 0)
            for name, count in zip(RESULTS, tests):
                sums[name] += count
            if not any(tests) or check["result"] == FAILED and not tests[1]:
                sums[check["result"]] += 1
        return sums

    def good(self):
        """Whether something was shown, and nothing failed or could not be run."""
        results = {check["result"] for check in self.checks}
        return PASSED in results and not results & {FAILED, NOT_RUN}

    def end(self):
        self.ended = True
        self.write()

    def headline(self):
        counts = ", ".join(f"{count} {name}" for name, count in self.total().items())
        cut = "" if self.ended else " The part has not come to its end."
        return f"{counts}; {time.monotonic() - self.begin:.0f} s.{cut}"

    def write(self):
        def row(cells):
            return "| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in cells) + " |"
        rows = [row(("check", "bar", "value", "result")), row(("---",) * 4)]
        for check in self.checks:
            result = check["result"]
            strong = f"**{result}**" if result in (FAILED, NOT_RUN) else result
            rows.append(row((check["check"], check["bar"], check["value"], strong)))
        text = "\n\n".join([f"# {self.path.stem}", self.headline(), "\n".join(rows), self.heading]) + "\n"
        _replace(self.path, text)
        kept = {"ended": self.ended, "total": self.total(), "checks": self.checks}
        _replace(self.path.with_suffix(".json"), json.dumps(kept, indent=1) + "\n")


def _replace(path, text):
    fresh = path.with_name(path.name + ".tmp")
    fresh.write_text(text)
    os.replace(fresh, path)
