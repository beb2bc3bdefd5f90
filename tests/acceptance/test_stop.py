"""`labctl stop --all`: no further act begins, whoever lives and whatever hangs; after a release the campaign goes on."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from instruments.guard import Guard
from labctl import stop_flag, stopping
from labctl.finding import database_place
from materials_db.looking import libpq
from materials_db.sql.store import SqlStore
from tests import postgres
from tests.acceptance.lab import LabFolder
from tests.crash.lab import on_two_hosts

EXPERIMENTS = 6
GIVE_UP_S = 150  #: far more than any of it takes on a loaded machine

pytestmark = pytest.mark.timeout(400)


def until(process: subprocess.Popen[bytes], found: Callable[[], Any], lab: LabFolder) -> None:
    """Look until it is so; the process must live meanwhile."""
    deadline = time.monotonic() + GIVE_UP_S
    while not found():
        assert process.poll() is None, (lab.folder / "worker.out").read_text()
        assert time.monotonic() < deadline, lab("queue", "list").stdout + lab("experiment", "list").stdout


def begin(lab: LabFolder) -> subprocess.Popen[bytes]:
    """A campaign that has begun to make samples."""
    process = lab.start("campaign", "run", lab.campaign)
    lab.wait_for("experiment", process=process)
    until(process, lambda: len(lab.acts()) >= 2, lab)
    return process


def stop(lab: LabFolder) -> None:
    """Type it until machines and record say that they were told: on a loaded machine the first may come too late."""
    deadline = time.monotonic() + GIVE_UP_S
    while (told := lab("stop", "--all", check=None)).returncode or told.stderr:
        assert time.monotonic() < deadline, told.stdout + told.stderr
    assert told.stdout.count(": stopped") == 3


def pass_by(hours: float, lab: LabFolder, worker: subprocess.Popen[bytes]) -> None:
    """So much time of the lab, with the worker alive."""
    then = lab.simulator.clock()[0] + timedelta(hours=hours)
    until(worker, lambda: lab.json("queue", "list") and lab.simulator.clock()[0] > then, lab)


def nothing_begins(lab: LabFolder, worker: subprocess.Popen[bytes]) -> None:
    """Two hours of the lab pass, far longer than any act takes, and the machines do nothing."""
    before = lab.acts()
    pass_by(2, lab, worker)
    assert lab.acts() == before


def goes_on_to_its_end(lab: LabFolder, campaign: subprocess.Popen[bytes]) -> None:
    """What was broken off stays so; all others are made, nothing twice."""
    assert campaign.wait(timeout=GIVE_UP_S) == 0, (lab.folder / "worker.out").read_text()
    assert lab.json("campaign", "list")[0]["state"] == "done"
    experiments = lab.json("experiment", "list", "--campaign", "C-0001")
    assert {e["state"] for e in experiments} <= {"done", "failed", "aborted"}
    assert len([e for e in experiments if e["state"] == "done"]) >= 1
    assert {job: n for job, n in lab.acts().items() if n != 1} == {}
    measured = [m["sample"] for m in lab.json("measurement", "list") if m["quantity"] == "ionic_conductivity"]
    assert len(measured) == len(set(measured)) == sum(e["state"] == "done" for e in experiments)
    lab("audit", "verify")


@pytest.fixture
def slow(tmp_path: Path, database: str) -> Iterator[LabFolder]:
    """A lab in which acts take a second or so."""
    made = LabFolder.make(tmp_path / "lab", experiments=EXPERIMENTS, speed=1000, database=database)
    yield made
    made.close()


def test_after_a_stop_nothing_begins_and_after_the_release_the_campaign_goes_on(slow: LabFolder) -> None:
    campaign = begin(slow)
    stop(slow)
    nothing_begins(slow, campaign)
    waiting = json.loads(slow("queue", "list", "-o", "json").stdout)["items"]
    assert {row["reason"] for row in waiting} == {stop_flag.NOTHING_BEGINS}
    assert "the whole lab is stopped" in slow("doctor", check=None).stdout
    assert slow("stop", "--release").stdout == "the lab may work again\n"
    assert slow("stop", "--release").stdout == "the lab was not stopped\n"
    goes_on_to_its_end(slow, campaign)


def test_a_locked_file_keeps_no_machine_running(tmp_path: Path) -> None:
    lab = LabFolder.make(tmp_path / "lab", experiments=EXPERIMENTS, speed=1000)
    begin(lab)
    with closing(sqlite3.connect(lab.folder / ".labctl" / "lab.sqlite", timeout=30, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        stop(lab)
    lab.close()


@pytest.fixture
def on_server(tmp_path: Path, postgres_url: str) -> Iterator[LabFolder]:
    """The doser is driven by host main, the thermostat and the analyser by host far."""
    url = postgres.fresh_database(postgres_url)
    made = LabFolder.make(tmp_path / "lab", experiments=EXPERIMENTS, speed=1000, database=url)
    path = made.folder / "labctl.toml"
    path.write_text(on_two_hosts(path.read_text(), "cables"))
    yield made
    made.close()


def another_machine(lab: LabFolder, folder: Path) -> LabFolder:
    """A folder that shares the database and the cables, and nothing else."""
    there = LabFolder(folder, started=lab.started)  # which ends them all
    (there.folder / ".labctl").mkdir(parents=True)
    shutil.copy(lab.folder / "labctl.toml", there.folder)
    (lab.folder / ".labctl" / "simulator").mkdir(parents=True)
    (there.folder / ".labctl" / "simulator").symlink_to(lab.folder / ".labctl" / "simulator")
    return there


@pytest.mark.postgres
def test_workers_of_other_machines_learn_of_a_stop_from_the_record(on_server: LabFolder, tmp_path: Path) -> None:
    there = another_machine(on_server, tmp_path / "another machine" / "lab")
    far = there.start("worker", "run", "--host", "far")
    campaign = begin(on_server)
    until(far, lambda: any("equilibrate" in job for job in on_server.acts()), on_server)
    stop(there)
    assert not stop_flag.flag(on_server.folder).exists()
    assert held(on_server) == 3
    pass_by(1, on_server, campaign)  # a start that was on its way to its machine is over and broken off
    nothing_begins(on_server, campaign)
    refused = there("instrument", "release", "doser-1", check=None)
    assert "first: labctl stop --release" in refused.stderr
    assert "may work again" in on_server("stop", "--release").stdout
    assert held(on_server) == 0
    there("stop", "--release")
    goes_on_to_its_end(on_server, campaign)
    far.send_signal(signal.SIGTERM)
    assert far.wait(timeout=30) == 0


def connected(lab: LabFolder) -> psycopg.Connection[Any]:
    """To the lab's database."""
    return psycopg.connect(libpq(str(database_place(lab.folder))))


