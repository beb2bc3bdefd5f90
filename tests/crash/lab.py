"""A small fast lab for cases that kill: its workers are started from a warm process, so that a case takes seconds."""

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
from labctl import campaigning, wiring
from labctl.initialise import initialise
from labctl.locks import ServerLock
from tests import postgres
from tests.acceptance.lab import LABCTL, LabFolder
from tests.crash.cable import Cable
from tests.crash.people import set_right

MAIN, FAR = "main", "far"  #: hosts
#: Instruments of host far, where the lab is one site; of two equivalent furnaces one.
FAR_CABLES = ("thermostat-1", "analyser-1", "furnace-2", "hardness-1")
FAR_SITE = """
[instruments.doser-2]
host = "far"
site = "far"
driver = "gravimetric-doser"

[instruments.thermostat-2]
host = "far"
site = "far"
driver = "thermostat"
limits = { temperature_c = [-20, 80] }

[instruments.analyser-2]
host = "far"
site = "far"
driver = "impedance-analyser"

[instruments.analyser-2.calibration]
certificate = "SIM-2026-018 (simulated)"
quantity = "ionic_conductivity"
valid_from = 2026-01-01
valid_to = 2099-12-31
u_relative = 0.004
"""
UNFINISHED = {"created", "running", "paused"}
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
    kind: str = "electrolyte"  #: of lab
    far: str = ""  #: what a second host drives: "cables" of the same site, or a "site" of its own
    others: int = 0  #: experiments of a second campaign, which people may end; none where 0


@dataclass
class CrashLab:
    """A lab whose workers, machines, disk and database server may fail."""

    folder: Path
    setting: Setting
    server: postgres.Cluster | None = None
    url: str = ""  #: of its database, if that is on a server
    cable: Cable | None = None  #: between the far host and the server
    workers: dict[str, BaseProcess] = field(default_factory=dict)  #: the newest of each host
    exits: list[int | None] = field(default_factory=list)

    @classmethod
    def make(cls, folder: Path, setting: Setting, server: postgres.Cluster | None = None) -> CrashLab:
        """The lab's files, and its machines waiting."""
        initialise(folder, setting.kind)
        made = cls(folder, setting, server)
        write_files(made.files, setting)
        if server is not None:
            made.url = postgres.fresh_database(server.url)
            made.files.keep_data_at(made.url)
        made.start_machines()
        if setting.rates:
            made.simulator.faults(rates=dict(setting.rates))
        if setting.far:
            made.lay_cable()
        if setting.others:
            made.launch_both()
        return made

    @property
    def files(self) -> LabFolder:
        """The lab's files."""
        return LabFolder(self.folder, self.setting.kind)

    @property
    def hosts(self) -> tuple[str, ...]:
        """All that drive instruments."""
        return (FAR, MAIN) if self.setting.far else (MAIN,)

    @property
    def far_folder(self) -> Path:
        """The lab's folder on the machine of the far host."""
        return self.folder / FAR

    def lay_cable(self) -> None:
        """The far host has its own journal, the same raw files, and reaches the database over a cable of its own."""
        assert self.server is not None
        self.cable = Cable(self.server.port)
        state = self.far_folder / ".labctl"
        state.mkdir(parents=True)
        for name in ("raw", "simulator"):
            (self.folder / ".labctl" / name).mkdir(exist_ok=True)
            (state / name).symlink_to(self.folder / ".labctl" / name)
        text = (self.folder / "labctl.toml").read_text()
        (self.far_folder / "labctl.toml").write_text(text.replace(f":{self.server.port}/", f":{self.cable.port}/"))

    def launch_both(self) -> None:
        """Two campaigns on record, C-0001 and C-0002; the second from a file that asks for as many as the setting says."""
        second = self.files.campaign.replace(".toml", "-2.toml")
        (self.folder / second).write_text((self.folder / self.files.campaign).read_text())
        self.files.edit(second, {"experiments": str(self.setting.others), "seed": "2"})
        lab = wiring.open_lab(self.folder)
        try:
            for name in (self.files.campaign, second):
                campaigning.create_or_find(lab, self.folder / name)
        finally:
            lab.store.close()

    @property
    def wanted(self) -> dict[str, int]:
        """How many experiments each campaign is to make."""
        second = {"C-0002": self.setting.others} if self.setting.others else {}
        return {"C-0001": self.setting.experiments, **second}

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

    # -- workers --------------------------------------------------------------------------

    def start(self, order: str = "", host: str = MAIN) -> BaseProcess:
        """A worker that goes on with the campaign, to be killed as `order` says (`instruments.crashpoint`)."""
        folder = self.folder if host == MAIN else self.far_folder
        process = warm().Process(target=work, args=(str(folder), self.words(host), order, self.setting.epoch))
        process.start()
        self.workers[host] = process
        return process

    def attend(self) -> BaseProcess:
        """See that every host has a worker; the one that ends with the campaign."""
        for host in self.hosts:
            if host not in self.workers or self.workers[host].exitcode is not None:
                self.start(host=host)
        return self.workers[MAIN]

    def type(self, *words: str) -> BaseProcess:
        """Somebody at another terminal."""
        process = warm().Process(
            target=work, args=(str(self.folder), [*words, "--lab", str(self.folder)], "", 100, "people.out")
        )
        process.start()
        return process

    def kill(self, *hosts: str) -> None:
        """SIGKILL to the workers of these hosts, of all where none is named."""
        for host in hosts or self.hosts:
            if host in self.workers:
                end(self.workers[host])

    def in_control(self) -> str:
        """The host whose worker is in control."""
        holder = self.holder()
        return next((host for host, process in self.workers.items() if f" pid {process.pid} " in holder), MAIN)

    def holder(self) -> str:
        """Who has control, as it calls itself; empty when nobody has."""
        return ServerLock(self.url, "labctl control").holder()

    def words(self, host: str) -> list[str]:
        """The command line of a worker."""
        if host == FAR:
            return ["worker", "run", "--host", FAR, "--lab", str(self.far_folder)]
        if self.setting.far and self.state() != "none":  # it may end any moment, by the far host: begin no other
            return ["campaign", "resume", "C-0001", "--lab", str(self.folder), "--quiet"]
        if self.setting.others and self.state() not in UNFINISHED:
            return ["campaign", "resume", "C-0002", "--lab", str(self.folder), "--quiet"]
        return ["campaign", "run", str(self.folder / self.files.campaign), "--lab", str(self.folder), "--quiet"]

    def command(self, *prefix: str) -> subprocess.Popen[bytes]:
        """The same as a command of its own, behind another (strace)."""
        with (self.folder / "worker.out").open("ab") as out:
            return subprocess.Popen(
                [*prefix, *LABCTL, *self.words(MAIN)], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                start_new_session=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )  # fmt: skip

    def finish(self) -> str:
        """Let undisturbed workers bring the campaign to its end; what is wrong, or nothing."""
        for _ in range(4):
            set_right(self)
            if self.over():
                break
            process = self.attend()
            process.join(FINISH_S)
            if process.exitcode is None:
                self.kill()
                return f"the campaigns did not end within {FINISH_S:g} s: {self.said()[-300:]}"
            self.exits.append(process.exitcode)
        self.kill()
        said = f"after workers that ended with {self.exits}: {self.said()[-300:]}"
        return "" if self.over() else f"campaigns are {self.campaigns()} {said}"

    def over(self) -> bool:
        """Whether all campaigns have ended; once more, and the same command would begin another."""
        known = set(self.campaigns().values())
        return bool(known) and not known & UNFINISHED

    def state(self) -> str:
        """The first campaign's state; "none" when there is none."""
        return self.campaigns().get("C-0001", "none")

    def campaigns(self) -> dict[str, str]:
        """State of each campaign by its id."""
        from materials_db import records as db

        lab = wiring.open_lab(self.folder)
        try:
            with lab.store.transaction() as tx:
                return {c.id: c.state for c in tx.find(db.Campaign)}
        finally:
            lab.store.close()

    def said(self) -> str:
        """What its workers wrote on the terminal."""
        paths = [folder / "worker.out" for folder in (self.folder, self.far_folder)]
        return "".join(path.read_text(errors="replace") for path in paths if path.exists())

    def broke_down(self) -> list[str]:
        """Last lines of tracebacks that people saw at their terminals."""
        path = self.folder / "people.out"
        parts = path.read_text(errors="replace").split("Traceback (most recent call last)") if path.exists() else []
        return [part.strip()[-400:] for part in parts[1:]]

    def close(self) -> None:
        """End workers, machines and cable; the database is dropped."""
        self.kill()
        self.simulator.stop()
        if self.cable is not None:
            self.cable.close()
        if self.url:
            postgres.drop_database(self.url)


