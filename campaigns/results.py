"""How a job begins and ends in the database. Each function is one transaction's work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from campaigns import experiment as rules
from campaigns import shelf
from campaigns.engine import Json
from campaigns.policy import Policy
from campaigns.trays import mates
from campaigns.weighing import actual_fractions
from instruments.contract import JobRequest, JobResult, JobStatus, SampleAt
from instruments.contract import JobState as AtInstrument
from instruments.crashpoint import crashpoint
from materials_db import records as db
from materials_db.sites import SHIP
from materials_db.store import Transaction

ACTOR = "labctl"
FINAL = ("done", "failed", "aborted", "in_doubt")
BEGUN = ("running", "waiting_human")
STATE = {
    "done": "done", "again": "failed", "failed": "failed", "held": "in_doubt", "parked": "failed", "aborted": "aborted",
}  # fmt: skip
EXPERIMENT_STATE = {"failed": "failed", "held": "held", "parked": "held", "aborted": "aborted"}


def job_and_step(tx: Transaction, job_id: str) -> tuple[db.Job, dict[str, Any]]:
    """The job, and what the experiment's plan says about its step."""
    job = tx.get(db.Job, job_id)
    plan = tx.get(db.Experiment, job.experiment_id).plan
    return job, next(s for s in plan["steps"] if s["name"] == job.step)


def request_of(job: db.Job) -> JobRequest:
    """What an instrument is asked for a job that shares its run with no other."""
    return JobRequest(
        job_id=job.id, capability=job.capability, params=job.params, samples=(SampleAt(sample_id=job.sample_id),)
    )


def route(tx: Transaction, job_id: str) -> tuple[dict[str, Any], Json | None]:
    """Where the job may run, from its experiment's plan; and its answer, if it had ended before a crash."""
    job, step = job_and_step(tx, job_id)
    experiment = tx.get(db.Experiment, job.experiment_id)
    place = {
        **step,
        "tried": sorted(tried(tx, job)),
        "capability": job.capability,
        "campaign": experiment.campaign_id,
        "mates": mates(experiment.campaign_id, experiment.plan),
        "tray": job.tray,
        "ready_at": ready_at(tx, job),
    }
    return place, answer(tx, job) if job.state in FINAL else None


def ready_at(tx: Transaction, job: db.Job) -> datetime:
    """Since when a job waits for its turn: since the step before it ended."""
    ended = [before.ended_at for before in tx.find(db.Job, experiment_id=job.experiment_id) if before.ended_at]
    return max([job.queued_at, *ended])


def tried(tx: Transaction, job: db.Job) -> set[str]:
    """Instruments on which earlier tries of this step failed, where the next try shall be on another one."""
    if job.attempt == 1:
        return set()
    earlier = tx.find(db.Job, experiment_id=job.experiment_id, step=job.step, state="failed")
    rows = [j.instrument_id for j in earlier if j.instrument_id and "another" in j.as_run.get("next", "")]
    return {tx.get(db.Instrument, row).name for row in rows}


def start(
    tx: Transaction,
    job_id: str,
    instrument: str,
    instrument_id: str | None,
    *,
    at: datetime,
    takes_s: float,
    site: str | None = None,
) -> tuple[str, int, Json | None]:
    """Take the lease and mark the job as running; where it runs and the lease's fence, 0 while it is not to be had (`lease`).

    A job that has begun stays where it did, whatever instrument is handed in. An answer instead if the campaign
    was stopped, or the job has ended.
    """
    job = tx.get(db.Job, job_id)
    if job.state in FINAL:  # written before, by a commit whose answer was lost
        return instrument, 0, answer(tx, job)
    if job.state in BEGUN:
        place = begun_on(tx, job)
        return place.instrument, place.fence, None
    experiment = tx.get(db.Experiment, job.experiment_id)
    if tx.get(db.Campaign, experiment.campaign_id).wanted == "stop":
        return instrument, 0, abort(tx, job, at)
    taken = lease(tx, instrument, experiment.id, at)
    if taken is None:
        return instrument, 0, None
    tx.move(
        db.Job, job.id, at=at, actor=ACTOR, was=["planned", "queued"],
        state="running", instrument_id=instrument_id, started_at=at, due_at=at + timedelta(seconds=takes_s),
    )  # fmt: skip
    begin(tx, experiment, site, at)
    return instrument, taken.fence, None


def begun_on(tx: Transaction, job: db.Job) -> db.Lease:
    """The lease on which a job has begun: of an earlier process, or of one that took control from this one."""
    _, step = job_and_step(tx, job.id)
    return next(has for has in tx.leases() if has.holder == job.experiment_id and has.instrument in step["instruments"])