def held(lab: LabFolder) -> int:
    """Instruments that the record holds because of a stop."""
    query = "SELECT count(*) FROM hold WHERE state = 'active' AND reason = %s"
    with connected(lab) as connection:
        return int(connection.execute(query, [stop_flag.STOPPED]).fetchone()[0])  # type: ignore[index]


@pytest.mark.postgres
def test_a_locked_server_keeps_no_machine_running_and_is_said(on_server: LabFolder) -> None:
    begin_alone(on_server)
    with connected(on_server) as other:
        other.execute("LOCK TABLE hold, counter, event IN ACCESS EXCLUSIVE MODE")
        told = on_server("stop", "--all", check=None)
    assert "stopped; nothing new is started until" in told.stdout
    assert told.returncode == 5
    assert told.stderr.startswith("the database could not be told")
    assert len(told.stderr.splitlines()) == 1


def begin_alone(lab: LabFolder) -> None:
    """The worker of host main, with nothing to do."""
    process = lab.start("worker", "run")
    until(process, lambda: lab.json("worker", "list")[-1]["pid"], lab)


def test_a_fault_elsewhere_in_the_lab_file_keeps_no_machine_running(tmp_path: Path) -> None:
    lab = LabFolder.make(tmp_path / "lab", experiments=EXPERIMENTS, speed=1000)
    begin(lab)
    lab.edit("labctl.toml", {"speed": '"fast"'})
    stop(lab)
    lab.close()


