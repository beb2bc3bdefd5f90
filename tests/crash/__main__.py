"""Random crashes: `python -m tests.crash N [SEED]` runs N cases from that seed on, each from a seed of its own.
With `--every STEP`, instead: every crash point, and every STEPth of the calls by which a small campaign writes and flushes,
up to the last that it makes.

Prints what was broken (nothing must be), with the seed that repeats it: `python -m tests.crash 1 SEED`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue

from tests import postgres
from tests.crash.cases import SWEPT, Case, Means, Outcome, draw, every_nth, every_point, run
from tests.crash.points import crashpoints

Places = SimpleQueue[postgres.Cluster | None]
SAID_EVERY = 100  #: cases after which the counts are printed
ACCEPTED = 0.01  #: share of crashes that may need a person


def main() -> int:
    """Run them and print the table."""
    options = parse()
    if options.every:
        return sweep(options)
    means = Means(disk=disk_may_fail(), server=options.database == "postgresql", kind=options.lab)
    crashpoints()  # read once: the parser of sources is not made for threads
    totals: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory(prefix="labctl-crash-") as name,
        places(options) as free,
        ThreadPoolExecutor(options.jobs) as pool,
    ):
        seeds = range(options.seed, options.seed + options.n)
        futures = [pool.submit(one, seed, Path(name), means, free) for seed in seeds]
        for future in as_completed(futures):
            count(totals, future.result())
            if totals["cases"] % SAID_EVERY == 0 and totals["cases"] < options.n:
                print(f"so far {so_far(totals)}", flush=True)
    print(
        f"{options.database}, seeds {seeds[0]} to {seeds[-1]}: {so_far(totals)}"
        f" ({share(totals):.1%} of crashes; fewer than {ACCEPTED:.0%} wanted)"
    )
    return 1 if totals["violations"] or share(totals) >= ACCEPTED else 0


def sweep(options: argparse.Namespace) -> int:
    """Every point and every Nth call, one family after the other; each ends with the first case to which nothing happens."""
    families: dict[str, Iterator[Case]] = {"every point": every_point()}
    if disk_may_fail():
        families |= {f"{call}, {effect}": every_nth(call, effect, options.every) for call, effect in SWEPT}
    whole: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory(prefix="labctl-crash-") as name,
        places(options) as free,
        ThreadPoolExecutor(options.jobs) as pool,
    ):

        def work(family: str) -> tuple[str, Counter[str]]:
            totals: Counter[str] = Counter()
            for number, case in enumerate(families[family]):
                outcome = place_of(free, Path(name) / family.replace(" ", "") / str(number), case)
                count(totals, outcome)
                if not outcome.struck and family != "every point":
                    break
            return family, totals

        for future in as_completed([pool.submit(work, family) for family in families]):
            family, totals = future.result()
            whole += totals
            print(f"{family}: {so_far(totals)}", flush=True)
    print(f"{options.database}, every point and every {options.every}th call: {so_far(whole)}")
    return 1 if whole["violations"] else 0


def so_far(totals: Counter[str]) -> str:
    """The counts in words."""
    return (
        f"{totals['cases']} cases, {totals['blows']} crashes and faults, {totals['recovered']} recoveries,"
        f" {totals['violations']} violations, {totals['doubts']} needed a person"
    )


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash")
    parser.add_argument("n", type=int, nargs="?", default=100)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--lab", choices=("electrolyte", "alloy"), default="", help="only this one")
    parser.add_argument(
        "--every", type=int, default=0, metavar="STEP", help="no random ones: all points and every STEPth call"
    )
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("JOBS", "2")))
    return parser.parse_args(words)


def disk_may_fail() -> bool:
    """Whether there is strace. Where the record is on a server, the host's journals and raw files are on the disk still."""
    found = shutil.which("strace") is not None
    if not found:
        print("strace is not installed: no case of a failing disk")
    return found


@contextmanager
def places(options: argparse.Namespace) -> Iterator[Places]:
    """Where cases may run: each has a server to itself, as some kill it."""
    free: Places = SimpleQueue()
    with ExitStack() as stack:
        for _ in range(options.jobs):
            free.put(stack.enter_context(postgres.cluster()) if options.database == "postgresql" else None)
        yield free


def one(seed: int, folder: Path, means: Means, free: Places) -> Outcome:
    """The case of a seed, in a folder that is gone afterwards."""
    return place_of(free, folder / str(seed), draw(seed, means))


def place_of(free: Places, place: Path, case: Case) -> Outcome:
    """Run a case where there is room, in a folder that is gone afterwards."""
    server = free.get()
    try:
        return run(case, place, server)
    finally:
        free.put(server)
        shutil.rmtree(place, ignore_errors=True)


def count(totals: Counter[str], outcome: Outcome) -> None:
    """Add one case to the table; say what it broke."""
    totals["cases"] += 1
    totals["blows"] += outcome.struck
    totals["violations"] += len(outcome.broken)
    totals["recovered"] += bool(outcome.struck and not outcome.broken)
    totals["doubts"] += outcome.doubts
    if outcome.broken:
        print("\n  ".join([f"seed {outcome.case.seed}: {outcome.case}", *outcome.broken]), flush=True)


def share(totals: Counter[str]) -> float:
    """Crashes after which only a person could say what had happened."""
    return totals["doubts"] / max(1, totals["blows"])


if __name__ == "__main__":
    sys.exit(main())
