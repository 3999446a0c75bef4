"""Results of trainings that run in processes of their own, kept as JSON files, so that an interrupted measurement goes on."""
import concurrent.futures
import datetime
import hashlib
import json
import subprocess
import sys

import report
import sfeuot_ctypes


def code_of(names):
    """Digest of files of this folder: a result of other code is another result."""
    code = hashlib.sha256()
    for name in names:
        code.update((report.ROOT / name).read_bytes())
    return code.hexdigest()


def library_digest():
    return hashlib.sha256(sfeuot_ctypes.library_path().read_bytes()).hexdigest()


def result(a, name, settings, command, seconds):
    """The command's JSON line, from --cache or else made and put there; None if it is not there or failed.

    `settings` are all that it depends on, `seconds` the training that it does: far beyond them it is ended.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    path = a.cache / f"{name}-{digest}.json"
    if path.exists() and a.scale != "smoke":
        return json.loads(path.read_text())
    if a.tables_only:
        return newest(a.cache, name, settings)
    print(f"{name}: {seconds:g} s", file=sys.stderr, flush=True)
    try:
        done = subprocess.run([sys.executable, *map(str, command)], stdout=subprocess.PIPE, text=True, timeout=3 * seconds + 1800,
                              check=True)
        found = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        print(f"no result: {error}", file=sys.stderr, flush=True)
        return None
    found.update(date=str(datetime.date.today()), key=settings)
    if a.scale == "smoke":
        return found
    a.cache.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(found, indent=1))
    unfinished.replace(path)
    return found


def newest(cache, name, settings):
    """For tables alone, a result of another version of the code will do."""
    but_build = lambda key: {k: v for k, v in key.items() if k not in ("library", "code")}
    settings = json.loads(json.dumps(settings))
    for path in sorted(cache.glob(f"{name}-*.json"), key=lambda p: p.stat().st_mtime, reverse=True):
        found = json.loads(path.read_text())
        if but_build(found["key"]) == but_build(settings):
            return found
    return None


def all_of(a, jobs, train, render):
    """Trains what has no result yet, `a.workers` at a time, and renders the tables after each, where they go to a file, and at the end.
    `render` takes the results by job. The program ends with an error where one has none."""
    done = {}
    with concurrent.futures.ThreadPoolExecutor(a.workers) as pool:
        waiting = {pool.submit(train, a, job): job for job in jobs}
        for future in concurrent.futures.as_completed(waiting):
            done[waiting[future]] = future.result()
            if a.output:
                render(done)
    render(done)
    failed = sum(result is None for result in done.values())
    if failed:
        sys.exit(f"{failed} of {len(jobs)} trainings have no result")