def lease(tx: Transaction, instrument: str, holder: str, at: datetime) -> db.Lease | None:
    """The lease of an instrument; None while another worker's experiment has it, or a hold keeps new work away.

    The record decides, not the worker's last look at it: once `labctl stop` or a hold has answered, nothing begins.
    """
    has, held = standing(tx, instrument)
    return None if held and has != holder else tx.claim(instrument, holder, at=at)


def standing(tx: Transaction, instrument: str) -> tuple[str | None, bool]:
    """Who has the lease of an instrument, and whether a hold keeps new work away."""
    has = next((known.holder for known in tx.leases() if known.instrument == instrument), None)
    return has, bool(tx.find(db.Hold, instrument=instrument, state="active", mode="hold", limit=1))


def begin(tx: Transaction, experiment: db.Experiment, site: str | None, at: datetime) -> None:
    """The first step begins: its site has claimed the experiment."""
    claim: dict[str, Any] = {"site": site} if experiment.site is None and site is not None else {}
    if experiment.state == "planned":
        claim |= {"state": "running", "started_at": at}
    if claim:
        tx.move(db.Experiment, experiment.id, at=at, actor=ACTOR, was=["planned", "running"], **claim)


def registered(tx: Transaction, name: str) -> str | None:
    """Id of the newest row of an instrument that another host drives; None until that host has ever run."""
    rows = tx.find(db.Instrument, order="registered_at", newest_first=True, limit=1, name=name)
    return rows[0].id if rows else None


def call_off(tx: Transaction, job_id: str, at: datetime) -> Json:
    """What follows for a job whose wait was called off."""
    job = tx.get(db.Job, job_id)
    return answer(tx, job) if job.state in FINAL else abort(tx, job, at)


def wanted(tx: Transaction, job: db.Job) -> bool:
    """Whether the job's campaign still wants it."""
    return tx.get(db.Campaign, tx.get(db.Experiment, job.experiment_id).campaign_id).wanted != "stop"


def called_off(tx: Transaction, job_ids: Sequence[str]) -> bool:
    """Whether the campaigns of all these jobs were stopped."""
    return not any(wanted(tx, tx.get(db.Job, id)) for id in job_ids)


def abort(tx: Transaction, job: db.Job, at: datetime) -> Json:
    """The campaign was stopped before this job began: nothing more is made of this sample."""
    tx.move(
        db.Job, job.id, at=at, actor=ACTOR, was=["planned", "queued"],
        state="aborted", message="campaign stopped", ended_at=at,
    )  # fmt: skip
    end_experiment(tx, job.experiment_id, "aborted", "campaign stopped", at)
    return {"verdict": "aborted", "released": release_all(tx, job.experiment_id)}


def tell(tx: Transaction, job_id: str, message: str, at: datetime) -> None:
    """Why a running job does not get on, for those who watch."""
    if tx.get(db.Job, job_id).message != message:
        tx.move(db.Job, job_id, at=at, actor=ACTOR, message=message)


def answer(tx: Transaction, job: db.Job) -> Json:
    """What `finish` said of a job that had ended before a crash, or by a commit whose answer was lost."""
    released = [lease.instrument for lease in tx.leases() if lease.holder != job.experiment_id]
    later = tx.find(db.Job, id=next_attempt_id(job))
    if later:
        return {"verdict": "again", "job": later[0].id, "released": released}
    if job.state == "done":
        return {"verdict": "done", "released": released}
    if job.state == "in_doubt":
        return {"verdict": "held", "released": released}
    if tx.get(db.Experiment, job.experiment_id).state == "held":
        return {"verdict": "held", "released": released}
    return {"verdict": "aborted" if job.state == "aborted" else "failed", "released": released}


