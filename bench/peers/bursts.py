"""The time of a call that is too short to be timed alone."""
import statistics
import time

BURST_SECONDS, LEAST_BURSTS = 0.01, 5


def median_time(call, seconds):
    """Seconds of one call: the median over bursts of calls, which go on for `seconds`."""
    call()
    start = time.perf_counter()
    call()
    burst = max(1, round(BURST_SECONDS / max(1e-7, time.perf_counter() - start)))
    times, end = [], time.perf_counter() + seconds
    while len(times) < LEAST_BURSTS or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(burst):
            call()
        times.append((time.perf_counter() - start) / burst)
    return statistics.median(times)
