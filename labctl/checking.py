"""`labctl doctor`, and tests of single instruments."""

from __future__ import annotations

import asyncio
import itertools
import math
import platform
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labctl import registration, stop_flag, wiring
from labctl.errors import DamagedJournalError, UsageError
from labctl.labfile import MAIN
from materials_db.errors import DamagedDatabaseError
from materials_db.looking import faults_of, there

if TYPE_CHECKING:
    from labctl.wiring import Lab

Row = dict[str, Any]
LOW_DISK_GB = 1.0
QUICK = 200e6  #: bytes of a database file that the doctor looks through: about a second
SOON = timedelta(days=30)  #: before the end of a certificate, in which the doctor speaks of it


def finding(check: str, state: str, found: str, remedy: str = "") -> Row:
    """One line of the doctor: state is ok, note or wrong."""
    return {"check": check, "state": state, "found": found, "remedy": remedy}


def examine(folder: Path) -> list[Row]:
    """Everything that can be checked without changing anything.

    Raises
    ------
    FileFaults
        The lab file cannot be read, so that nothing else can be checked.
    """
    lab = wiring.open_lab(folder)
    simulated, here = "simulated" if lab.file.lab.simulated else "real", hosts_here(lab)
    return [
        finding("labctl", "ok", f"{wiring.versions()['labctl']} on Python {platform.python_version()}"),
        finding("lab file", "ok", f"{folder / 'labctl.toml'}: {len(lab.file.instruments)} instruments, {simulated}"),
        disk(folder),
        *database(lab),
        worker(lab),
        *other_hosts(lab, here),
        *clock(lab),
        *stopped(lab),
        *calibrations(lab),
        *instruments(lab, here),
    ]


def stopped(lab: Lab) -> list[Row]:
    """Whether somebody has stopped the whole lab, here or, on a server, from another machine."""
    from materials_db.errors import MaterialsDBError

    try:
        if not stop_flag.stopped(lab.folder, lab.glance_path):
            return []
    except MaterialsDBError:
        return []  # what is wrong with the database is told above
    return [finding("stop", "wrong", "the whole lab is stopped: nothing is begun", "labctl stop --release")]


def disk(folder: Path) -> Row:
    """Room for data."""
    free = shutil.disk_usage(folder).free / 1e9
    low = free < LOW_DISK_GB
    return finding(
        "disk", "wrong" if low else "ok", f"{free:.1f} GB free", "make room before data are lost" if low else ""
    )


def database(lab: Lab) -> list[Row]:
    """Whether the database is there, whole, of this version, and its log unbroken."""
    from materials_db.drives import network_drive
    from materials_db.errors import MaterialsDBError, NetworkDriveError, NewerDatabaseError, UnreachableError

    try:
        if isinstance(lab.glance_path, Path) and (kind := network_drive(lab.glance_path)):
            raise NetworkDriveError(lab.glance_path, kind)
        if not there(lab.glance_path):
            return [finding("database", "note", "none yet", "it is made by the first: labctl campaign run FILE")]
        whole = file_of(lab, QUICK)
        if any(row["state"] == "wrong" for row in whole):
            return whole
        with lab.store.transaction() as tx:
            count = tx.verify_events()
    except NewerDatabaseError as error:
        return [finding("database", "wrong", str(error), "upgrade labctl, or open another lab")]
    except NetworkDriveError as error:
        return [finding("database", "wrong", str(error), error.remedy)]
    except UnreachableError as error:
        return [finding("database", "wrong", str(error), "see that the server runs and lets you in")]
    except DamagedDatabaseError as error:
        return [finding("database", "wrong", str(error), error.remedy)]
    except MaterialsDBError as error:
        return [finding("database", "wrong", str(error), "restore a backup")]
    return [
        finding("database", "ok", f"{lab.glance_path}"),
        *whole,
        finding("audit log", "ok", f"{count} lines, chain unbroken"),
    ]


def file_of(lab: Lab, largest: float = math.inf) -> list[Row]:
    """Whether SQLite finds every page of the lab's file sound; nothing where there is none or a server has the data.

    Parameters
    ----------
    largest
        Bytes up to which the file is looked through.
    """
    path = lab.glance_path
    if not isinstance(path, Path) or not there(path):
        return []
    if path.stat().st_size > largest:
        return [
            finding(
                "file", "note", f"too large to look through here: {path.stat().st_size / 1e6:.0f} MB", "labctl db check"
            )
        ]
    if faults := faults_of(path):
        return [finding("file", "wrong", str(DamagedDatabaseError(path, faults[0])), DamagedDatabaseError.remedy)]
    return [finding("file", "ok", "every page is sound")]


