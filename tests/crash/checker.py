"""What must hold after any crash, read from durable state and from the machines' own memory alone.

Numbers in brackets are the invariants of the design: 1 made at most once, 2 none forgotten,
3 no completed measurement lost, 4 none attributed to another sample, 5 none counted twice,
7 nothing overspent, 8 one master per instrument, 10 the same campaign goes on.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import text

from labctl import wiring
from materials_db import records as db
from materials_db.errors import MaterialsDBError
from tests.crash.lab import CrashLab

ENDED = {"done", "failed"}
ENDED_BY_PEOPLE = {*ENDED, "aborted"}  #: where they may have stopped it
BROKEN = "SELECT s.workflow_uuid, o.error FROM {0}workflow_status s LEFT JOIN {0}workflow_output o USING (workflow_uuid) WHERE status='ERROR'"
SECOND = "C-0002"  #: the campaign that people may end
AT_REST = {"done", "failed", "aborted"}
SILENT = {"melt"}  #: acts that measure nothing
OF_NO_USE = {"measurement_invalid", "drift", "operator"}  #: why a finished run may be on record as failed
JOURNAL_AT_REST = AT_REST | {"rejected", "not_started", "in_doubt"}


@dataclass
class Evidence:
    """All that is left when nothing runs any more."""

    campaigns: list[db.Campaign]
    experiments: list[db.Experiment]
    candidates: list[db.Candidate]
    jobs: dict[str, db.Job]
    measurements: list[db.Measurement]
    ingredients: list[db.Ingredient]
    raw: list[db.RawFile]
    lots: dict[str, db.Lot]
    tasks: list[db.Task]
    physical: set[str]  #: capabilities that change matter
    held: list[str]
    journal: dict[str, str]  #: state by job
    runs: list[dict[str, Any]]  #: as the machines tell them
    damage: list[str]

    @cached_property
    def by_label(self) -> dict[str, dict[str, Any]]:
        """The machines' accounts by what they call the act."""
        return {run["label"]: run for run in self.runs}

    @cached_property
    def jobs_of(self) -> dict[str, list[db.Job]]:
        """Jobs by act: several on a tray, else one."""
        found = defaultdict(list)
        for job in self.jobs.values():
            found[job.tray or job.id].append(job)
        return found

    @cached_property
    def by_hand(self) -> set[str]:
        """Jobs of which a person says what happened; one answer for all samples of a tray."""
        asked = [self.jobs[task.job_id] for task in self.tasks if task.question == "step"]
        return {job.id for first in asked for job in self.jobs_of[first.tray or first.id]}

    def run_of(self, job_id: str) -> dict[str, Any] | None:
        """The machine's account of a job."""
        return self.by_label.get(self.jobs[job_id].tray or job_id)

    def acts_of_samples(self, runs: list[dict[str, Any]]) -> dict[str, list[str]]:
        """Ids of the jobs of each sample, in the order in which machines began them."""
        found = defaultdict(list)
        for job in (job for run in runs for job in self.jobs_of.get(run["label"], [])):
            found[job.sample_id].append(job.id)
        return found

    @cached_property
    def settled(self) -> set[str]:
        """Jobs of which a person said after a crash whether they had happened."""
        return {task.job_id for task in self.tasks if task.question == "in_doubt" and task.state != "open"}

    def numbers(self, campaign_id: str) -> list[int]:
        """Of the campaign's experiments, in order."""
        return sorted(e.number for e in self.experiments if e.campaign_id == campaign_id)

    @property
    def doubts(self) -> int:
        """Acts of which only a person can say whether they happened."""
        return sum(task.question == "in_doubt" for task in self.tasks)


def gather(lab: CrashLab) -> Evidence:
    """Read everything."""
    opened = wiring.open_lab(lab.folder)
    try:
        with opened.store.transaction() as tx:
            return Evidence(
                campaigns=tx.find(db.Campaign),
                experiments=tx.find(db.Experiment, order="number"),
                candidates=tx.find(db.Candidate),
                jobs={job.id: job for job in tx.find(db.Job)},
                measurements=tx.find(db.Measurement),
                ingredients=tx.find(db.Ingredient),
                raw=tx.find(db.RawFile),
                lots={lot.id: lot for lot in tx.find(db.Lot)},
                tasks=tx.find(db.Task),
                physical={c.name for able in opened.capabilities().values() for c in able if c.physical},
                held=[lease.instrument for lease in tx.leases() if lease.holder],
                journal=journals(lab.folder) | journals(lab.far_folder),
                runs=lab.simulator.record(),
                damage=list(damaged(tx)),
            )
    finally:
        opened.store.close()


