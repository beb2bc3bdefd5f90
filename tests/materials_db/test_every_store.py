"""The promises of the materials database, kept by each of its implementations."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from materials_db import records as r
from materials_db.errors import ConflictError, DamagedFileError, IntegrityError, NotFoundError
from tests.records import AT, RAW, campaign, experiment_line, fill, floor, measurement


def test_what_was_written_comes_back_the_same(store: Any) -> None:
    with store.transaction() as tx:
        sha256 = fill(tx)
    with store.transaction() as tx:
        assert tx.get(r.Measurement, "M-00001") == measurement(sha256)
        assert tx.get(r.Campaign, "C-0001") == campaign()
        assert tx.get(r.Sample, "S-00001") == experiment_line()[3]


def test_where_records_stand_is_told_without_what_they_are(store: Any) -> None:
    with store.transaction() as tx:
        tx.add(campaign("C-0001"), campaign("C-0002"), campaign("C-0003"), at=AT, actor="a")
        tx.move(r.Campaign, "C-0002", at=AT, actor="a", state="running", due_at=AT)
        tx.move(r.Campaign, "C-0003", at=AT, actor="a", state="paused", priority=3)
        one, two = tx.standing(r.Campaign, state=("paused", "running"), id=["C-0002", "C-0003"])
        assert one.keys() == two.keys() == {"id", *r.Campaign.mutable}
        assert (one["id"], one["due_at"], one["abort"]) == ("C-0002", AT, False)
        assert (two["id"], two["due_at"], two["priority"]) == ("C-0003", None, 3)


def test_writing_the_same_twice_is_harmless(store: Any) -> None:
    with store.transaction() as tx:
        tx.add(*floor(), at=AT, actor="a")
        before = len(tx.events())
        tx.add(*floor(), at=AT + timedelta(hours=1), actor="b")
        assert len(tx.events()) == before


def test_an_id_with_other_content_is_refused(store: Any) -> None:
    with store.transaction() as tx:
        tx.add(*floor(), at=AT, actor="a")
    changed = floor()[2].model_copy(update={"amount_mg": 5.0})
    with pytest.raises(ConflictError, match="L-0001"), store.transaction() as tx:
        tx.add(changed, at=AT, actor="a")


def test_a_failed_transaction_leaves_nothing_behind(store: Any) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        tx.add(*floor(), at=AT, actor="a")
        tx.claim("analyser-1", "E-00001", at=AT)
        raise ZeroDivisionError
    with store.transaction() as tx:
        assert tx.find(r.Lot) == []
        assert tx.events() == []
        assert not [lease for lease in tx.leases() if lease.holder]


@pytest.mark.parametrize(
    "changes",
    [
        {"calibration_id": None},
        {"calibration_id": None, "uncalibrated_reason": "  "},
        {"raw_file_id": None},
        {"sample_id": "S-99999"},
        {"job_id": "E-99999/measure"},
        {"raw_file_id": "0" * 64},
        {"calibration_id": "K-9999"},
        {"supersedes_id": "M-00001"},
    ],
)
def test_a_value_that_leads_nowhere_is_refused(store: Any, changes: dict[str, Any]) -> None:
    with store.transaction() as tx:
        sha256 = fill(tx)
    bad = measurement(sha256, id="M-00002", **changes)
    with pytest.raises(IntegrityError), store.transaction() as tx:
        tx.add(bad, at=AT, actor="a")
    with store.transaction() as tx:
        assert len(tx.find(r.Measurement)) == 1


def test_a_correction_is_a_new_row_with_a_reason(store: Any) -> None:
    with store.transaction() as tx:
        sha256 = fill(tx)
        tx.add(
            measurement(
                sha256, id="M-00002", value=10.9, supersedes_id="M-00001", supersedes_reason="wrong cell constant"
            ),
            at=AT,
            actor="mei",
        )
    with store.transaction() as tx:
        assert [m.value for m in tx.find(r.Measurement)] == [11.0, 10.9]


def test_states_move_only_from_where_they_are(store: Any) -> None:
    with store.transaction() as tx:
        tx.add(campaign(), at=AT, actor="a")
        moved = tx.move(r.Campaign, "C-0001", at=AT, actor="mei", was=["running"], state="paused", reason="lunch")
        assert (moved.state, moved.reason) == ("paused", "lunch")
        with pytest.raises(ConflictError, match="paused"):
            tx.move(r.Campaign, "C-0001", at=AT, actor="a", was=["running"], state="done")
        with pytest.raises(IntegrityError, match="seed"):
            tx.move(r.Campaign, "C-0001", at=AT, actor="a", seed=8)
        with pytest.raises(NotFoundError, match="C-0001"):
            tx.move(r.Campaign, "C-0002", at=AT, actor="a", state="done")


def test_found_records_come_in_order_and_by_field(store: Any) -> None:
    with store.transaction() as tx:
        fill(tx, experiments=3)
    with store.transaction() as tx:
        found = tx.find(r.Experiment, order="number", newest_first=True, limit=2, campaign_id="C-0001")
        assert [e.number for e in found] == [3, 2]
        assert tx.find(r.Experiment, state=("planned", "running")) == []
        assert len(tx.find(r.Experiment, state=["done"])) == 3


def test_a_number_is_never_given_twice(store: Any) -> None:
    numbers = []
    for _ in range(3):
        with store.transaction() as tx:
            numbers += [tx.next_number("S"), tx.next_number("S"), tx.next_number("other")]
    assert numbers == [1, 2, 1, 3, 4, 2, 5, 6, 3]


def test_an_instrument_has_one_holder_and_every_new_holder_a_higher_fence(store: Any) -> None:
    with store.transaction() as tx:
        first = tx.claim("doser-1", "E-1", at=AT)
        assert tx.claim("doser-1", "E-1", at=AT) == first
        assert tx.claim("doser-1", "E-2", at=AT) is None
        assert not tx.release("doser-1", "E-2")
        assert tx.release("doser-1", "E-1")
        second = tx.claim("doser-1", "E-2", at=AT)
        assert second.fence == first.fence + 1
        assert [lease.holder for lease in tx.leases()] == ["E-2"]


def test_every_write_leaves_a_line_in_an_unbroken_log(store: Any) -> None:
    with store.transaction() as tx:
        fill(tx, experiments=2)
    with store.transaction() as tx:
        events = tx.events()
        assert tx.verify_events() == len(events)
        assert [e.seq for e in events] == list(range(1, len(events) + 1))
        about = [e.type for e in tx.events(subject="E-00001/measure")]
        assert about == ["job.added", "job.moved", "job.moved"]
        assert tx.events(after=len(events) - 1)[0] == events[-1]


def test_the_same_bytes_from_another_job_stay_the_first_ones_file(store: Any) -> None:
    with store.transaction() as tx:
        sha256 = fill(tx)
        first = tx.get(r.RawFile, sha256)
        other = first.model_copy(update={"job_id": "E-00002/measure", "name": "again.csv"})
        tx.add(other, at=AT, actor="test")
        assert tx.get(r.RawFile, sha256) == first


def test_raw_bytes_are_kept_under_their_hash(store: Any) -> None:
    with store.transaction() as tx:
        sha256 = tx.put_raw(RAW)
        assert tx.put_raw(RAW) == sha256
        assert tx.read_raw(sha256) == RAW
        with pytest.raises(DamagedFileError, match="missing"):
            tx.read_raw("0" * 64)


def test_an_unknown_id_names_near_ones(store: Any) -> None:
    with store.transaction() as tx:
        tx.add(campaign("C-0012"), at=AT, actor="a")
        with pytest.raises(NotFoundError, match="C-0012"):
            tx.get(r.Campaign, "C-0013")


def test_what_runs_out_is_never_taken_beyond_its_limit_whoever_races(store: Any) -> None:
    taken = []

    def racer() -> None:
        for _ in range(5):
            with store.transaction() as tx:
                if tx.take("L-0001", 7, 100):
                    taken.append(7)

    racers = [threading.Thread(target=racer) for _ in range(8)]
    for thread in racers:
        thread.start()
    for thread in racers:
        thread.join()
    with store.transaction() as tx:
        assert tx.taken("L-0001") == sum(taken) == 98
        assert not tx.take("L-0001", 3, 100)
        assert tx.take("L-0001", -98, None)
        assert tx.taken("L-0001") == 0
        assert tx.taken("L-0002") is None
        assert not tx.take("L-0002", 5, 4)
        assert tx.taken("L-0002") is None
        tx.count_from("L-0002", 3)
        tx.count_from("L-0002", 4)
        assert tx.taken("L-0002") == 3


def test_a_host_is_known_by_what_its_worker_said_last(store: Any) -> None:
    first = r.Worker(host="far", machine="vm", pid=1, version="0.1.0", journal="a", control=False, since=AT, beat_at=AT)
    later = first.model_copy(update={"pid": 2, "control": True, "beat_at": AT + timedelta(seconds=3)})
    with store.transaction() as tx:
        tx.beat(first)
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        tx.beat(first.model_copy(update={"host": "main"}))
        raise ZeroDivisionError
    with store.transaction() as tx:
        tx.beat(later)
    with store.transaction() as tx:
        assert tx.workers() == [later]
        assert tx.events() == []


def test_the_clock_of_a_store_tells_utc_and_runs(store: Any) -> None:
    with store.transaction() as tx:
        first, second = tx.now(), tx.now()
    assert first.utcoffset() == timedelta(0)
    assert first <= second
