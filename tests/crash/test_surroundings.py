"""What surrounds a lab goes wrong: its disk is full, its clock jumps, its machines are exchanged."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from labctl import registration, wiring
from labctl.errors import SwappedError
from labctl.initialise import initialise
from materials_db import records as db
from materials_db.looking import libpq
from tests import postgres
from tests.acceptance.lab import LabFolder
from tests.crash.cases import At, another_course
from tests.crash.checker import gather, violations
from tests.crash.lab import FINISH_S, CrashLab, Setting

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("crash")]


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 24 MiB."""
    folder.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=False).returncode
    ):
        pytest.skip("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    with path.open("wb", buffering=0) as ballast:
        try:
            while ballast.write(bytes(4096)):
                pass
        except OSError:
            return


def test_a_full_disk_is_announced_and_waited_out(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        folder, beside = disk / "lab", tmp_path / "beside"
        for name in (".labctl/simulator", "worker.out"):  # the machines' memory and the terminal are not on that disk
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(beside / Path(name).name)
        (beside / "simulator").mkdir(parents=True)
        lab = CrashLab.make(folder, Setting(experiments=8, in_flight=2, speed=2e4))
        worker = lab.start()
        until(lambda: len(lab.simulator.acts()) > 3)
        fill(disk / "ballast")
        until(lambda: "disk or database fail" in lab.said())
        assert worker.exitcode is None
        (disk / "ballast").unlink()
        worker.join(FINISH_S)
        assert worker.exitcode == 0
        assert violations(gather(lab), lab) == []
        assert "Traceback" not in lab.said()
        lab.close()


def until(what: object) -> None:
    """Look until it is so; the test's own time-out ends what never comes."""
    pause = threading.Event()
    while not what():  # type: ignore[operator]
        pause.wait(0.02)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_jumps_changes_no_order(tmp_path: Path, hours: int) -> None:
    lab = CrashLab.make(tmp_path / "lab", Setting(experiments=4, in_flight=1))
    assert At("rows committed", 4).strike(lab)
    lab.stop_machines()
    shift(lab.folder / ".labctl" / "simulator" / "machines.sqlite", timedelta(hours=hours))
    assert lab.finish() == ""
    found = gather(lab)
    assert violations(found, lab) + another_course(found, lab.setting) == []
    lab.close()


def shift(memory: Path, by: timedelta) -> None:
    """Move the machines' clock, and with it all that they remember."""
    with closing(sqlite3.connect(memory)) as database, database:
        for table, column in (("run", "started"), ("note", "value")):
            where = "WHERE key='lab time'" if table == "note" else ""
            for rowid, text in database.execute(f"SELECT rowid, {column} FROM {table} {where}").fetchall():
                later = (datetime.fromisoformat(text) + by).isoformat()
                database.execute(f"UPDATE {table} SET {column}=? WHERE rowid=?", (later, rowid))


def test_an_exchanged_machine_is_noticed_and_new_firmware_is_not_a_new_machine(tmp_path: Path) -> None:
    initialise(tmp_path / "lab")
    lab = wiring.open_lab(tmp_path / "lab")
    at = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    with lab.store.transaction() as tx:
        ids = registration.register(tx, lab.file, {"doser-1": "Maker,GDR-16,0001,1.0"}, at=at)
        assert registration.register(tx, lab.file, {"doser-1": "Maker,GDR-16,0001,1.1"}, at=at) != ids
        for other in ("Maker,GDR-16,0002,1.0", "Maker,IA-2,0001,1.0"):
            with pytest.raises(SwappedError) as refused:
                registration.register(tx, lab.file, {"doser-1": other}, at=at)
            assert other in refused.value.where[0]
            assert "Maker,GDR-16,0001" in refused.value.where[0]
    lab.store.close()


@pytest.mark.postgres
@pytest.mark.parametrize("typed", ["worker run", "campaign resume"])
def test_workers_that_begin_at_once_register_no_bottle_twice(tmp_path: Path, postgres_url: str, typed: str) -> None:
    initialise(tmp_path / "lab")
    LabFolder(tmp_path / "lab").keep_data_at(postgres.fresh_database(postgres_url))
    one, other = wiring.open_lab(tmp_path / "lab"), wiring.open_lab(tmp_path / "lab")
    at = datetime.fromisoformat("2026-01-01T00:00:00+00:00")

    def begin() -> None:
        with other.store.transaction() as tx:
            if typed == "worker run":
                registration.register(tx, other.file, {}, at=at + timedelta(seconds=1))
            else:
                registration.register_stock(tx, other.file, at + timedelta(seconds=1))

    assert other.store
    with one.store.transaction() as tx:
        registration.register(tx, one.file, {}, at=at)
        second = threading.Thread(target=begin)
        second.start()
        until(lambda: waits(postgres_url))
    second.join()
    with one.store.transaction() as tx:
        assert sorted(lot.component for lot in tx.find(db.Lot)) == sorted(one.file.stock)
    one.store.close()
    other.store.close()


def waits(url: str) -> bool:
    """Whether somebody waits for somebody else on that server."""
    with psycopg.connect(libpq(url)) as connection:
        return connection.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone() is not None
