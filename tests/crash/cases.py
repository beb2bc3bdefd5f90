"""What may happen to a lab, and cases drawn from a seed."""

from __future__ import annotations

import itertools
import multiprocessing.connection
import os
import random
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Protocol

from tests import postgres
from tests.crash.checker import Evidence, course, gather, violations
from tests.crash.lab import FAR, FINISH_S, MAIN, CrashLab, Setting, end
from tests.crash.people import Typed, some_words
from tests.crash.points import crashpoints

#: Points that are reached only after a crash at another one.
FIRST = {"run adopted": "start confirmed", "never began written": "intent written"}
#: Points that need more than that; `test_crash` brings each about, `test_alloy_host` those of an abort, `test_host` that
#: of a result that cannot be read.
SPECIAL = {
    "doubt written", "unreadable result written", "refusal written", "failure written", "invalid result written", "experiment adopted",
    "segment recorded", "segment begun", "partial data fetched", "abort written", "forgotten run written",
}  # fmt: skip


#: Points that the host of an instrument passes, whoever is in control.
FAR_POINTS = (
    "floor registered", "intent written", "start sent", "start confirmed", "run recorded", "result fetched", "result written",
    "result in hand", "raw file put", "rows about to commit", "rows committed",
)  # fmt: skip
#: Points that are passed only where samples share trays.
ON_TRAYS = {"tray leased", "tray member committed"}

#: Whom people hold, drain and release.
INSTRUMENTS = {
    "electrolyte": ("doser-1", "thermostat-1", "analyser-1"),
    "alloy": ("balance-doser", "melter-1", "furnace-1", "furnace-2", "hardness-1", "potentiostat-1"),
}

#: Wall seconds with a disk that may fail again and again, as every thread counts anew; then the worker is killed.
BAD_DISK_S = 20.0


class Blow(Protocol):
    """Something that happens to a lab at work."""

    def strike(self, lab: CrashLab) -> bool:
        """Let it happen; whether it did before the campaign's end."""


@dataclass(frozen=True)
class At:
    """The worker dies when it passes a point for the Nth time."""

    point: str
    passage: int = 1

    def strike(self, lab: CrashLab) -> bool:
        process = lab.start(f"{self.point}:{self.passage}")
        process.join(FINISH_S)
        end(process)
        return process.exitcode == -signal.SIGKILL


@dataclass(frozen=True)
class Moment:
    """The worker dies, and with it the machines if they are meant too; or the machines alone."""

    seconds: float
    worker: bool = True
    machines: bool = False

    def strike(self, lab: CrashLab) -> bool:
        process = lab.start()
        process.join(self.seconds)
        struck = process.exitcode is None
        if self.machines:
            lab.kill_machines()
        process.join(0 if self.worker else FINISH_S)
        end(process)
        return struck


@dataclass(frozen=True)
class Disk:
    """The Nth system call of one kind, in any thread, fails or kills (strace counts by thread)."""

    call: str
    effect: str
    nth: int

    def strike(self, lab: CrashLab) -> bool:
        log = lab.folder / "strace.log"
        quick = [] if "signal" in self.effect else ["--seccomp-bpf"]  # which swallows signals
        trace = ["strace", "-f", *quick, "-qq", "-o", str(log), "-e", f"trace={self.call}"]
        process = lab.command(*trace, "-e", f"inject={self.call}:{self.effect}:when={self.nth}")
        try:
            lab.exits.append(process.wait(BAD_DISK_S))
        except subprocess.TimeoutExpired:
            kill_group(process)
        return bool(re.search(r"INJECTED|killed by SIGKILL", log.read_text(errors="replace")))


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a command and what it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@dataclass(frozen=True)
class Server:
    """The database server dies again and again while the workers live, and comes back."""

    seconds: float
    times: int

    def strike(self, lab: CrashLab) -> bool:
        worker, struck = lab.attend(), False
        assert lab.server is not None
        for _ in range(self.times):
            worker.join(self.seconds)
            struck = struck or worker.exitcode is None
            lab.server.crash()
            lab.server.start()
        worker.join(FINISH_S)
        lab.kill()
        return struck


@dataclass(frozen=True)
class Hosts:
    """Workers of some hosts die while the others live; "control" is whichever is in control."""

    seconds: float
    hosts: tuple[str, ...]

    def strike(self, lab: CrashLab) -> bool:
        worker = lab.attend()
        worker.join(self.seconds)
        struck = worker.exitcode is None
        lab.kill(*(lab.in_control() if host == "control" else host for host in self.hosts))
        return struck


@dataclass(frozen=True)
class HostAt:
    """The worker of the far host dies when it passes a point for the Nth time."""

    point: str
    passage: int = 1

    def strike(self, lab: CrashLab) -> bool:
        lab.kill(FAR)
        far, worker = lab.start(f"{self.point}:{self.passage}", FAR), lab.attend()
        ends = [far.sentinel, worker.sentinel]
        multiprocessing.connection.wait(ends, FINISH_S)
        return far.exitcode == -signal.SIGKILL