def finish(
    tx: Transaction,
    job_id: str,
    instrument: str,
    status: JobStatus,
    result: JobResult | None,
    *,
    physical: bool,
    instrument_id: str,
    at: datetime,
    lab_failures: Mapping[str, Any],
) -> Json:
    """Write all that the job left behind, and what follows from it. Harmless to repeat."""
    job, step = job_and_step(tx, job_id)
    if job.state in FINAL:
        return answer(tx, job)
    policy = policy_of(tx, job, lab_failures)
    verdict = rules.judge(status, tries=tries(tx, job), physical=physical, policy=policy)
    raw_ids = store_result(tx, job, result, instrument_id, at) if result is not None else []
    tx.move(
        db.Job, job.id, at=at, actor=ACTOR, was=["running", "waiting_human"],
        state=STATE[verdict], fault=status.fault.value if status.fault and verdict != "done" else None,
        message=status.message, device_run_id=status.run_id, as_run=as_run(result, raw_ids, verdict, policy, status),
        instrument_id=job.instrument_id or instrument_id, ended_at=status.ended_at or at,
    )  # fmt: skip
    shelf.settle(tx, tx.get(db.Job, job.id))
    crashpoint("rows about to commit")
    if verdict == "again":
        return {"verdict": "again", "job": plan_again(tx, job, at), "released": []}
    if verdict == "done":
        return {"verdict": "done", "released": go_on(tx, job, step, at)}
    reason = f"{job.step} on {instrument}: {status.message or status.fault or status.state}"
    end_experiment(tx, job.experiment_id, EXPERIMENT_STATE[verdict], reason, at)
    if verdict == "failed" and policy.action(status.fault) == "stop":
        stop_campaign(tx, job, reason, at)
    return {"verdict": verdict, "released": release_all(tx, job.experiment_id)}


def as_run(
    result: JobResult | None, raw_ids: Sequence[str], verdict: str, policy: Policy, status: JobStatus
) -> dict[str, Any]:
    """Facts of the run; raw files of one that was broken off; and where the next try is to be made."""
    facts = dict(result.as_run) if result else {}
    if raw_ids and status.state is AtInstrument.ABORTED:
        facts["partial"] = list(raw_ids)
    if result and result.checks:
        facts["checks"] = [{**check.model_dump(mode="json"), "zeta": check.zeta} for check in result.checks]
    if verdict == "again" and policy.action(status.fault) == "other":
        facts["next"] = "on another instrument"
    return facts


def policy_of(tx: Transaction, job: db.Job, lab_failures: Mapping[str, Any]) -> Policy:
    """What its campaign, and then its lab, say about failures."""
    campaign = tx.get(db.Campaign, tx.get(db.Experiment, job.experiment_id).campaign_id)
    return Policy(campaign.spec.get("failures", {}), lab_failures)


def stop_campaign(tx: Transaction, job: db.Job, reason: str, at: datetime) -> None:
    """The policy says that a failure of this kind ends the campaign."""
    campaign = tx.get(db.Experiment, job.experiment_id).campaign_id
    if tx.get(db.Campaign, campaign).wanted == "run":
        tx.move(
            db.Campaign, campaign, at=at, actor=ACTOR, wanted="stop", reason=f"{job.experiment_id} failed: {reason}"
        )


def go_on(tx: Transaction, job: db.Job, step: dict[str, Any], at: datetime) -> list[str]:
    """Queue the next step or end the experiment; the instruments given back."""
    steps = tx.get(db.Experiment, job.experiment_id).plan["steps"]
    names = [s["name"] for s in steps]
    after = names[names.index(job.step) + 1 :]
    if job.capability == SHIP:
        tx.move(db.Experiment, job.experiment_id, at=at, actor=ACTOR, site=str(job.params["site"]))
    if after:
        tries = tx.find(db.Job, experiment_id=job.experiment_id, step=after[0])
        tx.move(db.Job, max(tries, key=lambda j: j.attempt).id, at=at, actor=ACTOR, was=["planned"], state="queued")
        return release(tx, step["releases"], job.experiment_id)
    end_experiment(tx, job.experiment_id, "done", "", at)
    return release_all(tx, job.experiment_id)


def release(tx: Transaction, instruments: Sequence[str], holder: str) -> list[str]:
    """Give back the leases of those instruments that the experiment holds."""
    return [name for name in instruments if tx.release(name, holder)]


def release_all(tx: Transaction, experiment_id: str) -> list[str]:
    """Give back every lease that the experiment holds."""
    return release(tx, [lease.instrument for lease in tx.leases() if lease.holder == experiment_id], experiment_id)


def end_experiment(tx: Transaction, id: str, state: str, outcome: str, at: datetime) -> None:
    """The experiment is over, or held; jobs that it will not reach are set aside."""
    if state not in ("done", "held"):
        for job in tx.find(db.Job, experiment_id=id, state=("planned", "queued")):
            tx.move(db.Job, job.id, at=at, actor=ACTOR, state="aborted", message="not reached", ended_at=at)
    if state != "held":
        shelf.give_back(tx, id)
    tx.move(
        db.Experiment, id, at=at, actor=ACTOR, was=["planned", "running", "held"], state=state, outcome=outcome,
        ended_at=None if state == "held" else at,
    )  # fmt: skip


def tries(tx: Transaction, job: db.Job) -> int:
    """How often this step was tried, this time included; a try that never began though nothing failed is none."""
    earlier = tx.find(db.Job, experiment_id=job.experiment_id, step=job.step, state="failed") if job.attempt > 1 else []
    return job.attempt - sum(before.fault is None and before.device_run_id is None for before in earlier)


