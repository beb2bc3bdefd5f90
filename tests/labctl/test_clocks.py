"""Machines whose clocks differ: said at the start, and nobody is taken for dead or alive by a wrong one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from campaigns import wishes
from labctl import checking, clocks, fleet, wiring, worker
from labctl.initialise import initialise
from labctl.wiring import Lab
from materials_db.waiting import HOST_SILENT, asked_of, silent
from tests import postgres
from tests.acceptance.lab import LabFolder

pytestmark = pytest.mark.postgres
HOUR = timedelta(hours=1)


@pytest.fixture
def lab(tmp_path: Path, postgres_url: str) -> Iterator[Lab]:
    """A lab on a server, of two hosts."""
    initialise(tmp_path / "lab")
    files = LabFolder(tmp_path / "lab")
    files.keep_data_at(postgres.fresh_database(postgres_url))
    path = files.folder / "labctl.toml"
    path.write_text(path.read_text().replace("[instruments.analyser-1]\n", '[instruments.analyser-1]\nhost = "far"\n'))
    opened = wiring.open_lab(files.folder)
    yield opened
    opened.store.close()


def off_by(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    """This machine's clock, not the server's, is off from now on."""
    monkeypatch.setattr(clocks, "now", lambda: datetime.now(UTC) + by)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_machine_with_another_time_than_the_server_is_refused(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    off_by(monkeypatch, hours * HOUR)
    with pytest.raises(clocks.ClockError, match=r"this machine's clock says .* the database server's .*nothing was"):
        fleet.enlist(lab, fleet.introduce(lab, "far"))
    with lab.store.transaction() as tx:
        assert tx.workers() == []
    assert [row["state"] for row in checking.examine(lab.folder) if row["check"] == "clock"] == ["wrong"]


def test_a_host_whose_clock_is_wrong_is_not_taken_for_silent(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    me = fleet.introduce(lab, "far")
    fleet.enlist(lab, me)
    off_by(monkeypatch, -HOUR)
    with lab.store.transaction() as tx:
        assert "this machine's clock says" in worker.beat(tx, me, False, [], datetime.now(UTC))
        assert wishes.silent_hosts(tx) == set()
    assert [row["beat_s"] for row in fleet.rows(lab) if row["host"] == "far"] == [
        pytest.approx(0, abs=HOST_SILENT.seconds)
    ]
    with lab.store.transaction() as tx:
        tx.beat(me.model_copy(update={"beat_at": tx.now() - 2 * HOST_SILENT}))
        assert wishes.silent_hosts(tx) == {"far"}


def test_clocks_that_come_apart_at_work_are_told_of_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_work = worker.Worker(lab, fleet.take(lab, "far"), "far")
    for by in (timedelta(), HOUR, HOUR, timedelta(), -HOUR):
        off_by(monkeypatch, by)
        with lab.store.transaction() as tx:
            at_work._compare_clocks(clocks.against_server(tx))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all("what is stamped here is off by as much until it is set" in line for line in said)
    at_work.lock.release()


def test_a_record_that_is_ahead_of_the_clock_is_told_of(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    me = fleet.introduce(lab, "far")
    with lab.store.transaction() as tx:
        tx.beat(me.model_copy(update={"beat_at": tx.now() + HOUR}))
    assert [row["state"] for row in checking.examine(lab.folder) if row["check"] == "clock"] == ["wrong"]
    fleet.enlist(lab, me)
    assert "but a worker of this lab wrote at" in capsys.readouterr().err
    with lab.store.transaction() as tx:
        assert clocks.against_record(tx) == ""


def test_the_doctor_asks_the_instruments_that_hang_on_this_machine(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def ask(_: Lab, host: str = "main") -> dict[str, Any]:
        asked.append(host)
        return {}

    monkeypatch.setattr(checking, "ask_all", ask)
    monkeypatch.setattr(wiring, "simulator_alive", lambda _: True)
    checking.examine(lab.folder)
    fleet.enlist(lab, fleet.introduce(lab, "far"))
    checking.examine(lab.folder)
    assert asked == ["main", "far"]


def test_the_queue_says_which_host_is_silent() -> None:
    rows = [
        {"host": "main", "beat_at": "2026-01-05T10:30:00.000000Z", "instruments": '["a"]'},
        {"host": "far", "beat_at": "2026-01-05T10:29:00.000000Z", "instruments": '["b"]'},
    ]
    assert silent(rows) == dict.fromkeys([asked_of("far"), "b"], "host far is silent since 10:29")
    assert silent(rows[:1]) == silent([]) == {}
