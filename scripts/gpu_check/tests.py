"""Test programs of the pack on the driver at hand, alone or under compute-sanitizer."""
import typing

from gpu_check import libtest
from gpu_check.pack import PACK
from gpu_check.report import FAILED, NOT_RUN, PASSED, SKIPPED
from gpu_check.visit import ended


class Tests(typing.NamedTuple):
    """Some of a program's tests: those whose names have one of `only` in them and none of `leave`; all without `only`."""
    title: str
    program: str
    only: tuple = ()
    leave: tuple = ()
    # What a smoke run runs of them. Without any they are listed alone: the simulated driver does not map the host's memory, in
    # which the kernels' tests have theirs.
    smoke: tuple = ()
    seconds: float = 120

    def words(self):
        return [PACK / "tests" / self.program, *self.only, *(word for name in self.leave for word in ("--skip", name))]

    def small(self):
        return self._replace(only=self.smoke, leave=())


# Every kernel alone against the CPU device. Left out are the tests of the simulated driver, those that read the sources on the host,
# and the rates, which are a part of their own.
KERNELS = Tests("kernels", "unit", ("device::cuda::tests::",),
                ("::simulated::", "tests::host::", "tests::heads::", "tests::forgotten::", "tests::rates::"))
# Most informative first. Of the last two programs, tests that need no GPU are left out.
CORRECT = (
    KERNELS,
    Tests("cuda", "cuda", smoke=("hosts::device_auto_takes_the_gpu_and_says_so",)),
    Tests("cuda_tensors", "cuda_tensors", seconds=60,
          # The second one is skipped on whatever stands for a real GPU.
          smoke=("dlpack_tensors_on_the_gpu_are_views_of_it", "a_failed_call_reads_its_pinned_source_no_more")),
    Tests("cuda_steady", "cuda_steady", smoke=("those_who_share_a_context_get_what_they_get_alone",), seconds=60),
    Tests("c_programs", "c_programs", ("_on_a_gpu",), smoke=("a_program_lives_through_the_life_of_the_objects_on_a_gpu",), seconds=30),
    Tests("examples", "examples", ("_on_a_gpu", "color_transfer_writes", "particle_morph_writes", "outliers_prints"),
          smoke=("particle_morph_runs_on_a_gpu",), seconds=60),
)
# A short training with the fused kernels, whose memory is the device's: that of the kernels' tests is the host's, which initcheck
# does not watch.
A_FEW_STEPS = ("a_few_fused_steps_of_every_form_repeat_their_bits",)
TRAINING = Tests("a short training", "cuda", A_FEW_STEPS, smoke=A_FEW_STEPS)
RATES = Tests("rates", "unit", ("device::cuda::tests::rates::",))


def select(visit, tests, log):
    """The tests to run, or None after a line in the report: none have such names, or a smoke run leaves them out."""
    status, output = visit.run(log, [*tests.words(), "--list", "--format", "terse"], 20)
    names = libtest.listed(output)
    if status != 0 or not names:
        visit.report.check(f"tests of {tests.title}", "there are some", f"none is listed; {ended(status)}", False)
    elif not visit.smoke:
        return tests
    elif not tests.smoke:
        visit.report.add(f"tests of {tests.title}", "all pass", f"{len(names)} listed", SKIPPED, (0, 0, len(names)))
    elif not set(tests.smoke) <= set(names):
        visit.report.check(f"tests of {tests.title}", "there are some", f"not all of these: {', '.join(tests.smoke)}", False)
    else:
        return tests.small()
    return None


def run(visit, tests, log="tests.log", prefix=(), **settings):
    """(counts, whether all is well, status, output) of the tests in a program of their own."""
    words = [*prefix, *tests.words(), "--show-output", *(("--test-threads", "1") if prefix else ())]
    status, output = visit.run(log, words, tests.seconds, **settings)
    counts = libtest.count(output)
    return counts, status == 0 and counts.complete and counts.failed == 0, status, output


def check(visit, tests):
    """Runs the tests and adds their line to the report."""
    tests = select(visit, tests, "tests.log")
    if tests is None:
        return
    counts, well, status, _ = run(visit, tests)
    # Tests that were all skipped have shown nothing.
    result = FAILED if not well else PASSED if counts.passed else NOT_RUN
    value = str(counts) + ("" if status in (0, 101) else f"; {ended(status)}")
    visit.report.add(f"tests of {tests.title}", "all pass", value, result, counts[:3])