def worker(lab: Lab) -> Row:
    """Whether somebody is working."""
    if all(nobody_works(lab, host) for host in {MAIN, *lab.file.hosts}):
        waiting = running(lab)
        remedy = f"labctl campaign resume {waiting[0]}" if waiting else ""
        return finding(
            "worker",
            "wrong" if waiting else "ok",
            "none" + (f", but {waiting[0]} is running" if waiting else ""),
            remedy,
        )
    return finding("worker", "ok", "one is working")


def hosts_here(lab: Lab) -> list[str]:
    """Hosts of this machine; the main one where the record cannot be read."""
    from labctl import fleet
    from materials_db.errors import MaterialsDBError

    try:
        return fleet.here(lab) if there(lab.glance_path) else [MAIN]
    except MaterialsDBError:
        return [MAIN]


def other_hosts(lab: Lab, here: Sequence[str]) -> list[Row]:
    """Where there are several hosts, whether each has a worker: the instruments of other machines answer only there."""
    return [
        finding(
            f"host {host}",
            "note",
            "no worker",
            f"{'' if host in here else 'on its machine: '}labctl worker run --host {host}",
        )
        if nobody_works(lab, host)
        else finding(f"host {host}", "ok", "one is working")
        for host in lab.file.hosts
        if len(lab.file.hosts) > 1
    ]


def clock(lab: Lab) -> list[Row]:
    """Whether this machine's clock agrees with the server's, and with what workers wrote."""
    from labctl import clocks
    from materials_db.errors import MaterialsDBError

    try:
        if not there(lab.glance_path):
            return []
        with lab.store.transaction() as tx:
            fault = clocks.against_server(tx) or clocks.against_record(tx)
    except MaterialsDBError:
        return []  # said of the database already
    remedy = "set whichever is wrong: timedatectl set-ntp true"
    return [finding("clock", "wrong", fault, remedy)] if fault else [finding("clock", "ok", "no other time is known")]


def calibrations(lab: Lab) -> list[Row]:
    """Certificates that have ended, or soon will."""
    from instruments.clock import WallClock

    rows, now = [], WallClock().now()
    for name, section in lab.file.instruments.items():
        if section.calibration is None or section.calibration.valid_to > now + SOON:
            continue
        ended = section.calibration.valid_to < now
        found = (
            f"{section.calibration.certificate} {'ended' if ended else 'ends'} on {section.calibration.valid_to.date()}"
        )
        remedy = f"calibrate it, state the new certificate in [instruments.{name}.calibration], start the worker again"
        rows.append(finding(f"{name} calibration", "wrong" if ended else "note", found, remedy))
    return rows


def nobody_works(lab: Lab, host: str = MAIN) -> bool:
    """Whether no worker has the lines to these instruments; with the server away nobody can tell, so nobody does."""
    from labctl.locks import is_worked
    from materials_db.errors import UnreachableError

    try:
        return not lab.state.exists() or not is_worked(lab, host)
    except UnreachableError:
        return True


def running(lab: Lab) -> list[str]:
    """Campaigns that should be worked on."""
    from materials_db import glance
    from materials_db.errors import MaterialsDBError

    try:
        rows = glance.campaigns(lab.glance_path)
    except MaterialsDBError:  # a damaged database is a finding of its own
        return []
    return [row["id"] for row in rows if row["state"] == "running"]


def instruments(lab: Lab, here: Sequence[str]) -> list[Row]:
    """Whether each instrument of this machine answers. A busy worker has the line; then its word counts."""
    if lab.file.lab.simulated and not wiring.simulator_alive(lab):
        return [finding("simulator", "ok", "not running; it is started when a campaign runs")]
    return [row for host in here for row in instruments_of(lab, host)]


def instruments_of(lab: Lab, host: str) -> list[Row]:
    """Whether each instrument of a host of this machine answers."""
    if not nobody_works(lab, host):
        name = "instruments" if host == MAIN else f"instruments of {host}"
        return [finding(name, "ok", "in the hands of the worker: labctl queue list")]
    try:
        answers = asyncio.run(ask_all(lab, host))
    except DamagedJournalError as error:
        return [finding("journal", "wrong", error.message, error.hint)]
    rows = []
    for name, health in answers.items():
        todo = "check power, cable and address" if health.mode.value in ("offline", "fault") else ""
        if registration.out_of_place(lab.file, health.identity):
            todo = "a simulation in a lab of real machines: give the real one's address"
        said = f"{health.mode.value}: {health.identity or health.message}"
        rows.append(finding(name, "wrong" if todo else "ok", said, todo))
    return rows


