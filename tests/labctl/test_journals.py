"""Journals answer only for the database that they were written with, and no work is begun past what is under way."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from labctl import fleet, journals
from labctl.initialise import initialise
from labctl.wiring import Lab, open_lab
from materials_db import records as db
from tests import postgres
from tests.acceptance.lab import LabFolder

AT = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def worked(tmp_path: Path) -> Iterator[Lab]:
    """A lab on a file in which a worker has been."""
    initialise(tmp_path / "lab")
    lab = open_lab(tmp_path / "lab")
    write(lab, "L-0001")
    journals.bind(lab)
    yield lab
    lab.store.close()


def write(lab: Lab, id: str) -> None:
    """Something that every database has of its own."""
    with lab.store.transaction() as tx:
        lot = db.Lot(
            id=id, component="EC", formula="C3H4O3", supplier="us", supplier_lot=id, purity=0.99, amount_mg=1.0,
            price_per_g=1.0, received_at=datetime.now(UTC), origin="simulated",
        )  # fmt: skip
        tx.add(lot, at=datetime.now(UTC), actor="test")


def may_work(lab: Lab) -> None:
    fleet.refuse_misfit(lab, fleet.introduce(lab, "main"))


def test_a_new_database_beside_old_journals_is_refused_and_the_old_one_taken_back(worked: Lab, tmp_path: Path) -> None:
    may_work(worked)
    worked.store.close()
    file, kept = worked.state / "lab.sqlite", tmp_path / "kept.sqlite"
    shutil.move(file, kept)
    again = open_lab(worked.folder)
    with pytest.raises(journals.OtherDatabaseError, match=r"written with another database.*Nothing was started"):
        may_work(again)
    write(again, "L-0001")
    with pytest.raises(journals.OtherDatabaseError):
        may_work(again)
    again.store.close()
    shutil.move(kept, file)
    may_work(open_lab(worked.folder))


def test_what_an_earlier_labctl_left_goes_with_the_database_that_it_finds(worked: Lab) -> None:
    (journals.folder(worked) / "database").unlink()
    may_work(worked)
    journals.bind(worked)
    with worked.store.transaction() as tx:
        assert (journals.folder(worked) / "database").read_text() == tx.events(limit=1)[0].hash


@pytest.mark.postgres
def test_an_empty_server_for_a_lab_that_has_worked_is_refused(worked: Lab, postgres_url: str) -> None:
    LabFolder(worked.folder).keep_data_at(postgres.fresh_database(postgres_url))
    lab = open_lab(worked.folder)
    with pytest.raises(journals.OtherDatabaseError) as refused:
        may_work(lab)
    assert "labctl db move-to" in refused.value.hint
    lab.store.close()


def test_no_worker_begins_while_work_is_on_an_instrument_whose_journal_alone_is_gone(worked: Lab) -> None:
    me = fleet.introduce(worked, "main")
    fleet.enlist(worked, me)
    worked.journal("doser-1").touch()
    with worked.store.transaction() as tx:
        tx.claim("doser-1", "E-00003", at=AT)
    fleet.refuse_misfit(worked, me)
    worked.journal("doser-1").unlink()
    with pytest.raises(fleet.TakenError, match=r"whose journal knows what runs on doser-1 \(E-00003\)"):
        fleet.refuse_misfit(worked, me)


def test_no_worker_begins_while_work_is_on_an_instrument_that_labctl_toml_does_not_know(worked: Lab) -> None:
    with worked.store.transaction() as tx:
        tx.claim("furnace-7", "Y-00003", at=AT)
    with pytest.raises(
        fleet.TakenError, match=r"under way on furnace-7 \(Y-00003\), of which labctl.toml says nothing"
    ):
        may_work(worked)
