"""Where concrete things are named: which store, engine, clock and instruments a lab has. Its optimizers: `labctl.optimizers`."""

from __future__ import annotations

import difflib
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labctl import finding
from labctl.errors import DamagedJournalError, NotSimulatedError
from labctl.labfile import HUMAN, MAIN, InstrumentSection, LabFile
from materials_db.looking import is_damage

if TYPE_CHECKING:
    from datetime import datetime

    from campaigns.bench import Bench
    from campaigns.engines.durable import DurableEngine
    from instruments.clock import Clock
    from instruments.contract import Capability, InstrumentConfig
    from instruments.host import Host
    from instruments.journal import Journal
    from materials_db.agreement import Agreement
    from materials_db.sql.store import SqlStore

ACTOR = "labctl"  #: who the audit log names for what no person did


@dataclass(frozen=True)
class Lab:
    """A lab's folder with its file, and how to reach what is in it. Nothing is opened until asked for."""

    folder: Path
    file: LabFile

    @property
    def state(self) -> Path:
        """Where the lab keeps what it knows: database, raw files, journals, logs."""
        return self.folder / ".labctl"

    @property
    def glance_path(self) -> Path | str:
        """The SQLite file or PostgreSQL's address, for the quick read-only views."""
        return finding.place_of(self.url)

    @cached_property
    def url(self) -> str:
        """The database, with a relative SQLite path resolved against the lab's folder."""
        return finding.resolved(self.file.lab.database, self.folder)

    @property
    def on_server(self) -> bool:
        """Whether the database is a server that several machines may reach."""
        return not self.url.startswith("sqlite:")

    @property
    def full_sync(self) -> bool:
        """Whether every commit waits for the disk: always where matter is at stake, unless the file says otherwise."""
        sync = self.file.engine.sync or ("normal" if self.file.lab.simulated else "full")
        return sync == "full"

    @cached_property
    def store(self) -> SqlStore:
        """The materials database, created or migrated if need be."""
        from materials_db.sql.store import SqlStore

        self.state.mkdir(exist_ok=True)
        return SqlStore.open(self.url, self.state / "raw", full_sync=self.full_sync)

    @cached_property
    def reader(self) -> SqlStore:
        """The materials database as it stands, for those who only look."""
        from materials_db.sql.store import SqlStore

        return SqlStore.reader(self.url, self.state / "raw")

    def named(self, name: str) -> InstrumentSection:
        """What the lab file says of an instrument. Raises NotFoundError, with the nearest name."""
        from materials_db.errors import NotFoundError

        if name not in self.file.instruments:
            near = difflib.get_close_matches(name, self.file.instruments, n=1)
            said = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.file.instruments)}"
            raise NotFoundError(f"this lab has no instrument {name!r}; {said}", "instrument")
        return self.file.instruments[name]

    def instrument_configs(self) -> dict[str, InstrumentConfig]:
        """The instruments as their drivers want to hear of them; simulated ones get the simulator's addresses."""
        there = self.simulator().addresses if self.file.lab.simulated else {}
        return {name: self._config(name, there) for name in self.file.instruments}

    def _config(self, name: str, simulated: dict[str, str]) -> InstrumentConfig:
        from instruments.contract import InstrumentConfig

        section = self.file.instruments[name]
        if self.file.lab.simulated and name not in simulated and section.driver != HUMAN:
            raise NotSimulatedError(name)
        address = simulated.get(name) or section.address or ""
        return InstrumentConfig(
            instrument_id=name,
            driver=section.driver,
            address=address,
            limits=dict(section.limits),
            options={"timeout_s": section.timeout, "person": section.person},
            simulated=self.file.lab.simulated,
        )

    def capabilities(self) -> dict[str, list[Capability]]:
        """What each instrument can do, from its driver and the lab file; no wire is touched."""
        from instruments import registry

        return {
            name: registry.capabilities(section.driver, dict(section.limits))
            for name, section in self.file.instruments.items()
        }

    def simulator(self) -> Any:
        """The simulated lab's process, started if it is not running, or as labctl.toml was before and nobody works."""
        from instruments.sim.control import ensure_running, running

        folder, simulation = self.state / "simulator", self.file.simulation
        options: dict[str, Any] = {
            "devices": {n: section.driver for n, section in self.file.instruments.items() if section.driver != HUMAN},
            "speed": simulation.speed,
            "seed": simulation.seed,
            "simulator": self.file.lab.simulator or "electrolyte",
            "faults": simulation.faults,
            "idle_minutes": simulation.idle_s / 60,
        }
        if (found := running(folder)) is not None:
            if found.options in ({}, options) or self._worked():
                return found
            self.simulator_control().stop()  # its machines keep their memory
        return ensure_running(folder, **options)

    def _worked(self) -> bool:
        """Whether some worker may have the machines in its hands."""
        from labctl.locks import is_worked
        from materials_db.errors import UnreachableError

        try:
            return any(is_worked(self, host) for host in {MAIN, *self.file.hosts})
        except UnreachableError:
            return True

    def keep_machines(self) -> None:
        """Bring simulated machines back whose process died. Real ones are for people to switch on."""
        if self.file.lab.simulated:
            self.simulator()

    def simulator_control(self) -> Any:
        """The simulator's control port: clock, faults, counts of physical acts."""
        from instruments.sim.control import SimulatorControl

        return SimulatorControl(self.state / "simulator")

    def clock(self) -> Clock:
        """Lab time: the simulator's where there is one, else the wall's."""
        from instruments.clock import ScaledClock, WallClock

        if not self.file.lab.simulated:
            return WallClock()
        self.simulator()
        now, speed = self.simulator_control().clock()
        return ScaledClock(now, speed)

    @property
    def speed(self) -> float:
        """Lab seconds per wall second."""
        return self.file.simulation.speed if self.file.lab.simulated else 1.0

    @property
    def poll_s(self) -> tuple[float, float]:
        """Shortest and longest pause between two looks at a running job, lab seconds."""
        return 0.01 * self.speed, 30.0 * self.speed

    def journal(self, instrument: str) -> Path:
        """The file of an instrument's journal, in a folder that is there."""
        folder = self.state / "journal"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{instrument}.sqlite"

    def hosts(self, clock: Clock, host: str = MAIN) -> dict[str, Host]:
        """What drives each instrument of that host, with its durable journal."""
        from campaigns.bench import in_thread
        from campaigns.tasks import StoreBoard
        from instruments import registry
        from instruments.host import Host

        board = StoreBoard(lambda: self.store, in_thread)
        return {
            name: Host(
                name,
                registry.build(config, clock, board if config.driver == HUMAN else None),
                opened(self.journal(name)),
                clock,
                limits=config.limits,
                simulated=config.simulated,
                poll_s=self.poll_s,
            )
            for name, config in self.instrument_configs().items()
            if self.file.instruments[name].host == host
        }


