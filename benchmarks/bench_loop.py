"""(a) The overhead of the durable loop: experiments per second with machines that take no time.

Method: a lab in a scratch folder, the simulated machines in their own process with
durations 0 and no wait for the disk, random search, 16 experiments in flight. The worker is
the production one (DBOS and the materials database on one SQLite file, journals that wait
for the disk). A second process reads the job table at the end: hand-over is from the end of
a job to the start of the next job of the same experiment, when the instrument for it is
free. Rows are for the database with and without waiting for the disk at every commit.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import sqlite3
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path

from instruments.sim.control import SimulatorControl, ensure_running
from labctl import wiring
from labctl.initialise import initialise
from labctl.session import run_campaign
from labctl.worker import Worker


def make_lab(folder: Path, experiments: int, in_flight: int, sync: str, optimizer: str = "random") -> Path:
    """A lab whose machines take no time; the campaign file."""
    path = write_lab(folder, experiments, in_flight, sync, optimizer)
    start_machines(folder)
    return path


def write_lab(folder: Path, experiments: int, in_flight: int, sync: str, optimizer: str = "random") -> Path:
    """The files of such a lab; the campaign file."""
    initialise(folder)
    file = folder / "labctl.toml"
    file.write_text(
        file.read_text()
        .replace("# [engine]", "[engine]")
        .replace('# sync = "full" ', f'sync = "{sync}" ')
        .replace("speed = 3600 ", "speed = 1 ")
        .replace(' g"\n', ' Gg"\n')
        .replace(' kg"\n', ' Gg"\n')
    )
    path = folder / "campaigns" / "conductivity.toml"
    text = (
        path.read_text()
        .replace("experiments = 30", f"experiments = {experiments}")
        .replace("in_flight = 3 ", f"in_flight = {in_flight} ")
    )
    path.write_text(text.replace('name = "bayesian" ', f'name = "{optimizer}" ').replace("max = 0.20", "max = 0.10"))
    return path


def start_machines(folder: Path, idle_minutes: float = 10.0) -> None:
    """All machines of the lab file, without durations."""
    devices = {name: s.driver for name, s in wiring.open_lab(folder).file.instruments.items()}
    ensure_running(
        folder / ".labctl" / "simulator",
        devices=devices,
        speed=1.0,
        seed=1,
        durations=0.0,
        fast=True,
        idle_minutes=idle_minutes,
    )


def run(folder: Path, path: Path) -> None:
    """Carry the campaign out."""
    session = run_campaign(folder, path)
    assert session.worker is not None
    session.worker.join()
    if session.worker.error is not None:
        raise session.worker.error


def pace(database: Path) -> float:
    """Experiments per second from the start of the first job to the end of the last."""
    connection = sqlite3.connect(database)
    first, last, count = connection.execute(
        "SELECT min(started_at), max(ended_at), count(DISTINCT experiment_id) FROM job WHERE state='done'"
    ).fetchone()
    connection.close()
    return float(count / (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds())


def hand_overs(database: Path) -> list[float]:
    """Milliseconds between the end of a job and the start of the next of its experiment, waits for the instrument left out."""
    connection = sqlite3.connect(database)
    rows = connection.execute(
        "SELECT experiment_id, instrument_id, started_at, ended_at FROM job WHERE state='done' ORDER BY started_at"
    ).fetchall()
    connection.close()
    free: dict[str, datetime] = {}
    last: dict[str, datetime] = {}
    found = []
    for experiment, instrument, started, ended in rows:
        begin, end = datetime.fromisoformat(started), datetime.fromisoformat(ended)
        if experiment in last:
            ready = max(last[experiment], free.get(instrument, last[experiment]))
            found.append(1000 * (begin - ready).total_seconds())
        last[experiment], free[instrument] = end, end
    return found


def additions_s() -> float:
    """Seconds for ten million additions: shared machines change their pace from hour to hour, and the figures with it."""
    begin, total = time.perf_counter(), 0
    for i in range(10**7):
        total += i
    return time.perf_counter() - begin


def measure(sync: str, experiments: int, in_flight: int) -> None:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "lab"
        path = make_lab(folder, experiments, in_flight, sync)
        cpu = resource.getrusage(resource.RUSAGE_SELF)
        run(folder, path)
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu_ms = 1000 * (used.ru_utime + used.ru_stime - cpu.ru_utime - cpu.ru_stime) / experiments
        rate = pace(folder / ".labctl" / "lab.sqlite")
        gaps = sorted(hand_overs(folder / ".labctl" / "lab.sqlite"))
        SimulatorControl(folder / ".labctl" / "simulator").stop()
    median, p95 = statistics.median(gaps), gaps[int(0.95 * len(gaps))]
    print(f"{sync:>7} {in_flight:>9} {rate:>12.1f} {cpu_ms:>10.0f} {median:>16.0f} {p95:>7.0f}", flush=True)


def where_time_goes(experiments: int) -> None:
    """Own time by part, from a profile of the worker's thread."""
    profile = cProfile.Profile()
    serve = Worker._run

    def profiled(self: Worker) -> None:
        profile.runcall(serve, self)

    Worker._run = profiled  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "lab"
        run(folder, make_lab(folder, experiments, 16, "normal"))
        SimulatorControl(folder / ".labctl" / "simulator").stop()
    parts: dict[str, float] = {}
    for (file, _, name), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        if name in ("<method 'poll' of 'select.epoll' objects>", "<method 'acquire' of '_thread.lock' objects>"):
            continue  # waiting is no work
        part = next(
            (
                p
                for p in (
                    "sqlalchemy",
                    "dbos",
                    "pydantic",
                    "asyncio",
                    "sqlite3",
                    "materials_db",
                    "instruments",
                    "campaigns",
                )
                if p in file
            ),
            "other",
        )
        parts[part] = parts.get(part, 0.0) + own
    total = sum(parts.values())
    print("\nwhere the event loop's thread spends its own time (profiled; database threads are not in it):")
    for part, seconds in sorted(parts.items(), key=lambda item: -item[1]):
        print(f"  {part:<14} {100 * seconds / total:>5.1f} %")


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser()
    options.add_argument("-n", type=int, default=200)
    n = options.parse_args().n
    print(f"ten million additions in Python: {additions_s():.2f} s")
    print(f"{'sync':>7} {'in flight':>9} {'experiments/s':>12} {'CPU ms/exp':>10} {'hand-over ms p50':>16} {'p95':>7}")
    for sync in ("full", "normal"):
        for in_flight in (4, 16):
            measure(sync, n, in_flight)
    print(f"ten million additions in Python: {additions_s():.2f} s")
    where_time_goes(60)


if __name__ == "__main__":
    main()
