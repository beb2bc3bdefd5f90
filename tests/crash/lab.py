"""A small fast lab for cases that kill: its worker is started from a warm process, so that a case takes seconds."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from instruments.crashpoint import VARIABLE
from instruments.sim.control import SimulatorControl, running
from labctl import wiring
from labctl.initialise import initialise
from tests.acceptance.lab import LABCTL, LabFolder

CAMPAIGN = "campaigns/conductivity.toml"
SQLITE = "sqlite:///.labctl/lab.sqlite"
FINISH_S = 90.0  #: wall seconds in which a worker that nobody disturbs must bring the campaign to its end


@dataclass(frozen=True)
class Setting:
    """What the campaign and the lab are like."""

    experiments: int = 5
    in_flight: int = 2
    optimizer: str = "random"
    sync: str = "normal"
    faults: str = "none"
    speed: float = 1e5  #: lab seconds per wall second: a dose takes some 4 ms
    epoch: int = 100  #: experiments planned by one workflow
    rates: tuple[tuple[str, float], ...] = ()  #: of single faults, while the machines' process lives
    timeout: str = "0.25 s"  #: how long a machine may take to answer


@dataclass
class CrashLab:
    """A lab whose worker, machines and disk may fail."""

    folder: Path
    setting: Setting
    exits: list[int | None] = field(default_factory=list)

    @classmethod
    def make(cls, folder: Path, setting: Setting, database: str = SQLITE) -> CrashLab:
        """The lab's files, and its machines waiting."""
        initialise(folder)
        write_files(folder, setting)
        lab_on(database, folder)
        made = cls(folder, setting)
        made.start_machines()
        if setting.rates:
            made.simulator.faults(rates=dict(setting.rates))
        return made

    # -- machines -------------------------------------------------------------------------

    @property
    def simulator(self) -> SimulatorControl:
        """The machines' control port."""
        return SimulatorControl(self.folder / ".labctl" / "simulator")

    def start_machines(self) -> None:
        """See that the machines' process runs."""
        wiring.open_lab(self.folder).simulator()

    def kill_machines(self) -> None:
        """SIGKILL to the machines' process, which this lab started."""
        if (found := running(self.folder / ".labctl" / "simulator")) is not None:
            os.kill(found.pid, signal.SIGKILL)

    def stop_machines(self) -> None:
        """SIGKILL, and wait until they have let go of their files."""
        self.kill_machines()
        self.simulator.wait_until_gone()

    def forget(self) -> None:
        """The machines lose their memory, as after a repair, and start again."""
        self.stop_machines()
        for path in (self.folder / ".labctl" / "simulator").glob("machines.sqlite*"):
            path.unlink()
        self.start_machines()

    # -- worker ---------------------------------------------------------------------------

    def start(self, order: str = "") -> BaseProcess:
        """A worker that goes on with the campaign, to be killed as `order` says (`instruments.crashpoint`)."""
        process = warm().Process(target=work, args=(str(self.folder), order, self.setting.epoch))
        process.start()
        return process

    def command(self, *prefix: str) -> subprocess.Popen[bytes]:
        """The same as a command of its own, behind another (strace)."""
        with (self.folder / "worker.out").open("ab") as out:
            return subprocess.Popen(
                [*prefix, *LABCTL, *words(self.folder)], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                start_new_session=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )  # fmt: skip

    def finish(self) -> str:
        """Let an undisturbed worker bring the campaign to its end; what is wrong, or nothing."""
        for _ in range(4):
            if self.over():
                return ""
            process = self.start()
            process.join(FINISH_S)
            if process.exitcode is None:
                end(process)
                return f"the campaign did not end within {FINISH_S:g} s"
            self.exits.append(process.exitcode)
        return (
            ""
            if self.over()
            else f"the campaign is {self.state()} after workers that ended with {self.exits}: {self.said()[-300:]}"
        )

    def over(self) -> bool:
        """Whether the campaign has ended; once more, and the same command would begin another."""
        return self.state() not in ("none", "created", "running", "paused")

    def state(self) -> str:
        """The campaign's state; "none" when there is none."""
        from materials_db import records as db

        lab = wiring.open_lab(self.folder)
        try:
            with lab.store.transaction() as tx:
                return next((c.state for c in tx.find(db.Campaign)), "none")
        finally:
            lab.store.close()

    def said(self) -> str:
        """What its workers wrote on the terminal."""
        path = self.folder / "worker.out"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self) -> None:
        """End the machines."""
        self.simulator.stop()


def lab_on(database: str, folder: Path) -> None:
    """Write the database into the lab's file. The one place that knows the kinds there are."""
    if database != SQLITE:
        raise NotImplementedError(f"labs on {database.split(':')[0]} are not served yet")


def write_files(folder: Path, setting: Setting) -> None:
    """The template's files with what this setting changes."""
    lab, campaign = folder / "labctl.toml", folder / CAMPAIGN
    text = lab.read_text().replace("# [engine]", "[engine]").replace('# sync = "full"', f'sync = "{setting.sync}"')
    lab.write_text(text.replace('\ndriver = "', f'\ntimeout = "{setting.timeout}"\ndriver = "'))
    files = LabFolder(folder)
    files.edit("labctl.toml", {"speed": f"{setting.speed:g}", "faults": f'"{setting.faults}"'})
    files.edit(CAMPAIGN, {"experiments": str(setting.experiments), "in_flight": str(setting.in_flight)})
    campaign.write_text(campaign.read_text().replace('name = "bayesian"', f'name = "{setting.optimizer}"'))


# -- the warm process ---------------------------------------------------------------------

#: Imported once: all that a worker needs.
NEEDED = [
    "alembic.command", "bayes_opt", "campaigns.bench", "campaigns.engines.durable", "campaigns.loop", "campaigns.optimizers.bayesian",
    "campaigns.optimizers.random_search", "dbos", "instruments.registry", "labctl.app", "labctl.campaigning", "labctl.commands.campaign",
    "labctl.live", "labctl.worker", "materials_db.sql.store", "pint", "scipy.optimize", "scipy.stats.qmc", "sklearn.gaussian_process",
]  # fmt: skip


@cache
def warm() -> ForkServerContext:
    """A process that has imported all, from which workers are forked."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(NEEDED)
    return context


def words(folder: Path) -> list[str]:
    """The command line of a worker."""
    return ["campaign", "run", str(folder / CAMPAIGN), "--lab", str(folder), "--quiet"]


def work(folder: str, order: str, epoch: int) -> None:
    """`labctl campaign run` in this process."""
    from campaigns import loop
    from labctl.app import main

    os.setsid()
    with (Path(folder) / "worker.out").open("ab") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    os.environ[VARIABLE] = order
    loop.EPOCH = epoch
    sys.argv = ["labctl", *words(Path(folder))]
    sys.exit(main())


def end(process: BaseProcess) -> None:
    """SIGKILL."""
    process.kill()
    process.join()
