"""`labctl stop --all`: the machines stop now, whatever has become of the database or of the worker.

A file says that the lab is stopped. The worker sees it within a moment, breaks off what
runs and gives nothing out; this process talks to every machine itself as well, because
there may be no worker any more. On a server the record says so, too: for the workers of
machines that have another folder. Emergency stops and guards stay in hardware.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from labctl import finding
from labctl.stop_flag import ON_RECORD, STOPPED, flag
from materials_db.looking import ask

if TYPE_CHECKING:
    from datetime import datetime

    from instruments.contract import InstrumentConfig
    from instruments.host import Host
    from labctl.wiring import Lab

log = logging.getLogger(__name__)
LOOK_S = 0.2  #: wall seconds between looks of the worker at the file
FIRST_S = 0.02  #: while the record was not looked at yet
RECORD_S = 1.0  #: and at the record
ANSWER_S = 0.6  #: wall seconds that machines and the record have to say that it is done
TRIES = 3  #: to tell a machine that takes one client at a time
TIMES = 2  #: that a worker breaks off what runs: the first may overtake a start that is on its way to the machine


def forbid(folder: Path) -> None:
    """Stop the worker, before anything that takes time: not even the lab file is read."""
    flag(folder).parent.mkdir(exist_ok=True)
    flag(folder).touch()


def allow(folder: Path) -> bool:
    """Let the lab work again; whether it was stopped. Raises UnreachableError, and nothing has changed then."""
    freed = take_back(folder) if outline(folder).on_server else False
    stopped = flag(folder).exists()
    flag(folder).unlink(missing_ok=True)
    return stopped or freed


# -- what the command does ---------------------------------------------------------------------


@dataclass(frozen=True)
class Outline:
    """What a stop needs of the lab file, unchecked: a fault in another line must keep no machine running."""

    folder: Path
    url: str
    simulated: bool
    instruments: Mapping[str, Mapping[str, Any]]

    @property
    def on_server(self) -> bool:
        """Whether other machines may reach the database."""
        return not self.url.startswith("sqlite:")


def outline(folder: Path) -> Outline:
    """The lab in that folder. Raises FileFaults where the file is no TOML."""
    data = finding.tables(folder)
    lab = data.get("lab")
    section: Mapping[str, Any] = lab if isinstance(lab, dict) else {}
    instruments = data.get("instruments")
    named = instruments.items() if isinstance(instruments, dict) else ()
    return Outline(
        folder,
        finding.resolved(str(section.get("database", finding.DATABASE)), folder),
        section.get("simulated") is True,
        {name: given for name, given in named if isinstance(given, dict)},
    )


def tell(lab: Outline) -> tuple[dict[str, str], str]:
    """Tell every machine over a wire of our own, and the record; what became of each, and of the record, in words.

    Each in a thread of its own: none has to wait for a driver that hangs or for a database that is dead.
    """
    configs = configs_of(lab)
    if configs is None:
        machines = dict.fromkeys(lab.instruments, "the simulator is not running")
        pending: dict[str, Future[str]] = {}
    else:
        machines, pending = {}, {name: aside(stop_machine, config) for name, config in configs.items()}
    record = aside(write, lab) if lab.on_server else None
    wait([*pending.values(), *([record] if record else [])], timeout=ANSWER_S)
    machines |= {name: answer(future) for name, future in pending.items()}
    return machines, failure(record) if record else ""


def configs_of(lab: Outline) -> dict[str, InstrumentConfig] | None:
    """Every machine that has a wire; None where they are simulated and not there."""
    from instruments.contract import InstrumentConfig
    from labctl.labfile import HUMAN

    there: Mapping[str, str] = {}
    if lab.simulated:
        from labctl.wiring import simulated_addresses

        if not (there := simulated_addresses(lab.folder)):
            return None
    return {
        name: InstrumentConfig(
            instrument_id=name,
            driver=str(given.get("driver")),
            address=there.get(name) or str(given.get("address", "")),
            simulated=lab.simulated,
        )
        for name, given in lab.instruments.items()
        if given.get("driver") != HUMAN
    }


def aside(work: Callable[..., str], *args: object) -> Future[str]:
    """Begin it in a thread that cannot keep this process from ending."""
    ended: Future[str] = Future()

    def run() -> None:
        try:
            ended.set_result(work(*args))
        except Exception as error:  # noqa: BLE001 - carried to the command, which says it beside what the others did
            ended.set_exception(error)

    Thread(target=run, daemon=True).start()
    return ended


def answer(machine: Future[str]) -> str:
    """What became of a machine."""
    if not machine.done():
        return f"NO ANSWER within {ANSWER_S:g} s: use its own stop"
    if error := machine.exception():
        return f"{in_words(error)}: use its own stop"
    return machine.result()


def failure(record: Future[str]) -> str:
    """Why the stop could not be written; empty when it was."""
    if not record.done():
        return f"it did not answer within {ANSWER_S:g} s"
    error = record.exception()
    return in_words(error) if error is not None else ""


def in_words(error: BaseException) -> str:
    """An error on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def stop_machine(config: InstrumentConfig) -> str:
    """One machine, over a wire of our own; anew where its worker, which breaks off as well, has just taken that from us."""
    from instruments.errors import LinkLost

    for _ in range(TRIES - 1):
        with suppress(LinkLost):
            return asyncio.run(_stop(config))
    return asyncio.run(_stop(config))


