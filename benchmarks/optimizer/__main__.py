"""The benchmark's command line: measure what is missing, then print the tables."""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from benchmarks.optimizer import harness
from benchmarks.optimizer.figures import FIGURES, measure, module
from benchmarks.optimizer.results import Results, Run


def options() -> argparse.Namespace:
    """What the user asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.optimizer", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "out" / "optimizer.jsonl")
    parser.add_argument("--only", default="all", help=f"figures: {','.join(FIGURES)}")
    parser.add_argument("--peers", default="all", help="peers, labctl among them")
    parser.add_argument("--problems", default="", help='words of which a problem has one: "q4 a,q4 b", "oer"')
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--show", action="store_true", help="print what is there, measure nothing")
    parser.add_argument("--ours", default="labctl", help="the peer that is compared with the others")
    return parser.parse_args()


def missing_runs(chosen: argparse.Namespace, results: Results) -> list[Run]:
    """What was asked for and is not there yet, in order."""
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    found = []
    for figure in figures(chosen):
        peers = module(figure).DEFAULT if chosen.peers == "all" else tuple(chosen.peers.split(","))
        found += [run for run in module(figure).wanted(figure, peers, seeds) if run not in results.rows]
    words = chosen.problems.split(",")
    return [run for run in found if any(word in run.problem for word in words)]


def figures(chosen: argparse.Namespace) -> list[str]:
    """The figures asked for."""
    names = list(FIGURES) if chosen.only == "all" else chosen.only.split(",")
    if unknown := [n for n in names if n not in FIGURES]:
        raise SystemExit(f"no figure {unknown[0]!r}; there are {', '.join(FIGURES)}")
    return names


def carry_out(runs: list[Run], results: Results, jobs: int) -> None:
    """Measure, keep, and say what failed; a peer that is not installed is left out."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=os.nice, initargs=(10,)) as processes:
        absent: set[str] = set()
        for run, future in under_way(processes, runs, jobs, absent):
            error = future.exception()
            if isinstance(error, ModuleNotFoundError):
                if run.peer not in absent:
                    say(f"{run.peer} is left out: {error.name} is not installed (make bench-peers)")
                absent.add(run.peer)
            elif error is not None:
                say(f"{run.figure} {run.peer} {run.problem} {run.seed} failed: {error!r}")
            else:
                results.add(run, future.result())


def under_way(
    processes: ProcessPoolExecutor, runs: Iterable[Run], jobs: int, absent: set[str]
) -> Iterator[tuple[Run, Future[dict[str, Any]]]]:
    """Runs as they end, a few handed in ahead, those of absent peers passed over."""
    futures: dict[Future[dict[str, Any]], Run] = {}
    for run in runs:
        if run.peer in absent:
            continue
        futures[processes.submit(measure, run)] = run
        if len(futures) > jobs:
            done = next(as_completed(futures))
            yield futures.pop(done), done
    for done in as_completed(futures):
        yield futures[done], done


def say(text: str) -> None:
    """A line beside the tables."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure what is missing and print."""
    chosen = options()
    if lacking := harness.missing():
        print(lacking)
        return
    results = Results(chosen.out)
    if not chosen.show:
        runs = missing_runs(chosen, results)
        say(f"{len(runs)} runs to measure, {len(results.rows)} there: {chosen.out}")
        carry_out(runs, results, chosen.jobs)
    from benchmarks.optimizer.show import show

    show(results, figures(chosen), chosen.ours)


if __name__ == "__main__":
    main()
