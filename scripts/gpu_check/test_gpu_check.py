"""Tests of gpu-check's pieces that need neither a pack nor a GPU; scripts/gpu-rehearsal runs them."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

from gpu_check import libtest, pack, parts
from gpu_check.report import FAILED, NOT_RUN, PASSED, SKIPPED, Report
from gpu_check.visit import OUT_OF_TIME, Visit, children

SAID = """
running 4 tests
test a ... ok
test b ... ok
test slow ... ignored, measures
test c ... FAILED

successes:

---- b stdout ----
skipped: only the simulated driver shows this


failures:

---- c stdout ----
skipped: not really
thread 'c' panicked

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
"""


class Libtest(unittest.TestCase):
    def test_what_was_skipped_has_not_passed(self):
        self.assertEqual(libtest.count(SAID), (1, 1, 2, True))

    def test_a_program_that_was_cut_counts_what_it_had(self):
        self.assertEqual(libtest.count(SAID.split("test c")[0]), (2, 0, 1, False))
        self.assertEqual(libtest.count("Killed"), (0, 0, 0, False))


class Reports(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.report = Report(pathlib.Path(self.folder.name), "part", "")

    def test_nothing_shown_is_no_success(self):
        self.assertFalse(self.report.good())
        self.report.add("tests", "all pass", "3 listed", SKIPPED, (0, 0, 3))
        self.assertFalse(self.report.good())
        self.report.add("tests", "all pass", "", PASSED, (5, 0, 1))
        self.assertTrue(self.report.good())
        self.assertEqual(self.report.total(), {PASSED: 5, FAILED: 0, SKIPPED: 4, NOT_RUN: 0})

    def test_one_failure_and_one_gap_are_enough(self):
        for result in (FAILED, NOT_RUN):
            self.report.checks.clear()
            self.report.check("well", 1, 1, True)
            self.report.add("other", 1, None, result)
            self.assertFalse(self.report.good())

    def test_a_crash_counts_as_a_failure(self):
        self.report.add("tests", "all pass", "", FAILED, (2, 0, 0))
        self.assertEqual(self.report.total()[FAILED], 1)

    def test_the_files_have_what_was_found_so_far(self):
        self.report.check("rate", 2.0, 1.0, False)
        kept = json.loads(self.report.path.with_suffix(".json").read_text())
        self.assertEqual((kept["ended"], kept["total"][FAILED]), (False, 1))
        self.assertIn("not come to its end", self.report.path.read_text())
        self.report.end()
        self.assertNotIn("not come to its end", self.report.path.read_text())


class Digests(unittest.TestCase):
    def test_changed_and_missing_files_give_another_number(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(pack, "ROOT", pathlib.Path(folder)):
            one, other = pathlib.Path(folder) / "one", pathlib.Path(folder) / "other"
            one.write_text("1")
            first = pack.digest_of(["one"])
            other.write_text("2")
            self.assertEqual(pack.digest_of(["one"]), first)
            self.assertNotEqual(pack.digest_of(["one", "other"]), first)
            one.write_text("changed")
            changed = pack.digest_of(["one"])
            one.unlink()
            self.assertEqual(len({first, changed, pack.digest_of(["one"])}), 3)

    def test_the_sources_of_a_checkout_are_not_what_git_ignores(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(pack, "ROOT", pathlib.Path(folder).resolve()):
            for name in ("src/lib.rs", "src/ignored", "docs/more"):
                (pack.ROOT / name).parent.mkdir(exist_ok=True)
                (pack.ROOT / name).write_text("text")
            (pack.ROOT / ".gitignore").write_text("ignored\n")
            self.assertIsNone(pack.files_that_travel())
            self.assertEqual(pack.sources(), ["src/ignored", "src/lib.rs"])
            if shutil.which("git"):
                subprocess.run(["git", "init", "--quiet"], cwd=pack.ROOT, check=True)
                self.assertEqual(pack.sources(), ["src/lib.rs"])


class Measurements(unittest.TestCase):
    """Status 1 says that a bar is missed only where one is: an uncaught exception ends a program with it as well."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.report = Report(self.folder, "part", "")
        self.visit = Visit(self.report, self.folder, time.monotonic() + 60, False)

    def ends(self, results, status):
        """Whether a program that wrote checks of these results, and then ended with that status, counts as one that ended."""
        path = self.folder / "checks.json"
        checks = json.dumps([{"check": "a", "bar": 1, "value": 1, "result": result} for result in results])
        script = f"import pathlib, sys; pathlib.Path({str(path)!r}).write_text({checks!r}); sys.exit({status})"
        parts.take_checks(self.visit, "log", path, "program", [sys.executable, "-c", script])
        return self.report.checks[-1]["result"]

    def test_status_1_needs_a_check_that_has_not_passed(self):
        self.assertEqual(self.ends([PASSED], 0), PASSED)
        for result in (FAILED, NOT_RUN):
            self.assertEqual(self.ends([PASSED, result], 1), PASSED)
        for results in ([PASSED, PASSED], []):
            self.assertEqual(self.ends(results, 1), FAILED)
        self.assertEqual(self.ends([FAILED], 2), FAILED)

    def measures(self, rows, status):
        path = self.folder / "table.md"
        head = ["| problem | steps | measure | median | bound | holds |", "|---|---|---|---|---|---|"]
        path.write_text("\n".join([*head, *(f"| p | 1 | m | {value} | 1 | {holds} |" for value, holds in rows)]))
        parts.take_rows(self.visit, path, status)
        return self.report.checks[-1]["result"]

    def test_status_1_needs_a_row_that_does_not_hold(self):
        holds, fails, left = ("0.1", "yes"), ("2", "**no**"), ("not run", "")
        self.assertEqual(self.measures([holds, left], 0), PASSED)
        self.assertEqual(self.measures([holds, fails], 1), PASSED)
        self.assertEqual(self.measures([holds, left], 1), FAILED)
        self.assertEqual(self.measures([left], 0), FAILED)


