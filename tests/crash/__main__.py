"""Random crashes: `python -m tests.crash N [SEED]` runs N cases from that seed on, each from a seed of its own.

Prints what was broken (nothing must be), with the seed that repeats it: `python -m tests.crash 1 SEED`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.crash.cases import Outcome, draw, run
from tests.crash.lab import SQLITE
from tests.crash.points import crashpoints


def main() -> int:
    """Run them and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash")
    parser.add_argument("n", type=int, nargs="?", default=100)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("--database", default=SQLITE, help="as labctl.toml names it")
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("JOBS", "2")))
    options = parser.parse_args()
    disk = shutil.which("strace") is not None
    if not disk:
        print("strace is not installed: no case of a failing disk")
    crashpoints()  # read once: the parser of sources is not made for threads
    totals: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="labctl-crash-") as name, ThreadPoolExecutor(options.jobs) as pool:
        seeds = range(options.seed, options.seed + options.n)
        futures = [pool.submit(one, seed, Path(name), disk, options.database) for seed in seeds]
        for future in as_completed(futures):
            count(totals, future.result())
    print(
        f"{totals['cases']} cases, {totals['blows']} crashes and faults, {totals['recovered']} recoveries, "
        f"{totals['violations']} violations, {totals['doubts']} needed a person"
    )
    return 1 if totals["violations"] else 0


def one(seed: int, folder: Path, disk: bool, database: str) -> Outcome:
    """The case of a seed, in a folder that is gone afterwards."""
    place = folder / str(seed)
    outcome = run(draw(seed, disk=disk), place, database)
    shutil.rmtree(place, ignore_errors=True)
    return outcome


def count(totals: Counter[str], outcome: Outcome) -> None:
    """Add one case to the table; say what it broke."""
    totals["cases"] += 1
    totals["blows"] += outcome.struck
    totals["violations"] += len(outcome.broken)
    totals["recovered"] += bool(outcome.struck and not outcome.broken)
    totals["doubts"] += outcome.doubts
    if outcome.broken:
        print("\n  ".join([f"seed {outcome.case.seed}: {outcome.case}", *outcome.broken]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
