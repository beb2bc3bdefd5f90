"""Labs of any size for `bench_scale`: machines that take no time, their workers as processes, and what these use."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.bench_loop import start_machines, write_lab
from labctl import campaigning, wiring
from materials_db import looking
from tests import postgres
from tests.acceptance.lab import LabFolder

TICKS = os.sysconf("SC_CLK_TCK")
KINDS = ("doser", "thermostat", "analyser")
IDLE_MINUTES = 60.0  #: while a database is filled nobody talks to the machines
Server = postgres.Cluster | None  #: None: a SQLite file
Process = subprocess.Popen[bytes]


@contextmanager
def lab_of(
    experiments: int, in_flight: int, server: Server = None, *, sets: int = 1, hosts: int = 1
) -> Iterator[LabFolder]:
    """A lab with so many sets of machines, divided over so many hosts, and a campaign file for random search."""
    with tempfile.TemporaryDirectory(prefix="labctl-scale-") as name:
        lab = LabFolder(Path(name) / "lab")
        url = postgres.fresh_database(server.url) if server else ""
        write_lab(lab.folder, experiments, in_flight, "normal")
        equip(lab, sets, hosts)
        if url:
            lab.keep_data_at(url)
        start_machines(lab.folder, IDLE_MINUTES)
        try:
            yield lab
        finally:
            lab.close()
            if url:
                looking.server(url).close()
                postgres.drop_database(url)


def equip(lab: LabFolder, sets: int, hosts: int) -> None:
    """More machines of each kind, divided over hosts."""
    path = lab.folder / "labctl.toml"
    head, mark, rest = path.read_text().partition("[instruments.doser-1]")
    section, bottles, tail = rest.partition("# Bottles")
    section = mark + section
    for kind in KINDS:
        section = section.replace(f"[instruments.{kind}-1]\n", f'[instruments.{kind}-1]\nhost = "HOST"\n')
    copies = [renamed(section, n).replace("HOST", host_of(n, hosts)) for n in range(1, sets + 1)]
    path.write_text(head + "".join(copies) + bottles + tail)


def renamed(section: str, number: int) -> str:
    """The tables of the first set, for another."""
    return section.replace("-1]", f"-{number}]").replace("-1.calibration]", f"-{number}.calibration]")


def host_of(number: int, hosts: int) -> str:
    """The host that drives a set of machines."""
    at = (number - 1) % hosts
    return f"host-{at}" if at else "main"


def launch(lab: LabFolder, campaigns: int) -> list[str]:
    """So many campaigns of the lab's file, for the worker that is there."""
    opened = wiring.open_lab(lab.folder)
    ids = [campaigning.create_or_find(opened, lab.folder / lab.campaign, fresh=True) for _ in range(campaigns)]
    opened.store.close()
    return ids


def begin(lab: LabFolder, host: str = "main") -> Process:
    """A worker of that host that is ready to work."""
    process = lab.start("worker", "run", "--host", host)
    until(process, lambda: bool(ask(lab, "SELECT 1 AS one FROM worker WHERE host = ? AND pid = ?", host, process.pid)))
    return process


def end(process: Process) -> None:
    """Stop a worker as people do."""
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)


def until(process: Process, found: Callable[[], bool], pause_s: float = 0.1) -> None:
    """Look until it is so; the process must live meanwhile."""
    while not found():
        assert process.poll() is None, f"the worker ended with status {process.returncode}"
        time.sleep(pause_s)


def ask(lab: LabFolder, query: str, *values: object) -> list[dict[str, Any]]:
    """Rows of the lab's database."""
    return looking.ask(wiring.open_lab(lab.folder).glance_path, query, *values)


def number(lab: LabFolder, table: str, where: str, *values: object) -> int:
    """How many rows there are of which that is true."""
    return int(ask(lab, f"SELECT count(*) AS n FROM {table} WHERE {where}", *values)[0]["n"])


def all_ended(lab: LabFolder) -> bool:
    """Whether no campaign is running."""
    return number(lab, "campaign", "state = 'running'") == 0


def cpu_s(pid: int, *, with_ended: bool = False) -> float:
    """CPU seconds, user's and system's, that a process has used, or also the children that it has outlived."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(n) for n in fields[11 : 15 if with_ended else 13]) / TICKS


def server_cpu_s(server: Server) -> float:
    """CPU seconds of a PostgreSQL server and all its processes; none for a file."""
    if server is None:
        return 0.0
    first = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    return cpu_s(first, with_ended=True) + sum(cpu_s(int(pid)) for pid in children)
