"""What a test program of Rust's says of its tests."""
import re
import typing


class Counts(typing.NamedTuple):
    passed: int
    failed: int
    skipped: int
    complete: bool      # it came to its last line

    def __str__(self):
        cut = "" if self.complete else ", and no result of the whole"
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped{cut}"


def count(output):
    """Counts tests in the output of a program that ran with --show-output. A test that could not show anything here passes for
    libtest and prints a line that begins with "skipped:"."""
    outcomes = re.findall(r"^test (\S+)(?: - should panic)? \.\.\. (?:.* )?(ok|FAILED|ignored)", output, re.M)
    result = re.search(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored", output, re.M)
    passed, failed, ignored = map(int, result.groups()) if result else (
        sum(outcome == word for _, outcome in outcomes) for word in ("ok", "FAILED", "ignored"))
    said_so, test = set(), None
    for line in output.splitlines():
        header = re.fullmatch(r"---- (\S+) stdout ----", line)
        if header:
            test = header[1]
        elif test and re.match(r"skipped:", line, re.IGNORECASE):
            said_so.add(test)
    failures = {name for name, outcome in outcomes if outcome == "FAILED"}
    skipped = len(said_so - failures)
    return Counts(max(0, passed - skipped), failed, ignored + skipped, bool(result))


def listed(output):
    """The tests that a program run with --list names."""
    return re.findall(r"^(\S+): test$", output, re.M)