def opened(path: Path) -> Journal:
    """The journal in that file. Raises DamagedJournalError."""
    from instruments.journal import Journal

    try:
        return Journal(path)
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise DamagedJournalError(path, error) from error
        raise


def open_lab(folder: Path) -> Lab:
    """The lab in that folder. Raises FileFaults when its file has faults."""
    return Lab(folder.resolve(), LabFile.load(folder / "labctl.toml"))


def engine(lab: Lab, bench: Bench, host: str = MAIN) -> DurableEngine:
    """The durable engine on the lab's own database, as the worker of that host."""
    from campaigns.engines.durable import DurableEngine
    from campaigns.loop import workflows
    from materials_db.sql.store import SqlStore, sqlite_pragmas

    sqlite_pragmas(full_sync=lab.full_sync)
    raw = lab.state / "raw"
    return DurableEngine(
        workflows(bench),
        lab.url,
        bind=lambda session: SqlStore.over(session, raw),
        executor_id="labctl" if host == MAIN else f"labctl.{host}",
        host=host if lab.on_server else "",
        alone=len(lab.file.hosts) == 1,
    )


def move(lab: Lab, url: str) -> dict[str, int]:
    """Copy the lab's data into an empty database; the number of rows by table."""
    from materials_db.raw import RawFolder
    from materials_db.sql.move import move as copy_all

    return copy_all(lab.url, RawFolder(lab.state / "raw"), url)


def broken_links(lab: Lab) -> list[str]:
    """Rows that point at nothing, in words."""
    from materials_db.sql.move import broken_links as look

    with lab.store.transaction() as tx:
        return list(look(tx.connection))


def agreement(lab: Lab) -> Agreement:
    """Whether every row is what the log says."""
    from materials_db.sql.agreement import agreement as look
    from materials_db.sql.store import SqlStore

    with closing(SqlStore.reader(lab.url, lab.state / "raw")) as reader:
        return look(reader)


def simulator_alive(lab: Lab) -> bool:
    """Whether the lab's simulator is running."""
    return bool(simulated_addresses(lab.folder))


def simulated_addresses(folder: Path) -> dict[str, str]:
    """Where the simulated machines of the lab in that folder are reached; empty when they are not there."""
    from instruments.sim.control import running

    found = running(folder / ".labctl" / "simulator")
    return found.addresses if found else {}


def simulated_now(folder: Path) -> datetime:
    """Lab time of the simulated machines. Raises LinkLost when they are not there."""
    from instruments.sim.control import SimulatorControl

    return SimulatorControl(folder / ".labctl" / "simulator").clock()[0]


def versions() -> dict[str, str]:
    """Labctl and the libraries that decide what is proposed and what is recorded."""
    import platform
    from importlib.metadata import version

    names = ("labctl", "bayesian-optimization", "scikit-learn", "numpy", "scipy", "pymatgen", "dbos", "sqlmodel")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def actor() -> str:
    """Who is at the terminal, for the audit log."""
    import getpass

    return os.environ.get("LABCTL_USER") or getpass.getuser()
