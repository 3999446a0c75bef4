"""Child processes that end with the program that started them, with everything that they started themselves.

Each child leads a group of its own, which `end` ends as a whole. The groups that still run are ended when this program
ends, by itself or by a signal; where it is killed outright, Linux kills the child.
"""
import atexit
import ctypes
import os
import signal
import subprocess
import time

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_running = set()


def start(words, **more):
    """A subprocess.Popen. Call it from the main thread: Linux takes the end of the thread for that of the program."""
    _on_signals()
    parent = os.getpid()

    def with_the_parent():
        if hasattr(_libc, "prctl"):
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:      # it ended before it was watched
            os._exit(1)

    child = subprocess.Popen([str(word) for word in words], start_new_session=True, preexec_fn=with_the_parent, **more)
    _running.add(child)
    return child


def wait(child, seconds):
    """The child's status, or None where it still runs after so many seconds."""
    try:
        return child.wait(max(0.0, seconds))
    except subprocess.TimeoutExpired:
        return None


def end(child, grace=3.0):
    """Ends the child's group and returns the child's status: asks, waits, and kills what is left."""
    if child.poll() is None and _tell(child, signal.SIGTERM):
        wait(child, grace)
    # Also what outlives a child that has ended.
    _tell(child, signal.SIGKILL)
    _running.discard(child)
    return child.wait()


def _tell(child, number):
    try:
        os.killpg(child.pid, number)
        return True
    except (ProcessLookupError, PermissionError):
        return False


@atexit.register
def end_all(grace=3.0):
    children = list(_running)
    for child in children:
        if child.poll() is None:
            _tell(child, signal.SIGTERM)
    last = time.monotonic() + grace
    for child in children:
        wait(child, last - time.monotonic())
        end(child, 0.0)


def _on_signals():
    """A signal that would end this program at once ends it as sys.exit does, so that its children are ended."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _leave)


def _leave(number, _):
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)
