"""Random campaigns, many: every proposal can be made, is new, and is the same again.

Each case is decided by its number (`tests/campaigns/optimizers/random_cases.py`):
``python -m benchmarks.soak_optimizer 10000``, or ``1 FIRST`` for one of them again.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import IO

from tests.campaigns.optimizers.random_cases import violations


def main() -> None:
    n, first = (int(a) for a in (*sys.argv[1:], *("10000", "0")[len(sys.argv) - 1 :]))
    jobs = int(os.environ.get("JOBS", "1"))
    began, bad = time.perf_counter(), 0
    with ProcessPoolExecutor(jobs) as pool:
        for done, (seed, problems) in enumerate(pool.map(checked, range(first, first + n), chunksize=4), 1):
            bad += bool(problems)
            for problem in problems:
                print(f"seed {seed}: {problem}", flush=True)
            if done % 500 == 0 or done == n:
                rate = done / (time.perf_counter() - began)
                print(f"{done} cases, {bad} with violations, {rate:.1f} per second", flush=True)
    sys.exit(1 if bad else 0)


def checked(seed: int) -> tuple[int, list[str]]:
    """One case: its violations, what was printed, or how it crashed."""
    with output() as printed:
        try:
            problems = violations(seed)
        except Exception as surprise:  # noqa: BLE001 - a crash is a violation, and the other cases go on
            where = traceback.extract_tb(surprise.__traceback__)[-1]
            problems = [f"{type(surprise).__name__}: {surprise} ({where.filename}:{where.lineno})"]
    printed.seek(0)
    told = printed.read().decode(errors="replace").strip()
    return seed, problems + ([f"printed: {told}"] if told else [])


@contextmanager
def output() -> Iterator[IO[bytes]]:
    """What is written to stdout and stderr, by libraries in C as well."""
    kept = [os.dup(1), os.dup(2)]
    file = tempfile.TemporaryFile()  # noqa: SIM115 - read once the descriptors are back
    sys.stdout.flush()
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
    try:
        yield file
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        ctypes.CDLL(None).fflush(None)
        for old, at in zip(kept, (1, 2), strict=True):
            os.dup2(old, at)
            os.close(old)


if __name__ == "__main__":
    main()