def write_files(files: LabFolder, setting: Setting) -> None:
    """The template's files with what this setting changes."""
    lab, campaign = files.folder / "labctl.toml", files.folder / files.campaign
    text = lab.read_text().replace("# [engine]", "[engine]").replace('# sync = "full"', f'sync = "{setting.sync}"')
    lab.write_text(
        on_two_hosts(text, setting.far).replace('\ndriver = "', f'\ntimeout = "{setting.timeout}"\ndriver = "')
    )
    files.edit("labctl.toml", {"speed": f"{setting.speed:g}", "faults": f'"{setting.faults}"'})
    files.edit(files.campaign, {"experiments": str(setting.experiments), "in_flight": str(setting.in_flight)})
    campaign.write_text(campaign.read_text().replace('name = "bayesian"', f'name = "{setting.optimizer}"'))


def on_two_hosts(text: str, far: str) -> str:
    """The lab file with what a second host drives."""
    if far == "site":
        return text.replace("# Bottles on the shelf.", f"{FAR_SITE}\n# Bottles on the shelf.")
    for name in FAR_CABLES if far else ():
        text = text.replace(f"[instruments.{name}]\n", f'[instruments.{name}]\nhost = "{FAR}"\n')
    return text


# -- the warm process ---------------------------------------------------------------------

#: Imported once: all that a worker needs.
NEEDED = [
    "alembic.command", "bayes_opt", "campaigns.bench", "campaigns.engines.durable", "campaigns.loop", "campaigns.optimizers.bayesian",
    "campaigns.optimizers.random_search", "dbos", "instruments.registry", "labctl.app", "labctl.campaigning", "labctl.commands.campaign",
    "labctl.commands.worker", "labctl.live", "labctl.session", "labctl.worker", "materials_db.sql.store", "psycopg", "pymodbus.client",
    "scipy.optimize", "scipy.stats.qmc", "sklearn.gaussian_process", "tests.crash.shared",
]  # fmt: skip


@cache
def warm() -> ForkServerContext:
    """A process that has imported all, from which workers are forked."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(NEEDED)
    return context


def work(folder: str, words: list[str], order: str, epoch: int, said: str = "worker.out") -> None:
    """A command of labctl in this process."""
    from campaigns import loop
    from labctl.app import main

    os.setsid()
    with (Path(folder) / said).open("ab") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    os.environ[VARIABLE] = order
    loop.EPOCH = epoch
    sys.argv = ["labctl", *words]
    sys.exit(main())


def end(process: BaseProcess) -> None:
    """SIGKILL."""
    process.kill()
    process.join()
