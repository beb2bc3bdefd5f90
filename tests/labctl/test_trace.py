"""What the trace of a sample tells where something went wrong."""

from __future__ import annotations

from typing import Any

import pytest

from labctl.display import show_trace
from materials_db import records as r
from materials_db.memory import MemoryStore
from materials_db.trace import trace
from tests.records import AT, experiment_line, fill

FAULT: dict[str, Any] = {"fault": "measurement_invalid", "message": "bubble in the cell", "ended_at": AT}


def test_the_trace_of_a_sample_without_a_value_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    store = MemoryStore()
    with store.transaction() as tx:
        fill(tx)
        tx.add(*experiment_line(2), at=AT, actor="test")
        tx.move(r.Job, "E-00002/measure", at=AT, actor="test", state="running", instrument_id="analyser-1@1")
        tx.move(r.Job, "E-00002/measure", at=AT, actor="test", state="failed", **FAULT)
        tx.move(r.Experiment, "E-00002", at=AT, actor="test", state="failed", outcome="measure: bubble in the cell")
        show_trace(trace(tx, "S-00002"))
    assert capsys.readouterr().out.splitlines()[1:3] == [
        "|- job R-00002 E-00002/measure on analyser-1: failed (measurement_invalid: bubble in the cell)",
        "|- experiment E-00002: failed (measure: bubble in the cell)",
    ]


def test_the_trace_of_a_measured_sample_names_each_job_once(capsys: pytest.CaptureFixture[str]) -> None:
    store = MemoryStore()
    with store.transaction() as tx:
        fill(tx)
        show_trace(trace(tx, "S-00001"))
    assert capsys.readouterr().out.count("E-00001/measure") == 1
