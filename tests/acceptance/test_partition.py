"""A site is cut off from the database: the others finish what they can, and after that nothing was lost or made twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labctl import wiring
from materials_db import records as db
from tests import postgres
from tests.crash.checker import gather, violations
from tests.crash.lab import FAR, MAIN, CrashLab, Setting

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(400)]
EXPERIMENTS = 16
ENDED = ("done", "failed")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[CrashLab]:
    """Two sites with the same instruments, each with a worker; main is in control."""
    if why := postgres.missing():
        pytest.skip(why)
    with postgres.cluster() as server:
        setting = Setting(experiments=EXPERIMENTS, in_flight=6, far="site", speed=1500)
        made = CrashLab.make(tmp_path / "lab", setting, server)
        made.start()
        until(lambda: "labctl" in made.holder())
        made.start(host=FAR)
        yield made
        made.close()


def until(found: Callable[[], bool]) -> None:
    """Look until it is so; the test's own time-out ends what never comes."""
    pause = threading.Event()
    while not found():
        pause.wait(0.1)


def experiments(lab: CrashLab, **wanted: object) -> list[db.Experiment]:
    opened = wiring.open_lab(lab.folder)
    try:
        with opened.store.transaction() as tx:
            return tx.find(db.Experiment, order="number", **wanted)
    finally:
        opened.store.close()


def left_at_far(lab: CrashLab) -> int:
    return len(experiments(lab, site=FAR, state="running"))


def test_a_site_that_is_cut_off_holds_up_nobody_else_and_loses_nothing(lab: CrashLab) -> None:
    assert lab.cable is not None
    until(lambda: len(experiments(lab, site=FAR, state="done")) > 0 and left_at_far(lab) > 0)
    lab.cable.cut()
    until(lambda: len(experiments(lab, state=ENDED)) == EXPERIMENTS - left_at_far(lab))
    assert left_at_far(lab) > 0
    assert lab.state() == "running"
    lab.cable.mend()
    assert lab.finish() == ""
    assert lab.workers[MAIN].exitcode == 0
    assert len(experiments(lab, state=ENDED)) == EXPERIMENTS
    assert violations(gather(lab), lab) == []
