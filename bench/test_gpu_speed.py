"""Tests of what counts as faster than PyTorch on a GPU; scripts/gpu-rehearsal runs them."""
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

import children
import gpu_speed

RATES = {"library-auto": [2100.0], "library-auto-tf32": [9900.0], "torch-graph": [800.0], "torch-compile-graph": [1000.0],
         "torch-compile-graph-tf32": [9000.0]}
# It has programs of every arithmetic.
LARGEST = gpu_speed.PROBLEMS[-1]


class Bars(unittest.TestCase):
    def check(self, problem=gpu_speed.PROBLEMS[0], **rates):
        measured = {name: values for name, values in {**RATES, **{k.replace("_", "-"): v for k, v in rates.items()}}.items() if values}
        return gpu_speed.table(problem, measured)[1]

    def test_twice_the_fastest_float32_program_passes(self):
        self.assertEqual((self.check()["result"], self.check()["value"]), ("passed", 2.1))
        self.assertEqual(self.check(library_auto=[1990.0])["result"], "failed")
        # An eager program may be the fastest, whatever one expects.
        self.assertEqual(self.check(torch=[1500.0])["result"], "failed")

    def test_arithmetics_are_compared_with_themselves(self):
        text = gpu_speed.table(LARGEST, RATES)[0]
        self.assertRegex(text, r"torch-compile-graph \| 1000.0 \|.*\| 2.10 \|")
        self.assertRegex(text, r"torch-compile-graph-tf32 \| 9000.0 \|.*\| 1.10 \|")
        self.assertEqual(gpu_speed.table(LARGEST, RATES)[1]["value"], 2.1)
        for name in gpu_speed.PROGRAMS:
            self.assertTrue(any(name in problem.programs for problem in gpu_speed.PROBLEMS), name)

    def test_nothing_passes_where_a_captured_program_was_not_ready(self):
        for name in ("torch_graph", "torch_compile_graph"):
            check = self.check(**{name: None})
            self.assertEqual((check["result"], check["value"]), ("not run", None))
            self.assertIn(name.replace("_", "-"), check["why"])

    def test_a_library_that_was_not_measured_fails(self):
        self.assertEqual(self.check(library_auto=None)["result"], "failed")

    def test_small_batches_have_the_bar_of_two_and_are_all_there(self):
        sizes = {(problem.dim, problem.sources, problem.k): problem.bar for problem in gpu_speed.PROBLEMS}
        for size in ((2, 128, 8), (16, 128, 8), (2, 64, 16), (16, 64, 16)):
            self.assertEqual(sizes[size], 2.0)
        for problem in gpu_speed.PROBLEMS:
            self.assertLessEqual({"library-auto", *gpu_speed.STRONGEST}, set(problem.programs))


class Ready(unittest.TestCase):
    def start(self, script):
        program = gpu_speed.Program.__new__(gpu_speed.Program)
        program.name, program.ready, program.lines = "program", False, None
        words = [sys.executable, "-c", script]
        program.process = children.start(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(program.process.stdin.close)
        self.addCleanup(program.process.stdout.close)
        self.addCleanup(program.close)
        return program

    def test_a_program_that_is_never_ready_costs_no_other_its_place(self):
        with tempfile.TemporaryDirectory() as folder:
            said = pathlib.Path(folder) / "said"
            never = self.start("import time; time.sleep(1000)")
            ready = self.start(f"print('ready', flush=True); open({str(said)!r}, 'w').close(); input()")
            while not said.exists():
                time.sleep(0.02)
            gpu_speed.wait_ready([never, ready], 0.1)
            self.assertEqual((never.ready, ready.ready), (False, True))
            self.assertIsNotNone(never.process.poll())


if __name__ == "__main__":
    unittest.main()
