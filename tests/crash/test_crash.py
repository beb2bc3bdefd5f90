"""The short form of `make crash-test`: every crash point once, and one case of every kind."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests import postgres
from tests.crash.cases import (
    FAR_POINTS,
    FIRST,
    ON_TRAYS,
    SPECIAL,
    At,
    Blow,
    Case,
    Disk,
    HostAt,
    Hosts,
    Moment,
    Server,
    plain_points,
    run,
)
from tests.crash.checker import gather, violations
from tests.crash.lab import CrashLab, Setting
from tests.crash.people import TECHNICIAN, Typed
from tests.crash.points import crashpoints

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("crash")]
QUICK = Setting(experiments=4)
FLEET = Setting(experiments=5, in_flight=2, far="cables", speed=4e4)
BEGIN = ["floor registered", "segment numbered", "campaign adopted"]  #: passed before anything else, in this order
END = ["close recorded"]  #: passed after everything else
REST = [point for point in plain_points() if point not in (*BEGIN, *END)]
CHAINS = [[*BEGIN, *REST[:4]], *(REST[i : i + 5] for i in range(4, len(REST) - 4, 5)), [*REST[-4:], *END]]


def test_every_crash_point_has_a_name_of_its_own() -> None:
    assert {name: places for name, places in crashpoints().items() if len(places) > 1} == {}


def test_what_is_said_of_points_is_said_of_points_that_there_are() -> None:
    assert {*FIRST, *FIRST.values(), *SPECIAL, *ON_TRAYS, *FAR_POINTS} - set(crashpoints()) == set()


def test_every_plain_point_is_in_a_chain() -> None:
    assert {point for chain in CHAINS for point in chain} == set(plain_points())


@pytest.mark.parametrize("points", CHAINS, ids=lambda chain: chain[0])
def test_killed_once_at_each_point_the_campaign_goes_on(tmp_path: Path, points: list[str]) -> None:
    outcome = run(Case(Setting(experiments=6, in_flight=1), tuple(At(point) for point in points)), tmp_path / "lab")
    assert (outcome.broken, outcome.struck, outcome.doubts) == ([], len(points), 0)


def test_killed_while_samples_share_a_furnace(tmp_path: Path) -> None:
    blows = (At("tray leased"), At("start confirmed"), At("tray member committed", 3), At("tray leased"))
    outcome = run(Case(Setting(experiments=4, in_flight=4, kind="alloy", speed=4e5), blows), tmp_path / "lab")
    assert (outcome.broken, outcome.struck, outcome.doubts) == ([], len(blows), 0)


@pytest.mark.parametrize("point", sorted(FIRST))
def test_killed_while_recovering_from_a_crash(tmp_path: Path, point: str) -> None:
    outcome = run(Case(QUICK, (At(FIRST[point], 2), At(point))), tmp_path / "lab")
    assert (outcome.broken, outcome.struck, outcome.doubts) == ([], 2, 0)


@pytest.mark.parametrize(
    ("point", "setting"),
    [
        ("failure written", Setting(experiments=4, rates=(("jam", 0.3),))),
        ("invalid result written", Setting(experiments=4, rates=(("drain", 0.6),))),
        ("segment recorded", Setting(experiments=4, epoch=2)),
        ("segment begun", Setting(experiments=4, epoch=2)),
    ],
)
def test_killed_at_a_point_that_few_campaigns_pass(tmp_path: Path, point: str, setting: Setting) -> None:
    outcome = run(Case(setting, (At(point),)), tmp_path / "lab")
    assert (outcome.broken, outcome.struck) == ([], 1)


def test_killed_while_adopting_the_experiments_of_a_workflow_that_broke_down(tmp_path: Path) -> None:
    lab = CrashLab.make(tmp_path / "lab", QUICK)
    assert At("experiment begun").strike(lab)
    with closing(sqlite3.connect(lab.folder / ".labctl" / "lab.sqlite")) as database, database:
        database.execute("UPDATE workflow_status SET status='CANCELLED' WHERE workflow_uuid LIKE 'C-0001#%'")
    assert At("experiment adopted").strike(lab)
    assert lab.finish() == ""
    assert violations(gather(lab), lab) == []
    lab.close()


def test_machines_that_lost_their_memory_leave_a_doubt_that_only_a_person_can_settle(tmp_path: Path) -> None:
    lab = CrashLab.make(tmp_path / "lab", Setting(experiments=4, in_flight=1))
    assert At("intent written", 4).strike(lab)
    lab.forget()
    assert At("doubt written").strike(lab)
    assert lab.finish() == ""
    found = gather(lab)
    assert [(t.question, t.job_id, t.answered_by) for t in found.tasks] == [("in_doubt", "E-00002/mix", TECHNICIAN)]
    assert [e.state for e in found.experiments] == ["done"] * 4
    assert {"E-00002/mix", "E-00002/mix.2"} & {r["label"] for r in found.runs} == {"E-00002/mix.2"}
    lab.close()


@pytest.mark.parametrize("point", ["start confirmed", "run recorded"])
def test_a_run_that_its_machine_has_forgotten_is_a_doubt_too(tmp_path: Path, point: str) -> None:
    """Its start was confirmed; a machine that knows nothing of it any more is not asked for ever."""
    lab = CrashLab.make(tmp_path / "lab", Setting(experiments=4, in_flight=1))
    assert At(point, 4).strike(lab)
    lab.forget()
    assert At("doubt written" if point == "start confirmed" else "forgotten run written").strike(lab)
    assert lab.finish() == ""
    found = gather(lab)
    assert [(t.question, t.job_id, t.answered_by) for t in found.tasks] == [("in_doubt", "E-00002/mix", TECHNICIAN)]
    assert [e.state for e in found.experiments] == ["done"] * 4
    lab.close()


def test_killed_after_a_machine_refused_the_start(tmp_path: Path) -> None:
    lab = CrashLab.make(tmp_path / "lab", Setting(experiments=3, in_flight=1))
    assert At("lease taken", 3).strike(lab)
    lab.forget()  # the vial is no longer in the thermostat
    assert At("refusal written").strike(lab)
    assert lab.finish() == ""
    assert [e.state for e in gather(lab).experiments] == ["failed", "done", "done"]
    lab.close()


@pytest.mark.parametrize(
    "blows",
    [
        (Moment(1.0), Moment(1.2)),
        (Moment(0.9, worker=False, machines=True),),
        (Moment(1.3, machines=True),),
    ],
    ids=["random moments", "machines", "everything"],
)
def test_struck_at_any_moment(tmp_path: Path, blows: tuple[Blow, ...]) -> None:
    outcome = run(Case(Setting(experiments=6, in_flight=1), blows), tmp_path / "lab")
    assert (outcome.broken, outcome.doubts) == ([], 0)


@pytest.mark.parametrize(
    "words",
    [
        ("campaign", "abort", "C-0002"),
        ("campaign", "pause", "C-0001"),
        ("stop", "--all"),
        ("instrument", "hold", "doser-1", "--reason", "looked at"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("dies_after", [None, 0.3])
def test_people_end_pause_stop_and_hold_while_workers_die(
    tmp_path: Path, words: tuple[str, ...], dies_after: float | None
) -> None:
    blows = (Typed(0.8, words, dies_after), Moment(0.7))
    outcome = run(Case(Setting(experiments=5, others=5), blows), tmp_path / "lab")
    assert (outcome.broken, outcome.doubts) == ([], 0)


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Cluster]:
    if why := postgres.missing():
        pytest.skip(why)
    with postgres.cluster() as made:
        yield made


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("setting", "blows"),
    [
        (Setting(experiments=4), (At("plan recorded"), At("rows about to commit", 2), Server(1.0, 2))),
        (FLEET, (HostAt("start sent"), Hosts(1.0, ("control",)))),
    ],
    ids=["server", "hosts"],
)
def test_on_a_database_server(tmp_path: Path, server: postgres.Cluster, setting: Setting, blows: tuple[Blow]) -> None:
    outcome = run(Case(setting, blows), tmp_path / "lab", server)
    assert (outcome.broken, outcome.doubts) == ([], 0)


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace on this machine (Debian: apt-get install strace)")
@pytest.mark.parametrize(
    "blow",
    [
        Disk("fdatasync", "signal=SIGKILL", 4),
        Disk("fdatasync", "error=EIO", 15),
        Disk("pwrite64", "error=ENOSPC", 20),
    ],
    ids=str,
)
def test_a_disk_that_fails(tmp_path: Path, blow: Disk) -> None:
    outcome = run(Case(Setting(experiments=3, sync="full"), (blow,)), tmp_path / "lab")
    assert (outcome.broken, outcome.struck) == ([], 1)