@dataclass(frozen=True)
class Partition:
    """The far host is cut off from the database for a while, with an error or without a word."""

    seconds: float
    lasts_s: float
    silent: bool = False

    def strike(self, lab: CrashLab) -> bool:
        worker = lab.attend()
        assert lab.cable is not None
        worker.join(self.seconds)
        struck = worker.exitcode is None
        lab.cable.silence() if self.silent else lab.cable.cut()
        worker.join(self.lasts_s)
        lab.cable.mend()
        return struck


@dataclass(frozen=True)
class Case:
    """A lab and what happens to it, one blow after the other."""

    setting: Setting
    blows: tuple[Blow, ...]
    seed: int = 0


@dataclass
class Outcome:
    """What became of a case."""

    case: Case
    broken: list[str] = field(default_factory=list)
    struck: int = 0
    doubts: int = 0


def run(case: Case, folder: Path, server: postgres.Cluster | None = None) -> Outcome:
    """Let it happen, let the campaign end, look at what is left."""
    lab, outcome = CrashLab.make(folder, case.setting, server), Outcome(case)
    try:
        for blow in case.blows:
            lab.start_machines()
            outcome.struck += not lab.over() and blow.strike(lab)
        lab.start_machines()
        if trouble := lab.finish():
            outcome.broken.append(f"[2] {trouble}")
        found = gather(lab)
        outcome.broken += violations(found, lab)
        outcome.broken += [f"[said] {line}" for line in lab.broke_down()]
        outcome.doubts = found.doubts
        outcome.broken += another_course(found, case.setting)
    finally:
        lab.close()
    return outcome


SMALL = Setting(experiments=2, in_flight=1)
KILL = "signal=SIGKILL"
#: System calls by which data reach a disk, and what is done to each.
SWEPT = [
    (call, effect)
    for call, errors in {
        "fsync": ("EIO",),
        "fdatasync": ("EIO",),
        "pwrite64": ("EIO", "ENOSPC"),
        "write": ("EIO", "ENOSPC"),
    }.items()
    for effect in (KILL, *(f"error={error}" for error in errors))
]


def every_nth(call: str, effect: str, step: int) -> Iterator[Case]:
    """A small campaign again and again, each time struck at a later one of these calls; without end."""
    return (Case(SMALL, (Disk(call, effect, nth),)) for nth in itertools.count(1, step))


def every_point() -> Iterator[Case]:
    """A small campaign for each crash point that one passes, killed there."""
    for point in plain_points(SMALL.kind):
        yield Case(SMALL, (At(point),))
    for point, before in FIRST.items():
        yield Case(SMALL, (At(before), At(point)))


def another_course(found: Evidence, setting: Setting) -> list[str]:
    """10: with one experiment at a time, all is as in a campaign that nobody disturbed."""
    comparable = (
        setting.in_flight == 1 and setting.faults == "none" and not (setting.rates or setting.far or setting.others)
    )
    if not comparable or any(job.attempt > 1 or job.state != "done" for job in found.jobs.values()):
        return []
    if course(found) == undisturbed(setting.optimizer, setting.experiments):
        return []
    return ["[10] what was proposed and measured differs from an undisturbed campaign of the same seed"]


@cache
def undisturbed(optimizer: str, experiments: int) -> str:
    """The course of a campaign to which nothing happened."""
    with tempfile.TemporaryDirectory() as name:
        lab = CrashLab.make(Path(name) / "lab", Setting(experiments=experiments, in_flight=1, optimizer=optimizer))
        try:
            assert lab.finish() == ""
            return course(gather(lab))
        finally:
            lab.close()


# -- drawn from a seed --------------------------------------------------------------------


@dataclass(frozen=True)
class Means:
    """What cases may be drawn from: whether a disk can be made to fail, a server to die, and which lab it shall be."""

    disk: bool = False
    server: bool = False
    kind: str = ""  #: of lab; any where empty


def plain_points(kind: str = "electrolyte") -> list[str]:
    """Points that a plain campaign passes."""
    return sorted(set(crashpoints()) - set(FIRST) - SPECIAL - (ON_TRAYS if kind == "electrolyte" else set()))


def draw(seed: int, means: Means) -> Case:
    """The case of that seed."""
    rng = random.Random(seed)
    setting = a_setting(rng, means)
    if setting.far:
        kinds = [(3, some_hosts), (2, far_points), (3, partitions), (1, server_dies)]
    else:
        kinds = [(30, a_point), (20, two_points), (20, a_moment), (12, machines), (6, everything)]
        kinds += [(12, a_disk)] if means.disk else []
        kinds += [(15, server_dies)] if means.server else []
        kinds += [(40, people)] if setting.others else []
    (kind,) = rng.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])
    blows = tuple(kind(rng, setting))
    if any(isinstance(blow, Disk) for blow in blows):  # runs the command itself, which knows of no other epoch
        setting = replace(setting, epoch=Setting.epoch)
    return Case(setting, blows, seed)