@pytest.mark.postgres
def test_a_worker_with_a_folder_of_its_own_breaks_off_what_runs_when_the_record_says_so(
    on_server: LabFolder, tmp_path: Path
) -> None:
    SqlStore.open(str(database_place(on_server.folder)), tmp_path / "raw").close()
    driver = Driver(stops)
    host: Any = SimpleNamespace(guarded=Guard(driver), held_by=None)
    lab: Any = SimpleNamespace(folder=tmp_path, on_server=True, url=str(database_place(on_server.folder)))

    async def told() -> None:
        watching = asyncio.create_task(stopping.watch(lab, {"analyser-1": host}))
        await asyncio.sleep(0)
        assert host.held_by == stop_flag.STOPPED  # nobody has looked at the record yet
        await seen(lambda: host.held_by is None)
        assert driver.asked == 0
        await asyncio.to_thread(stop_record, on_server)
        await seen(lambda: host.held_by == stop_flag.STOPPED and driver.asked == 2)
        await asyncio.to_thread(on_server, "stop", "--release")
        await seen(lambda: host.held_by is None)
        watching.cancel()

    asyncio.run(told())


async def seen(found: Callable[[], bool]) -> None:
    """Let the loop go on until it is so."""
    async with asyncio.timeout(GIVE_UP_S):
        while not found():
            await asyncio.sleep(0.01)


def stop_record(lab: LabFolder) -> None:
    """Type it until the record says so; there are no machines."""
    while lab("stop", "--all").stderr:
        pass
    assert held(lab) == 3
    lab("audit", "verify")


def test_a_record_that_cannot_be_asked_neither_stops_a_worker_nor_lets_a_stopped_one_go_on() -> None:
    nobody = f"postgresql+psycopg://lab@127.0.0.1:{postgres.free_port()}/lab"

    async def said(before: bool) -> bool:
        record = stopping.Record(nobody, stopped=before)
        following = asyncio.create_task(record.follow())
        await seen(lambda: record.known)
        following.cancel()
        return record.stopped

    assert not asyncio.run(said(False))
    assert asyncio.run(said(True))


# -- drivers that misbehave ------------------------------------------------------------------


class Driver:
    """Stands in for a driver: what its `abort` does is given."""

    def __init__(self, abort: Callable[[], Awaitable[None]]) -> None:
        self._abort, self.asked = abort, 0

    async def abort(self, run_id: str) -> None:
        self.asked += 1
        await self._abort()


async def stops() -> None:
    """What a driver should do."""


async def hangs() -> None:
    await asyncio.Event().wait()


async def hangs_on() -> None:
    """It takes no notice of being cancelled, as long as its event loop lives."""
    while not (gone := asyncio.current_task()) or gone.cancelling() < 2:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass


async def raises() -> None:
    raise KeyError("a bug of a third party's driver")


async def cancels() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("misbehaves", [hangs, hangs_on, raises, cancels])
def test_a_driver_that_misbehaves_blinds_no_worker_and_harms_no_other_instrument(
    tmp_path: Path, misbehaves: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    async def told() -> None:
        drivers = {"bad-1": Driver(misbehaves), "good-1": Driver(stops)}
        hosts: Any = {name: SimpleNamespace(guarded=Guard(d), held_by=None) for name, d in drivers.items()}
        lab: Any = SimpleNamespace(folder=tmp_path, on_server=False)
        watching = asyncio.create_task(stopping.watch(lab, hosts))
        for round in (1, 2):
            stopping.forbid(tmp_path)
            await seen(lambda n=2 * round: drivers["good-1"].asked == n)  # type: ignore[misc]
            assert {h.held_by for h in hosts.values()} == {stop_flag.STOPPED}
            stop_flag.flag(tmp_path).unlink()
            await seen(lambda: hosts["bad-1"].held_by is hosts["good-1"].held_by is None)
            assert not watching.done()
        watching.cancel()

    asyncio.run(told())
    assert "bad-1 did not stop" in caplog.text
    assert "good-1 did not stop" not in caplog.text
