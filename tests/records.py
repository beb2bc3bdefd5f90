"""A small sound line of records: from a campaign to a measurement."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from materials_db import records as r
from materials_db.store import Transaction

AT = datetime(2026, 3, 1, 9, 30, 15, 123456, tzinfo=UTC)
RAW = b"sweep,frequency_Hz,z_real_ohm,z_imag_ohm\n1,1000,80.1,-3.2\n"


def campaign(id: str = "C-0001", **changes: Any) -> r.Campaign:
    spec = {
        "objective": {"quantity": "ionic_conductivity", "unit": "mS/cm", "direction": "maximize", "target": None},
        "budget": {"experiments": 3},
        "composition": {"components": {"EC": {}, "LiPF6": {}}},
    }
    return r.Campaign(
        **{
            "id": id, "name": "conductivity", "file_text": "[campaign]\n", "file_sha256": "ab" * 32, "spec": spec, "seed": 7,
            "versions": {"labctl": "0.1.0"}, "created_at": AT, "created_by": "mei", "origin": "simulated", "state": "running",
            **changes,
        }
    )  # fmt: skip


def experiment_line(n: int = 1, campaign_id: str = "C-0001") -> list[r.Record]:
    """Candidate, recipe, experiment, sample, intended composition and one job."""
    e, s, x = f"E-{n:05d}", f"S-{n:05d}", f"X-{n:05d}"
    return [
        r.Candidate(
            id=x, campaign_id=campaign_id, fractions={"EC": "9/10", "LiPF6": "1/10"}, basis="mass", optimizer="random",
            origin_of_proposal="random", proposed_at=AT,
        ),
        r.Recipe(id="recipe-1", steps=[{"name": "measure"}], batch_mg=6000.0),
        r.Experiment(
            id=e, campaign_id=campaign_id, candidate_id=x, number=n, recipe_id="recipe-1", planned_at=AT,
            plan={"sample_id": s, "steps": [{"name": "measure", "instruments": ["analyser-1"], "releases": ["analyser-1"]}]},
        ),
        r.Sample(id=s, experiment_id=e, site="bench-A", batch_mg=6000.0, created_at=AT, origin="simulated"),
        *(
            r.Composition(
                id=f"{s}/intended/{name}", sample_id=s, role="intended", basis="mass", component=name, formula=formula,
                fraction=f, method="proposed",
            )
            for name, formula, f in (("EC", "C3H4O3", 0.9), ("LiPF6", "LiPF6", 0.1))
        ),
        r.Job(
            id=f"{e}/measure", run=f"R-{n:05d}", experiment_id=e, sample_id=s, step="measure",
            capability="measure_conductivity", params={"repeats": 3}, queued_at=AT,
        ),
    ]  # fmt: skip


def floor() -> list[r.Record]:
    """One instrument with a calibration, one bottle."""
    return [
        r.Instrument(
            id="analyser-1@1", name="analyser-1", driver="impedance-analyser", identity="labctl simulation,IA-2,1,1.0",
            site="bench-A", verified_on_hardware=False, registered_at=AT, origin="simulated",
        ),
        r.Calibration(
            id="K-0001", instrument_id="analyser-1@1", quantity="ionic_conductivity", certificate="SIM-1",
            valid_from=AT - timedelta(days=10), valid_to=AT + timedelta(days=300), origin="simulated",
        ),
        r.Lot(id="L-0001", component="EC", formula="C3H4O3", amount_mg=1e6, received_at=AT, origin="simulated"),
    ]  # fmt: skip


def measurement(sha256: str, n: int = 1, **changes: Any) -> r.Measurement:
    return r.Measurement(
        **{
            "id": f"M-{n:05d}", "sample_id": f"S-{n:05d}", "job_id": f"E-{n:05d}/measure", "quantity": "ionic_conductivity",
            "value": 10.0 + n, "unit": "mS/cm", "u": 0.05, "n": 3, "method": "impedance", "origin": "simulated",
            "calibration_id": "K-0001", "raw_file_id": sha256, "taken_at": AT, **changes,
        }
    )  # fmt: skip


def fill(tx: Transaction, experiments: int = 1) -> str:
    """Write a campaign with measured experiments; the hash of the raw file."""
    tx.add(*floor(), campaign(), at=AT, actor="test")
    sha256 = tx.put_raw(RAW)
    for n in range(1, experiments + 1):
        tx.add(*experiment_line(n), at=AT, actor="test")
        if n == 1:
            raw = r.RawFile(
                id=sha256,
                name="impedance.csv",
                media_type="text/csv",
                size=len(RAW),
                job_id="E-00001/measure",
                stored_at=AT,
            )
            tx.add(raw, at=AT, actor="test")
        tx.move(
            r.Job,
            f"E-{n:05d}/measure",
            at=AT,
            actor="test",
            state="running",
            instrument_id="analyser-1@1",
            started_at=AT,
        )
        tx.add(measurement(sha256, n), at=AT, actor="test")
        tx.move(r.Job, f"E-{n:05d}/measure", at=AT, actor="test", state="done", ended_at=AT + timedelta(minutes=4))
        tx.move(r.Experiment, f"E-{n:05d}", at=AT, actor="test", state="done", ended_at=AT + timedelta(minutes=4))
    return sha256