def journals(folder: Path) -> dict[str, str]:
    """State of every act in the journals of one machine."""
    found: dict[str, str] = {}
    for path in (folder / ".labctl" / "journal").glob("*.sqlite"):
        connection = sqlite3.connect(path)
        found |= dict(connection.execute("SELECT id, state FROM job").fetchall())
        connection.close()
    return found


def damaged(tx: Any) -> Iterator[str]:
    """Whether the database, the audit log and the raw files are whole."""
    try:
        tx.verify_events()
        for file in tx.find(db.RawFile):
            tx.read_raw(file.id)
    except MaterialsDBError as error:
        yield str(error)
    on_file = tx.connection.dialect.name == "sqlite"
    if on_file and (said := tx.connection.execute(text("PRAGMA integrity_check")).scalar()) != "ok":
        yield f"the database is damaged: {said}"
    broken = tx.connection.execute(text(BROKEN.format("" if on_file else "dbos.")))
    yield from (f"the workflow {id} broke down: {error}" for id, error in broken)


def violations(found: Evidence, lab: CrashLab) -> list[str]:
    """Every broken promise, in words."""
    checks = (made_once, none_forgotten, none_lost, none_swapped, none_twice, not_overspent, one_master)
    broken = [f"[{i}] {word}" for i, check in zip("1234578", checks, strict=True) for word in check(found, lab)]
    return [*broken, *(f"[damage] {word}" for word in found.damage)]


def made_once(found: Evidence, lab: CrashLab) -> Iterator[str]:
    """1: the machines' own counters."""
    acts = Counter(r["label"] for r in found.runs)
    made = lab.simulator.made()
    changed = Counter(
        (sample, job.capability)
        for label, jobs in found.jobs_of.items()
        for sample in samples(found.by_label.get(label))
        if (job := jobs[0]).capability in found.physical
    )
    asked = Counter(task.job_id for task in found.tasks if task.question == "step")
    yield from (f"{job} was begun {n} times" for job, n in acts.items() if n != 1)
    yield from (f"sample {sample} was made {n} times" for sample, n in made.items() if n != 1)
    yield from (f"{sample} went through {n} acts of {step}" for (sample, step), n in changed.items() if n != 1)
    yield from (f"{job} was asked of a person {n} times" for job, n in asked.items() if n != 1)
    yield from (f"{label} was begun, but is no job" for label in acts if label not in found.jobs_of)


def samples(run: dict[str, Any] | None) -> list[str]:
    """What was in the machine during a run."""
    return [] if run is None else [*run["tray"].values()] or [run["sample"]]


def none_forgotten(found: Evidence, lab: CrashLab) -> Iterator[str]:
    """2: every wanted experiment has come to an end, and so has every job."""
    if wrong := [c for c in found.campaigns if c.state != "done" and not (c.id == SECOND and c.wanted == "stop")]:
        yield f"campaigns: {[(c.id, c.state, c.reason) for c in wrong]}"
    for campaign, wanted in lab.wanted.items():
        numbers, whole = found.numbers(campaign), list(range(1, wanted + 1))
        ended = any(c.id == campaign and c.state != "done" for c in found.campaigns)
        if numbers != whole and not (ended and numbers == whole[: len(numbers)]):
            yield f"{campaign}: experiments {numbers}, wanted 1 to {wanted}"
    may = ENDED_BY_PEOPLE if lab.setting.others else ENDED
    yield from (f"{e.id} is {e.state}" for e in found.experiments if e.state not in may)
    yield from (f"{job.id} is left {job.state}" for job in found.jobs.values() if job.state not in AT_REST)
    yield from (f"{task.id} is left open" for task in found.tasks if task.state == "open")
    yield from (
        f"journal: {job} is left {state}" for job, state in found.journal.items() if state not in JOURNAL_AT_REST
    )


def none_lost(found: Evidence, _: CrashLab) -> Iterator[str]:
    """3: what a machine finished is on record, with its raw file."""
    files = {file.id for file in found.raw}
    measured = {m.job_id for m in found.measurements} | {i.job_id for i in found.ingredients}
    for job in found.jobs.values():
        run = found.run_of(job.id)
        given_up = job.state == "aborted" or (job.state == "failed" and job.fault in OF_NO_USE)
        if run is None or run["sha256"] is None or given_up or job.id in found.settled:
            continue
        if job.state != "done" or run["sha256"] not in files:
            yield f"{job.id} was finished by {run['machine']}, but is {job.state} and its raw file is not kept"
        elif job.id not in measured and job.capability not in SILENT:
            yield f"{job.id} is done without a result"
    yield from (
        f"{job.id} is done, but no machine ran it"
        for job in found.jobs.values()
        if job.state == "done" and not found.run_of(job.id) and job.id not in found.by_hand
    )


