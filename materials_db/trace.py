"""The whole line behind a value: from the measurement back to the bottle, the calibration and the proposal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from materials_db import records as db
from materials_db.store import Transaction


@dataclass(frozen=True)
class Trace:
    """Everything on record about one sample."""

    sample: db.Sample
    experiment: db.Experiment
    candidate: db.Candidate
    campaign: db.Campaign
    recipe: db.Recipe
    compositions: list[db.Composition]
    ingredients: list[db.Ingredient]
    lots: dict[str, db.Lot]
    jobs: list[db.Job]
    instruments: dict[str, db.Instrument]
    calibrations: dict[str, db.Calibration]
    raw_files: dict[str, db.RawFile]
    measurements: list[db.Measurement]
    problems: list[str] = field(default_factory=list)  #: links that lead nowhere; empty in a sound database

    @property
    def site(self) -> str | None:
        """Where the sample is, or was last; None while no site has claimed it, whatever its own row was written with."""
        e = self.experiment
        never_begun = e.started_at is None and e.state in ("planned", "aborted")
        return e.site or (None if never_begun else self.sample.site)

    def json(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "sample": {**self.sample.model_dump(mode="json"), "site": self.site},
            "experiment": self.experiment.model_dump(mode="json"),
            "candidate": self.candidate.model_dump(mode="json"),
            "campaign": self.campaign.model_dump(mode="json", exclude={"file_text", "spec"}),
            "recipe": self.recipe.model_dump(mode="json"),
            **{
                name: [r.model_dump(mode="json") for r in records]
                for name, records in (
                    ("compositions", self.compositions),
                    ("ingredients", self.ingredients),
                    ("lots", self.lots.values()),
                    ("jobs", self.jobs),
                    ("instruments", self.instruments.values()),
                    ("calibrations", self.calibrations.values()),
                    ("raw_files", self.raw_files.values()),
                    ("measurements", self.measurements),
                )
            },
            "problems": self.problems,
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row for each measured value, with the name of everything it stands on."""
        made = {"candidate": self.candidate.id, "campaign": self.campaign.id, "recipe": self.recipe.id}
        jobs = {job.id: job for job in self.jobs}
        return [
            {
                **m.model_dump(mode="json"),
                "instrument": jobs[m.job_id].instrument_id,
                "run": jobs[m.job_id].run,
                "lots": " ".join(sorted(self.lots)),
                **made,
            }
            for m in self.measurements
        ]


def trace(tx: Transaction, sample_id: str) -> Trace:
    """Follow every link from a sample. Raises NotFoundError when there is no such sample."""
    sample = tx.get(db.Sample, sample_id)
    experiment = tx.get(db.Experiment, sample.experiment_id)
    jobs = tx.find(db.Job, order="queued_at", sample_id=sample_id)
    ingredients = tx.find(db.Ingredient, sample_id=sample_id)
    measurements = tx.find(db.Measurement, order="taken_at", sample_id=sample_id)
    raw_files = {f.id: f for job in jobs for f in tx.find(db.RawFile, job_id=job.id)}
    raw_files |= {id: tx.get(db.RawFile, id) for job in jobs for id in job.as_run.get("partial", ())}
    raw_files |= {m.raw_file_id: tx.get(db.RawFile, m.raw_file_id) for m in measurements if m.raw_file_id}
    found = Trace(
        sample=sample,
        experiment=experiment,
        candidate=tx.get(db.Candidate, experiment.candidate_id),
        campaign=tx.get(db.Campaign, experiment.campaign_id),
        recipe=tx.get(db.Recipe, experiment.recipe_id),
        compositions=tx.find(db.Composition, order="component", sample_id=sample_id),
        ingredients=ingredients,
        lots={i.lot_id: tx.get(db.Lot, i.lot_id) for i in ingredients},
        jobs=jobs,
        instruments={j.instrument_id: tx.get(db.Instrument, j.instrument_id) for j in jobs if j.instrument_id},
        calibrations={
            m.calibration_id: tx.get(db.Calibration, m.calibration_id) for m in measurements if m.calibration_id
        },
        raw_files=raw_files,
        measurements=measurements,
    )
    found.problems.extend(damage(tx, found))
    return found


def damage(tx: Transaction, found: Trace) -> list[str]:
    """Raw files that are not there or have changed."""
    from materials_db.errors import DamagedFileError

    problems = []
    for sha256 in found.raw_files:
        try:
            tx.read_raw(sha256)
        except DamagedFileError as error:
            problems.append(str(error))
    return problems