def a_setting(rng: random.Random, means: Means) -> Setting:
    """A small campaign in a good, a usual or a bad lab."""
    kind = means.kind or rng.choices(("electrolyte", "alloy"), (3, 1))[0]
    common = {
        "optimizer": rng.choices(("random", "bayesian"), (4, 1))[0],
        "sync": rng.choice(("normal", "full")),
        "faults": rng.choices(("none", "demo", "chaos"), (7, 2, 1))[0],
    }
    if kind == "alloy":
        in_flight = rng.choice((2, 4, 8))
        others = rng.choice((0, 0, 4))
        size = {"experiments": rng.randint(4, 10), "in_flight": in_flight, "others": others}
        if means.server and not others and rng.random() < 0.4:
            return Setting(kind=kind, speed=2e5, far="cables", **size, **common)  # type: ignore[arg-type]
        return Setting(kind=kind, speed=4e5, **size, **common)  # type: ignore[arg-type]
    if means.server and rng.random() < 0.4:
        far = rng.choice(("cables", "site"))
        return Setting(experiments=rng.randint(6, 10), in_flight=rng.randint(2, 5), far=far, speed=4e4, **common)  # type: ignore[arg-type]
    in_flight, epoch, others = rng.choice((1, 1, 2, 3)), rng.choice((2, 100)), rng.choice((0, 0, 0, 3, 5))
    return Setting(experiments=rng.randint(3, 6), in_flight=in_flight, epoch=epoch, others=others, **common)  # type: ignore[arg-type]


def a_point(rng: random.Random, setting: Setting) -> list[Blow]:
    """One point at its first or a later passage; those that need a crash before them get it."""
    point = rng.choice([*plain_points(setting.kind), *FIRST])
    before = [At(FIRST[point], rng.randint(1, 3))] if point in FIRST else []
    return [*before, At(point, 1 if before else rng.randint(1, 6))]


def two_points(rng: random.Random, setting: Setting) -> list[Blow]:
    """Two or three crashes in a row."""
    return [At(rng.choice(plain_points(setting.kind)), rng.randint(1, 4)) for _ in range(rng.randint(2, 3))]


def a_moment(rng: random.Random, _: Setting) -> list[Blow]:
    """Any time."""
    return [Moment(rng.uniform(0.2, 3.0)) for _ in range(rng.randint(1, 3))]


def machines(rng: random.Random, _: Setting) -> list[Blow]:
    """The machines die while the worker lives."""
    return [Moment(rng.uniform(0.4, 2.5), worker=False, machines=True)]


def everything(rng: random.Random, _: Setting) -> list[Blow]:
    """A power cut."""
    return [Moment(rng.uniform(0.4, 2.5), machines=True) for _ in range(rng.randint(1, 2))]


def server_dies(rng: random.Random, _: Setting) -> list[Blow]:
    """The database server dies, now and then with a worker."""
    dies = Server(rng.uniform(0.5, 3.0), rng.randint(1, 4))
    return [dies, Moment(rng.uniform(0.2, 2.0))] if rng.random() < 0.3 else [dies]


def some_hosts(rng: random.Random, _: Setting) -> list[Blow]:
    """Workers of a fleet."""
    which = [(FAR,), (MAIN,), ("control",), (FAR, MAIN)]
    return [Hosts(rng.uniform(0.5, 4.0), rng.choice(which)) for _ in range(rng.randint(1, 3))]


def far_points(rng: random.Random, setting: Setting) -> list[Blow]:
    """A point, on the far host."""
    return [HostAt(rng.choice(FAR_POINTS), rng.randint(1, 4)) for _ in range(rng.randint(1, 2))]


def partitions(rng: random.Random, _: Setting) -> list[Blow]:
    """The far host loses the database, and may be killed afterwards."""
    cut = Partition(rng.uniform(0.5, 4.0), rng.uniform(0.5, 8.0), silent=rng.random() < 0.5)
    return [cut, *some_hosts(rng, _)[:1]] if rng.random() < 0.5 else [cut]


def people(rng: random.Random, setting: Setting) -> list[Blow]:
    """One to four commands while two campaigns run, with or without a crash soon after."""
    return [
        Typed(
            rng.uniform(0.2, 1.5), some_words(rng, INSTRUMENTS[setting.kind]), rng.choice((None, rng.uniform(0, 1.0)))
        )
        for _ in range(rng.randint(1, 4))
    ]


def a_disk(rng: random.Random, _: Setting) -> list[Blow]:
    """A write or a flush kills or fails."""
    call = rng.choice(("fdatasync", "fsync", "pwrite64", "write", "rename", "openat"))
    errors = {"fdatasync": ("EIO",), "fsync": ("EIO",), "rename": ("EIO", "ENOSPC"), "openat": ("EMFILE", "ENOSPC")}
    error = rng.choice(errors.get(call, ("EIO", "ENOSPC")))
    effect = rng.choice((KILL, f"error={error}"))
    return [Disk(call, effect, round(10 ** rng.uniform(0, 2.3)))]