def none_swapped(found: Evidence, _: CrashLab) -> Iterator[str]:
    """4: sample, raw file and weighed masses are those of the machine's own run of that job."""
    for job in found.jobs.values():
        run = found.run_of(job.id)
        if run and job.sample_id not in samples(run):
            yield f"{job.id} is of {job.sample_id}, {run['machine']} ran it for {samples(run)}"
        elif run and run["tray"] and job.state == "done" and places(run) != job.as_run["places"]:
            yield f"{job.sample_id} stood elsewhere on tray {job.tray} than is on record"
    for m in found.measurements:
        run = found.run_of(m.job_id)
        if not run or m.sample_id not in samples(run) or run["sha256"] not in (None, m.raw_file_id):
            yield f"{m.id} of {m.sample_id} is not what the machine measured"
    for i in found.ingredients:
        run = found.run_of(i.job_id)
        said = f";{found.lots[i.lot_id].component},{i.weighed_mg:.2f}," if i.weighed_mg > 0 else ";"
        if not run or run["sample"] != i.sample_id or said not in str(run["result"]):
            yield f"{i.id} is not what the machine weighed"


def places(run: dict[str, Any]) -> dict[str, int]:
    """Where each sample stood on a tray, as the furnace has it."""
    return {sample: int(place) for place, sample in run["tray"].items()}


def none_twice(found: Evidence, _: CrashLab) -> Iterator[str]:
    """5: one value per job and quantity."""
    values = Counter((m.job_id, m.quantity, m.sample_id) for m in found.measurements)
    yield from (f"{job}: {quantity} is counted {n} times" for (job, quantity, _), n in values.items() if n > 1)
    numbers = Counter((e.campaign_id, e.number) for e in found.experiments)
    yield from (f"experiment {number} is there {n} times" for number, n in numbers.items() if n > 1)


def not_overspent(found: Evidence, lab: CrashLab) -> Iterator[str]:
    """7: budget and bottles."""
    for campaign, wanted in lab.wanted.items():
        if len(found.numbers(campaign)) > wanted:
            yield f"{campaign}: {len(found.numbers(campaign))} experiments, the budget is {wanted}"
    bottles = Counter((lot.component, lot.supplier_lot) for lot in found.lots.values())
    yield from (f"bottle {bottle} is on record {n} times" for bottle, n in bottles.items() if n > 1)
    used: Counter[str] = Counter()
    for i in found.ingredients:
        used[i.lot_id] += i.weighed_mg  # type: ignore[assignment]
    yield from (
        f"{id}: {mg} mg taken of {found.lots[id].amount_mg}" for id, mg in used.items() if mg > found.lots[id].amount_mg
    )


def one_master(found: Evidence, _: CrashLab) -> Iterator[str]:
    """8: all leases are back, each sample took one step after the other at one site, and none a place that was taken."""
    yield from (f"{instrument} is still leased" for instrument in found.held)
    ordered = sorted(found.runs, key=lambda r: (r["started"], r["machine"]))
    yield from out_of_order(found, ordered)
    for bench in ("1", "2"):
        yield from pushed_out(r for r in ordered if r["machine"] in (f"thermostat-{bench}", f"analyser-{bench}"))


def pushed_out(runs: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Nobody took the thermostat away while its vial was still measured."""
    for block, after in pairwise(runs):
        if after["machine"].startswith("analyser") and after["sample"] != block["sample"]:
            yield f"{after['label']} was measured while the thermostat held {block['sample']}"


def out_of_order(found: Evidence, runs: list[dict[str, Any]]) -> Iterator[str]:
    """Steps of a sample in another order than its recipe's, or at two sites."""
    steps = {e.id: [s["name"] for s in e.plan["steps"]] for e in found.experiments}
    for job_ids in found.acts_of_samples(runs).values():
        jobs = [found.jobs[id] for id in job_ids]
        order = [steps[job.experiment_id].index(job.step) for job in jobs]
        if order != sorted(order):
            yield f"{jobs[0].sample_id} took its steps as {job_ids}"
        sites = {found.run_of(id)["machine"][-2:] for id in job_ids if "furnace" not in found.run_of(id)["machine"]}  # type: ignore[index]
        if len(sites) > 1 and "-2" in sites:
            yield f"{jobs[0].sample_id} was at two sites: {job_ids}"


def course(found: Evidence) -> str:
    """10: digest of all that was proposed and measured, in order; the same for the same campaign."""
    lines = [f"{c.id} {sorted(c.fractions.items())} {c.origin_of_proposal} {c.predicted!r}" for c in found.candidates]
    lines += [
        f"{m.job_id} {m.quantity} {m.value!r}" for m in sorted(found.measurements, key=lambda m: (m.job_id, m.quantity))
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