class Commands(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def visit(self, seconds=60):
        return Visit(None, self.folder, time.monotonic() + seconds, False)

    def test_status_and_output_are_told_and_logged(self):
        self.assertEqual(self.visit().run("log", ["sh", "-c", "echo out; echo err >&2; exit 7"]), (7, "out\nerr\n"))
        self.assertIn("[status 7", (self.folder / "log").read_text())
        self.assertEqual(self.visit().run("log", ["no-such-program"])[0], 127)
        self.assertEqual(self.visit().run("log", ["sh", "-c", "kill -9 $$"])[0], -9)
        self.assertEqual(self.visit(0).run("log", ["true"])[0], OUT_OF_TIME)

    def test_a_command_without_end_is_ended_with_its_children(self):
        beside = self.folder / "child"
        script = f"trap '' TERM; sleep 1000 & echo $! > {beside}; wait; wait"
        visit = self.visit()
        self.assertEqual(visit.run("log", ["sh", "-c", script], 4)[0], OUT_OF_TIME)
        wait_until(lambda: not alive(int(beside.read_text())), self)

    def test_children_end_with_a_program_that_is_killed(self):
        script = (f"import sys; sys.path.insert(0, {str(pathlib.Path(children.__file__).parent)!r}); import children, time; "
                  "print(children.start(['sleep', '1000']).pid, flush=True); time.sleep(1000)")
        for end in (subprocess.Popen.kill, subprocess.Popen.terminate):
            with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
                child = int(parent.stdout.readline())
                self.assertTrue(alive(child))
                end(parent)
            wait_until(lambda: not alive(child), self)


def alive(process):
    try:
        # A zombie has ended, though nobody has asked after it.
        return pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(holds, test):
    end = time.monotonic() + 60
    while not holds():
        test.assertLess(time.monotonic(), end)
        time.sleep(0.02)


if __name__ == "__main__":
    unittest.main()
