"""How long `labctl stop --all` takes with the database well, locked, silent and dead.

Method: a lab with a campaign under way, acts of a few seconds; stopped and released ten times each while something
runs. "forbidden" is the wall time from typing it until the file is there that keeps the worker from beginning
anything, "told" until the prompt is back; the command must have said that every machine has stopped.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path

from labctl.stop_flag import flag
from tests import postgres
from tests.acceptance.lab import LABCTL, LabFolder

TIMES = 10
Trouble = Callable[[], AbstractContextManager[None]]


def one(lab: LabFolder, trouble: Trouble) -> tuple[float, float]:
    """One stop: seconds until nothing may begin, and until the prompt is back."""
    while not any(row["state"] == "running" for row in lab.json("queue", "list")):
        assert lab.started[-1].poll() is None, (lab.folder / "worker.out").read_text()
    with trouble():
        begin = time.perf_counter()
        process = subprocess.Popen(
            [*LABCTL, "stop", "--all"], cwd=lab.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        while not flag(lab.folder).exists():
            time.sleep(0.001)
        forbidden = time.perf_counter() - begin
        said, _ = process.communicate()
        told = time.perf_counter() - begin
    assert said.count(": stopped\n") == 3, said
    lab("stop", "--release")
    return forbidden, told


def show(title: str, lab: LabFolder, trouble: Trouble) -> None:
    """One line of the table."""
    found = [one(lab, trouble) for _ in range(TIMES)]
    cells = "".join(f"{statistics.median(f):>11.2f} {max(f):>5.2f}" for f in zip(*found, strict=True))
    print(f"{title:<26}{cells}", flush=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program has the file to itself."""
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


@contextmanager
def silent(server: postgres.Cluster) -> Iterator[None]:
    """The server takes connections and answers none."""
    pid = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGSTOP)
    yield
    os.kill(pid, signal.SIGCONT)


@contextmanager
def dead(server: postgres.Cluster) -> Iterator[None]:
    """The server is gone, and comes back later."""
    server.crash()
    yield
    server.start()


@contextmanager
def lab_at_work(database: str = "") -> Iterator[LabFolder]:
    """A lab with a campaign under way."""
    with tempfile.TemporaryDirectory() as name:
        lab = LabFolder.make(Path(name) / "lab", experiments=1000, speed=200, database=database)
        lab.start("campaign", "run", lab.campaign)
        yield lab
        lab.close()


def main() -> None:
    """Print the table."""
    print(f"{'seconds, median and most':<26}{'forbidden':>17}{'told':>17}")
    with lab_at_work() as lab:
        show("SQLite", lab, nullcontext)
        show("SQLite, file locked", lab, lambda: locked(lab.folder / ".labctl" / "lab.sqlite"))
    if why := postgres.missing():
        print(f"PostgreSQL: {why}")
        return
    with postgres.cluster() as server, lab_at_work(server.url) as lab:
        show("PostgreSQL", lab, nullcontext)
        show("PostgreSQL, silent", lab, lambda: silent(server))
        show("PostgreSQL, dead", lab, lambda: dead(server))


if __name__ == "__main__":
    main()
