"""Programs that a part runs: their environment, their time, and what they said."""
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

from gpu_check.pack import PACK, ROOT

BENCH = ROOT / "bench"
sys.path.insert(0, str(BENCH))
import children     # noqa: E402 (it lies beside the measurements that use it too)

# Of what one command says, so that no report becomes large.
LOG_CHARACTERS = 1 << 19
# The status of a command that did not end in its time.
OUT_OF_TIME = None


def find_toolkit():
    """Lets programs of a CUDA toolkit be found that is installed and not in PATH."""
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    folders = [f"{home}/bin" for home in homes if home and os.path.isdir(f"{home}/bin")]
    os.environ["PATH"] = ":".join([os.environ.get("PATH", os.defpath), *folders])


def library_folders():
    """Where libraries of CUDA lie that the loader may not know: PyTorch's first, so that both use the same in one process."""
    folders = [str(path) for base in sys.path for path in sorted(pathlib.Path(base or ".").glob("nvidia/*/lib"))]
    nvcc = shutil.which("nvcc")
    if nvcc:
        folders.append(str(pathlib.Path(nvcc).resolve().parent.parent / "lib64"))
    return folders


def environment():
    """For a program that uses the library. What the caller's loader path has comes first."""
    given = os.environ.get("LD_LIBRARY_PATH")
    return {**os.environ, "SFEUOT_LIBRARY": str(PACK / "lib" / "libsfeuot.so"), "SFEUOT_TEST_ROOT": str(ROOT),
            "SFEUOT_TEST_LIBRARY": str(PACK / "lib"), "SFEUOT_TEST_REAL_GPU": "1", "RUST_BACKTRACE": "1", "PYTHONUNBUFFERED": "1",
            "TORCHINDUCTOR_COMPILE_THREADS": "2", "LD_LIBRARY_PATH": ":".join([*([given] if given else []), *library_folders()])}


def shortened(text):
    if len(text) <= LOG_CHARACTERS:
        return text
    return f"{text[:LOG_CHARACTERS // 4]}\n... {len(text) - LOG_CHARACTERS} characters left out ...\n{text[-3 * LOG_CHARACTERS // 4:]}"


class Visit:
    """One part at work: its report, its folder, and the moment at which its time is over. `smoke` runs a few tests and steps of
    everything, which shows that the part runs and nothing of a GPU."""

    def __init__(self, report, folder, end, smoke):
        self.report, self.folder, self.end, self.smoke = report, folder, end, smoke
        self.environment = environment()

    def left(self):
        return self.end - time.monotonic()

    def run(self, log, words, seconds=float("inf"), **settings):
        """(status, output) of a command that has at most so many seconds and what is left of the part's time, which is all that
        counts in a smoke run: a simulated GPU on a busy machine is slow. The status is
        OUT_OF_TIME where that was not enough, 127 where there is no such program, and minus the number of a signal that ended it."""
        words = [str(word) for word in words]
        seconds, began = self.left() if self.smoke else min(seconds, self.left()), time.monotonic()
        if seconds < 1:
            status, output = OUT_OF_TIME, "not started: the part's time is over\n"
        else:
            # A file, not a pipe: a grandchild that lives on would keep a pipe open.
            with tempfile.TemporaryFile("w+", errors="replace") as said:
                status = self._run(words, seconds, said, settings)
                said.seek(0)
                output = said.read()
        with open(self.folder / log, "a") as file:
            said = f"$ {shlex.join(words)}\n{shortened(output)}\n[status {status}, {time.monotonic() - began:.1f} s]\n\n"
            # A report that is kept says nothing of where the repository lay.
            file.write(said.replace(f"{ROOT}/", ""))
        return status, output

    def _run(self, words, seconds, said, settings):
        try:
            child = children.start(words, cwd=ROOT, env={**self.environment, **settings}, stdin=subprocess.DEVNULL, stdout=said,
                                   stderr=subprocess.STDOUT)
        except OSError as error:
            said.write(f"{error}\n")
            return 127
        try:
            return children.wait(child, seconds)
        finally:
            children.end(child)


def ended(status):
    return "out of time" if status == OUT_OF_TIME else f"ended by signal {-status}" if status < 0 else f"status {status}"
