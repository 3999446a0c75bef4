"""Trainings for the measuring programs: one call that trains and gives a session, and many trainings side by side.

A training has the same bits for any number of threads, so several at once on one thread each give the numbers that one after
the other would, in less time.
"""
import concurrent.futures
import contextlib
import multiprocessing
import os
import sys
import time

import numpy as np

import sfeuot_ctypes as sfeuot

CHUNK_ROWS = 50_000
# Where the library trains and answers, "cuda" for a GPU. Peers stay on the CPU.
DEVICE = os.environ.get("SFEUOT_BENCH_DEVICE", "cpu")


@contextlib.contextmanager
def trained(source, target, steps, threads=1, **config):
    """A session on the model that `steps` steps give; sigma and tau in the units of the data."""
    with (sfeuot.Context(device=DEVICE, threads=threads) as context,
          sfeuot.Trainer(context, source, target, sigma_units="data", **config) as trainer):
        trainer.step(steps)
        with trainer.model() as model, model.session() as session:
            yield session


def generator(session):
    """The `generate(x, seed)` that problems' reports take: float64, in pieces."""
    def generate(x, seed):
        return np.concatenate([session.generate(x[i:i + CHUNK_ROWS], seed, first_row=i)
                               for i in range(0, len(x), CHUNK_ROWS)]).astype(np.float64)
    return generate


def take_core(next_core):
    """One core for each worker: some libraries heed nothing else."""
    with next_core.get_lock():
        cores = sorted(os.sched_getaffinity(0))
        core = cores[next_core.value % len(cores)]
        next_core.value += 1
    os.sched_setaffinity(0, {core})


def side_by_side(function, jobs, workers, report):
    """`function(job)` for all jobs, `workers` at a time in processes of their own; `report(job, result)` as each ends.

    A job that raises is told on stderr and reported as None, and the others go on.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["OMP_WAIT_POLICY"] = "passive"
    start = time.monotonic()
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, spawn, take_core, (spawn.Value("i", 0),)) as pool:
        waiting = {pool.submit(function, job): job for job in jobs}
        for done, future in enumerate(concurrent.futures.as_completed(waiting), 1):
            job = waiting[future]
            try:
                result = future.result()
            except Exception as error:      # one bad run must not cost the others
                print(f"failed: {job}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                result = None
            print(f"[{time.monotonic() - start:.0f} s] {done} of {len(jobs)}: {job}", file=sys.stderr, flush=True)
            report(job, result)


def option(p):
    p.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="trainings at once, one thread each")