async def _stop(config: InstrumentConfig) -> str:
    from instruments import registry
    from instruments.clock import WallClock

    driver = registry.build(config, WallClock())
    try:
        await driver.abort("")
    finally:
        await driver.close()
    return "stopped"


def write(lab: Outline) -> str:
    """The stop on record: a hold on every instrument."""
    from labctl.wiring import actor
    from materials_db.urgent import hold_all

    hold_all(lab.url, lab.instruments, reason=STOPPED, by=actor(), at=moment(lab))
    return ""


def moment(lab: Outline) -> datetime:
    """Lab time, if whoever knows it answers; else the wall's."""
    from instruments.errors import LinkLost
    from labctl import clocks
    from labctl.wiring import simulated_now

    try:
        return simulated_now(lab.folder) if lab.simulated else clocks.now()
    except LinkLost:
        return clocks.now()


def take_back(folder: Path) -> bool:
    """Release what `write` has held, and only that; whether there was any."""
    from labctl.wiring import actor, open_lab
    from materials_db import records as db

    lab = open_lab(folder)
    at, who = lab.clock().now(), actor()
    with lab.store.transaction() as tx:
        holds = tx.find(db.Hold, state="active", reason=STOPPED)
        for known in holds:
            tx.move(
                db.Hold, known.id, at=at, actor=who, was=["active"], state="released", released_by=who, released_at=at
            )
    return bool(holds)


# -- what the worker does ----------------------------------------------------------------------


async def watch(lab: Lab, hosts: Mapping[str, Host]) -> None:
    """Hold every instrument and break off what runs while the file or the record says that the lab is stopped."""
    record = Record(lab.url if lab.on_server else None)
    following = asyncio.create_task(record.follow())
    stopped, left = False, 0
    for host in hosts.values():  # between two looks, too: nothing begins once the file is there
        host.forbidden = lambda: STOPPED if says_stop(lab.folder, False) else ""
    try:
        while True:
            # Before the first look at the record nobody knows: nothing is begun, and nothing broken off.
            if (now := says_stop(lab.folder, stopped) or record.stopped) is not stopped:
                stopped, left = now, TIMES if now else 0
            hold(hosts, stopped or not record.known)
            if left:
                left -= 1
                await break_off(hosts)
            await asyncio.sleep(LOOK_S if record.known else FIRST_S)
    finally:
        following.cancel()


@dataclass
class Record:
    """What the record said at the last look; without a `url` there is none to look at."""

    url: str | None
    stopped: bool = False
    known: bool = False

    def __post_init__(self) -> None:
        self.known = self.url is None

    async def follow(self) -> None:
        """Look again and again."""
        while self.url is not None:
            self.stopped = await asyncio.to_thread(self._look, self.url)
            self.known = True
            await asyncio.sleep(RECORD_S)

    def _look(self, url: str) -> bool:
        """What it says now; while it cannot be asked, what it said last."""
        from materials_db.errors import MaterialsDBError

        try:
            return bool(ask(url, ON_RECORD, STOPPED))
        except MaterialsDBError:
            return self.stopped


def says_stop(folder: Path, before: bool) -> bool:
    """Whether the file is there; as before where the disk does not say."""
    try:
        return flag(folder).exists()
    except OSError:
        return before


def hold(hosts: Mapping[str, Host], stopped: bool) -> None:
    """Let hosts take nothing, or let them work again. What somebody else holds stays held."""
    for host in hosts.values():
        if stopped and host.held_by is None:
            host.held_by = STOPPED
        elif not stopped and host.held_by == STOPPED:
            host.held_by = None


async def break_off(hosts: Mapping[str, Host]) -> None:
    """What runs ends now, on all side by side. Returns after ANSWER_S, whatever the drivers do."""
    told = {asyncio.create_task(abort(host)): name for name, host in hosts.items()}
    done, late = await asyncio.wait(told, timeout=ANSWER_S)
    for task in late:
        task.cancel()
        log.error("%s did not stop: no answer within %g s", told[task], ANSWER_S)
    for task in done:
        error = "the driver broke off" if task.cancelled() else task.exception()
        if error is not None:
            log.error("%s did not stop: %s", told[task], error)


async def abort(host: Host) -> None:
    """Whatever runs on one instrument, whoever began it."""
    await host.guarded.abort("")