def next_attempt_id(job: db.Job) -> str:
    """Identity of the next try of the same step: a new act, so a new id."""
    return f"{job.experiment_id}/{job.step}.{job.attempt + 1}"


def from_the_hold(tx: Transaction, job: db.Job, at: datetime) -> None:
    """Plan a step again that a person has freed; where it needs an instrument that an earlier step held, from there.

    Raises ConflictError where feedstock that it needs has been promised to others.
    """
    experiment = tx.get(db.Experiment, job.experiment_id)
    steps = [s["name"] for s in experiment.plan["steps"]]
    held = {s["name"]: s.get("hold_until") for s in tx.get(db.Recipe, experiment.recipe_id).steps}
    place = steps.index(job.step)
    first = next((i for i, name in enumerate(steps[:place]) if covers(steps, held[name], place)), place)
    for i, name in enumerate(steps[first : place + 1]):
        last = max(tx.find(db.Job, experiment_id=job.experiment_id, step=name), key=lambda j: j.attempt)
        plan_again(tx, last, at, state="planned" if i else "queued", only_free=True)


def measures(tx: Transaction, job: db.Job) -> list[str]:
    """Quantities that the campaign's recipe has this step measure."""
    spec = tx.get(db.Campaign, tx.get(db.Experiment, job.experiment_id).campaign_id).spec
    return next((list(s.get("measures", [])) for s in spec["recipe"]["steps"] if s["name"] == job.step), [])


def covers(steps: Sequence[str], hold_until: str | None, place: int) -> bool:
    """Whether an instrument that is held until that step is needed at this place."""
    return hold_until is not None and steps.index(hold_until) >= place


def plan_again(tx: Transaction, job: db.Job, at: datetime, state: str = "queued", *, only_free: bool = False) -> str:
    """Write down one more try of this step; its id. `only_free`: see `shelf.promise_again`."""
    id = next_attempt_id(job)
    run = f"R-{tx.next_number('R'):05d}"
    fresh = job.model_copy(
        update={
            "id": id, "run": run, "attempt": job.attempt + 1, "state": state, "queued_at": at, "instrument_id": None,
            "fault": None, "message": "", "device_run_id": None, "as_run": {}, "started_at": None, "ended_at": None, "due_at": None,
            "tray": None,
        }
    )  # fmt: skip
    tx.add(fresh, at=at, actor=ACTOR)
    shelf.promise_again(tx, fresh, only_free=only_free)
    return id


def store_result(tx: Transaction, job: db.Job, result: JobResult, instrument_id: str, at: datetime) -> list[str]:
    """Raw files first, then what was weighed in, then what was measured; ids of the files."""
    raw_ids = [store_raw(tx, job, file, at) for file in result.raw_files]
    if rules.weighed(result):
        lots = shelf.bottles(tx)
        tx.add(*rules.ingredients(job, result, lots), *weighed_composition(tx, job, result), at=at, actor=ACTOR)
    calibrations = tx.find(db.Calibration, instrument_id=instrument_id)
    count = sum(not r.quantity.startswith(rules.MASS) for r in result.readings)
    ids = [f"M-{tx.next_number('M'):05d}" for _ in range(count)]
    tx.add(*rules.measurements(job, result, raw_ids, calibrations, ids), at=at, actor=ACTOR)
    return raw_ids


def store_raw(tx: Transaction, job: db.Job, file: Any, at: datetime) -> str:
    """Keep the bytes, and a row that says where they came from."""
    sha256 = tx.put_raw(file.content)
    crashpoint("raw file put")
    row = db.RawFile(
        id=sha256,
        name=file.name,
        media_type=file.media_type,
        size=len(file.content),
        job_id=job.id,
        stored_at=at,
    )
    tx.add(row, at=at, actor=ACTOR)
    return sha256


def weighed_composition(tx: Transaction, job: db.Job, result: JobResult) -> list[db.Composition]:
    """The composition that the weighing shows, in the basis of the campaign's space."""
    masses = {name: (r.value, r.u or 0.0) for name, r in rules.weighed(result).items()}
    if not masses:
        return []
    intended = tx.find(db.Composition, sample_id=job.sample_id, role="intended")
    if not intended:
        return []
    formulas = {c.component: c.formula for c in intended}
    basis = intended[0].basis
    fractions = actual_fractions(masses, formulas, basis)
    return rules.composition_rows(
        job.sample_id, "measured", fractions, basis=basis, formulas=formulas, method="weighed in", job_id=job.id
    )