async def ask_all(lab: Lab, host: str = MAIN) -> dict[str, Any]:
    """Health of every instrument of a host."""
    clock = lab.clock()
    hosts = lab.hosts(clock, host)
    try:
        return dict(zip(hosts, await asyncio.gather(*(driven.health() for driven in hosts.values())), strict=True))
    finally:
        for driven in hosts.values():
            await driven.close()


def instrument_details(lab: Lab, name: str) -> Row:
    """One instrument: what it can do within which limits, whether it answers, what it read last of its reference."""
    from instruments import registry
    from instruments.limits import bounded
    from materials_db import glance

    section = lab.named(name)
    health = asyncio.run(ask_all(lab, section.host))[name] if nobody_works(lab, section.host) else None
    return {
        "name": name,
        "driver": section.driver,
        "distribution": registry.distribution(registry.entry(section.driver)),
        "verified_on_hardware": registry.driver_class(section.driver).verified_on_hardware,
        "mode": health.mode.value if health else "in the hands of the worker",
        "message": health.message if health else "",
        "identity": health.identity if health else "",
        "reference": glance.reference(lab.glance_path, name),
        "capabilities": [
            {
                "name": c.name,
                "summary": c.summary,
                "consumes": list(c.consumes),
                "recover": c.recover,
                "abort": c.abort,
                "parameters": [
                    {
                        "key": key_of(c.params_model, field),
                        "low": low,
                        "high": high,
                        "unit": unit_of(c.params_model, field),
                    }
                    for field, (low, high) in bounded(c.params_model).items()
                ],
            }
            for c in registry.capabilities(section.driver, dict(section.limits))
        ],
    }


def key_of(model: Any, field: str) -> str:
    """A parameter's name in campaign files."""
    return str(model.model_fields[field].json_schema_extra["key"])


def unit_of(model: Any, field: str) -> str:
    """A parameter's unit."""
    return str(model.model_fields[field].json_schema_extra["unit"])


def test_instrument(lab: Lab, name: str, *, yes: bool) -> list[Row]:
    """Hold one instrument to the promises of every driver.

    Raises
    ------
    UsageError
        A real machine would run jobs and nobody said yes, or a worker has its line.
    """
    from labctl.locks import host_lock

    lab.named(name)
    used = [*listed_before(lab, name), name]
    if not lab.file.lab.simulated and not yes:
        raise UsageError(f"the test runs real jobs on {', '.join(used)}", hint=f"labctl instrument test {name} --yes")
    with ExitStack() as held:
        for host in sorted({lab.file.instruments[n].host for n in used}):
            lock = host_lock(lab, host)
            if not lock.take():
                raise UsageError(
                    "a worker has the instruments in its hands", hint="wait for it, or: labctl campaign pause last"
                )
            held.callback(lock.release)
        return asyncio.run(run_suite(lab, name))


def listed_before(lab: Lab, name: str) -> list[str]:
    """The instruments that bring a sample to where this one can work on it, in the lab file's order."""
    return list(itertools.takewhile(lambda other: other != name, lab.file.instruments))


async def run_suite(lab: Lab, name: str) -> list[Row]:
    """The suite of promises, over a journal of its own."""
    import tempfile

    from instruments import registry
    from instruments.conformance import check
    from instruments.host import Host
    from instruments.journal import Journal

    clock = lab.clock()
    config = lab.instrument_configs()[name]
    with tempfile.TemporaryDirectory() as folder:

        def make() -> Host:
            journal = Journal(Path(folder) / "journal.sqlite")
            return Host(
                name,
                registry.build(config, clock),
                journal,
                clock,
                limits=config.limits,
                simulated=config.simulated,
                poll_s=lab.poll_s,
            )

        promises = await check(make, others=await prepared(lab, name, clock))
    return [{"promise": p.name, "kept": p.kept, "detail": p.detail} for p in promises]


async def prepared(lab: Lab, name: str, clock: Any) -> Any:
    """How to bring a sample to where this instrument can work on it: the steps before it, in the lab's order."""
    from instruments import registry
    from instruments.host import Host
    from instruments.journal import Journal

    configs = lab.instrument_configs()

    async def bring(sample_id: str) -> None:
        for other in listed_before(lab, name):
            host = Host(
                other,
                registry.build(configs[other], clock),
                Journal(":memory:"),
                clock,
                limits=configs[other].limits,
                simulated=configs[other].simulated,
                poll_s=lab.poll_s,
            )
            example = type(host.driver).example_request(f"prepare {sample_id} {other}", sample_id)
            await host.perform(example)
            await host.close()

    return bring
