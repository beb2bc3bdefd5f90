"""What people are asked, and what follows from their answers.

Two kinds of question: a step of a recipe that needs hands, and an act of which neither the
machine nor its record can tell whether it happened. The first is a job like any other, whose
instrument is a person; the second holds one sample until somebody has looked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from campaigns import results, shelf, tray_results
from campaigns.errors import CampaignError
from instruments.contract import Fault, JobStatus
from instruments.people import Answer, Entry, Question
from materials_db import records as db
from materials_db.errors import ConflictError
from materials_db.store import MaterialsStore, Transaction

ACTOR = "labctl"
HELD = ("in_doubt", "parked")  #: questions for whose answer a sample is held
Offload = Callable[[Callable[[], Any]], Awaitable[Any]]


class TaskError(CampaignError):
    """An answer that does not fit its question; nothing was written."""


class StoreBoard:
    """The board of `instruments.people`, kept in the materials database.

    Parameters
    ----------
    offload
        How blocking database work is run beside the event loop.
    """

    def __init__(self, store: Callable[[], MaterialsStore], offload: Offload) -> None:
        self.store, self.offload = store, offload

    async def _within(self, work: Callable[..., Any], *args: Any) -> Any:
        def commit() -> Any:
            with self.store().transaction() as tx:
                return work(tx, *args)

        return await self.offload(commit)

    async def ask(self, question: Question, at: datetime) -> None:
        await self._within(ask, question, at)

    async def asked_at(self, job_id: str) -> datetime | None:
        found = await self._within(of_job, job_id)
        return found.asked_at if found else None

    async def answer(self, job_id: str) -> Answer | None:
        found = await self._within(of_job, job_id)
        return answer_of(found) if found else None

    async def withdrawn(self, job_id: str) -> bool:
        found = await self._within(of_job, job_id)
        return found is not None and found.state == "withdrawn"

    async def reply(self, job_id: str, answer: Answer) -> None:
        await self._within(reply, job_id, answer)

    async def withdraw(self, job_id: str, at: datetime) -> None:
        await self._within(withdraw, job_id, at)


def of_job(tx: Transaction, job_id: str) -> db.Task | None:
    """The step that this act asks of a person; one on several samples is kept with the first of them."""
    found = tx.find(
        db.Task, job_id=members(tx, job_id)[0].id, question="step", order="asked_at", newest_first=True, limit=1
    )
    return found[0] if found else None


def members(tx: Transaction, act: str) -> list[db.Job]:
    """The jobs of an act: one, or those of a tray."""
    return tx.find(db.Job, tray=act) or [tx.get(db.Job, act)]


def ask(tx: Transaction, question: Question, at: datetime) -> None:
    """Put a step up, once; its jobs wait for a person from then on."""
    if of_job(tx, question.job_id):
        return
    jobs = members(tx, question.job_id)
    prompt = {"text": question.text, "fields": [e.model_dump(mode="json") for e in question.entries]}
    new_task(tx, "step", jobs[0].id, question.instrument, question.samples, question.title, prompt, at)
    for job in jobs:
        if job.state == "running":
            tx.move(db.Job, job.id, at=at, actor=ACTOR, was=["running"], state="waiting_human")


def new_task(
    tx: Transaction,
    kind: str,
    job_id: str,
    instrument: str,
    samples: Sequence[str],
    title: str,
    prompt: Mapping[str, Any],
    at: datetime,
) -> None:
    """One more row for people."""
    task = db.Task(
        id=f"T-{tx.next_number('T'):05d}",
        question=kind,
        job_id=job_id,
        instrument=instrument,
        samples=list(samples),
        title=title,
        prompt=dict(prompt),
        asked_at=at,
    )
    tx.add(task, at=at, actor=ACTOR)


def doubt(tx: Transaction, job: db.Job, instrument: str, why: str, at: datetime) -> None:
    """Ask whether an act happened, once per job."""
    if tx.find(db.Task, job_id=job.id, question="in_doubt"):
        return
    title = f"did {instrument} carry out {job.step} on {job.sample_id}?"
    text = f"{instrument} cannot tell whether {job.sample_id} had its {job.capability} ({job.run}): {why}. Look at the sample."
    new_task(tx, "in_doubt", job.id, instrument, [job.sample_id], title, {"text": text, "fields": []}, at)


def park(tx: Transaction, job: db.Job, instrument: str, status: JobStatus, at: datetime) -> None:
    """Ask what shall become of a sample whose step failed, once per job."""
    if tx.find(db.Task, job_id=job.id, question="parked"):
        return
    title = f"{job.sample_id} is parked: {job.step} on {instrument} failed ({status.fault})"
    text = f"{instrument}, {job.capability}: {status.message}. See to it; then the step is tried again, or the sample is given up."
    new_task(tx, "parked", job.id, instrument, [job.sample_id], title, {"text": text, "fields": []}, at)


def break_down(tx: Transaction, experiment_id: str, why: str, at: datetime) -> dict[str, Any]:
    """Labctl itself failed at an experiment: its sample is held until a person has looked. Harmless to repeat."""
    experiment = tx.get(db.Experiment, experiment_id)
    if experiment.state not in ("planned", "running"):
        return {"verdict": experiment.state}
    unfinished = [j for j in tx.find(db.Job, experiment_id=experiment_id) if j.state not in results.FINAL]
    order = [s["name"] for s in experiment.plan["steps"]]
    job = min(unfinished, key=lambda j: order.index(j.step))
    begun = job.state in ("running", "waiting_human")
    name = tx.get(db.Instrument, job.instrument_id).name if job.instrument_id else ""
    tx.move(
        db.Job, job.id, at=at, actor=ACTOR, was=[job.state],
        state="in_doubt" if begun else "failed", fault=None if begun else Fault.UNKNOWN.value, message=why, ended_at=at,
    )  # fmt: skip
    title = f"{job.sample_id} is held: labctl broke down at {job.step}"
    text = f"labctl broke down at {job.capability} for {job.sample_id} ({job.run}): {why}. Look at the sample"
    text += f" and at {name}: did it happen?" if begun else "; the step is tried again, or the sample is given up."
    new_task(
        tx, "in_doubt" if begun else "parked", job.id, name, [job.sample_id], title, {"text": text, "fields": []}, at
    )
    results.end_experiment(tx, experiment_id, "held", f"{job.step}: labctl broke down: {why}", at)
    freed = [[name, job.tray]] if job.tray and tray_results.clear_tray(tx, job.tray, name) else []
    results.release_all(tx, experiment_id)
    return {"verdict": "held", "trays": freed}


def answer_of(task: db.Task) -> Answer | None:
    """The answer of a step."""
    if task.state not in ("done", "failed") or task.answered_at is None:
        return None
    return Answer(
        by=task.answered_by,
        at=task.answered_at,
        done=task.state == "done",
        note=task.answer.get("note", ""),
        values=task.answer.get("values", {}),
        lost=task.answer.get("lost", {}),
    )


def reply(tx: Transaction, job_id: str, answer: Answer) -> None:
    """Write the answer of a step down, unless there is one."""
    task = of_job(tx, job_id)
    if task is not None and task.state == "open":
        write(tx, task, answer)


def write(tx: Transaction, task: db.Task, answer: Answer, **more: Any) -> None:
    """The answer, with the person's name."""
    tx.move(
        db.Task, task.id, at=answer.at, actor=answer.by, was=["open"], state="done" if answer.done else "failed",
        answer={"note": answer.note, "values": answer.values, "lost": answer.lost, **more}, answered_by=answer.by, answered_at=answer.at,
    )  # fmt: skip


def withdraw(tx: Transaction, job_id: str, at: datetime) -> None:
    """Take a question down that nobody has answered."""
    for task in tx.find(db.Task, job_id=members(tx, job_id)[0].id, state="open"):
        tx.move(db.Task, task.id, at=at, actor=ACTOR, was=["open"], state="withdrawn")


# -- answers from the terminal ---------------------------------------------------------------


def respond(
    tx: Transaction, task_id: str, answer: Answer, *, samples: Sequence[str] = (), happened: bool | None = None
) -> str:
    """A person's answer; what follows from it, in words.

    Parameters
    ----------
    samples
        Ids as they were typed or scanned: they must be the ones that are asked about.
    happened
        For a question in doubt: whether the act took place.

    Raises
    ------
    TaskError
        The samples are not named or are others, a value is missing, unknown or out of range, or the question is of
        another kind.
    ConflictError
        It was answered already, or the sample cannot go on: its campaign has ended, or what a dosing needs is others'.
    """
    task = tx.get(db.Task, task_id)
    check_open(task)
    check_samples(task, samples)
    check_kind(task, answer, happened)
    check_values(task, answer)
    if task.question in HELD and answer.done:
        check_goes_on(tx, task)
    if task.question == "in_doubt":
        write(tx, task, answer, happened=happened)
        return settle(tx, task, answer, happened)
    write(tx, task, answer)
    if task.question == "parked":
        return unpark(tx, task, answer)
    kept = [sample for sample in task.samples if answer.done and sample not in answer.lost]
    given_up = [sample for sample in task.samples if sample not in kept]
    return "; ".join(
        f"{', '.join(them)} {words[len(them) > 1]}"
        for them, words in ((kept, ("goes on", "go on")), (given_up, ("is given up", "are given up")))
        if them
    )


def check_open(task: db.Task) -> None:
    """It is still asked."""
    if task.state == "withdrawn":
        raise ConflictError(f"{task.id} was withdrawn: nothing is asked any more; nothing was written")
    if task.state != "open":
        raise ConflictError(
            f"{task.id} was answered already, by {task.answered_by} ({task.state}); nothing was written"
        )


def check_goes_on(tx: Transaction, task: db.Task) -> None:
    """There is a campaign with which the sample can go on."""
    campaign = campaign_of(tx, tx.get(db.Job, task.job_id))
    if campaign.state not in ("running", "paused"):
        sample = ", ".join(task.samples)
        hint = f"give it up with: labctl task fail {task.id} --sample ID --reason WHY"
        raise ConflictError(f"{campaign.id} has ended ({campaign.state}): {sample} cannot go on; {hint}")


def campaign_of(tx: Transaction, job: db.Job) -> db.Campaign:
    """The campaign that wants a job done."""
    return tx.get(db.Campaign, tx.get(db.Experiment, job.experiment_id).campaign_id)


def check_samples(task: db.Task, typed: Sequence[str]) -> None:
    """The person has the right thing in hand. The id is not told to who did not give it: it shall be read off the label."""
    if not typed:
        each = "the sample in hand" if len(task.samples) == 1 else f"each of its {len(task.samples)} samples"
        raise TaskError(f"{task.id} needs the label of {each}, typed or scanned: --sample ID; nothing was written")
    if {labelled(s) for s in typed} != set(task.samples):
        raise TaskError(
            f"{task.id} is about {', '.join(task.samples)}, not {', '.join(typed)}: check the label; nothing was written"
        )


def labelled(typed: str) -> str:
    """A sample's id as labels bear it: ``s-12`` is S-00012."""
    text = typed.strip().upper()
    digits = text.removeprefix("S-")
    return f"S-{int(digits):05d}" if text.startswith("S-") and digits.isascii() and digits.isdigit() else text


def check_kind(task: db.Task, answer: Answer, happened: bool | None) -> None:
    """What is answered is what was asked."""
    if task.question == "in_doubt" and answer.done and happened is None:
        raise TaskError(f"{task.id} asks whether it happened; say --happened or --not-started, or: labctl task fail")
    if task.question != "in_doubt" and happened is not None:
        raise TaskError(f"{task.id} is no question in doubt: --happened and --not-started belong to those")
    if answer.lost and task.question != "step":
        raise TaskError(f"{task.id} is about one held sample; if that is lost: labctl task fail {task.id}")
    if strange := sorted(set(answer.lost) - set(task.samples)):
        raise TaskError(f"{task.id} is about {', '.join(task.samples)}, not {', '.join(strange)}")


def check_values(task: db.Task, answer: Answer) -> None:
    """All fields, nothing else, within their ranges."""
    fields = {f["name"]: Entry.model_validate(f) for f in task.prompt.get("fields", [])}
    for name, value in answer.values.items():
        field = fields.get(name)
        if field is None:
            raise TaskError(f"{task.id} does not ask for {name!r}; it asks for {', '.join(fields) or 'no values'}")
        if not field.low <= value <= field.high:
            unit = "" if field.unit == "1" else f" {field.unit}"
            raise TaskError(f"{name} = {value:g}{unit} is outside {field.low:g} to {field.high:g}{unit}")
    missing = [
        f.name if f.unit == "1" else f"{f.name} in {f.unit}" for f in fields.values() if f.name not in answer.values
    ]
    if missing and answer.done:
        raise TaskError(f"{task.id} asks for {', '.join(missing)}; add --value {next(iter(fields))}=NUMBER")


def settle(tx: Transaction, task: db.Task, answer: Answer, happened: bool | None) -> str:
    """A held sample goes on, or is given up; what was said, in words."""
    job, at = tx.get(db.Job, task.job_id), answer.at
    words = f"{answer.by} says: {'it happened' if happened else 'it never began' if answer.done else 'lost'}"
    words += f", {answer.note}" if answer.note else ""
    if not answer.done:
        tx.move(
            db.Job, job.id, at=at, actor=answer.by, was=["in_doubt"],
            state="failed", fault="operator", message=words, ended_at=at,
        )  # fmt: skip
        results.end_experiment(tx, job.experiment_id, "failed", f"{job.step}: {words}", at)
        return f"{job.sample_id} is given up"
    state, fault = ("done", None) if happened else ("failed", "transport")
    tx.move(
        db.Job, job.id, at=at, actor=answer.by, was=["in_doubt"], state=state, fault=fault, message=words, ended_at=at
    )
    if not happened:
        shelf.settle(tx, tx.get(db.Job, job.id))
    tx.move(
        db.Experiment,
        job.experiment_id,
        at=at,
        actor=answer.by,
        was=["held"],
        state="running",
        ended_at=None,
        outcome="",
    )
    if happened and not results.measures(tx, job):
        results.go_on(tx, *results.job_and_step(tx, job.id), at)
        return carry_on(tx, job, answer)
    results.from_the_hold(tx, job, at)
    return carry_on(tx, job, answer) + ("; its values are lost, so it is measured again" if happened else "")


def unpark(tx: Transaction, task: db.Task, answer: Answer) -> str:
    """A parked sample tries its step again, or is given up; what follows, in words."""
    job = tx.get(db.Job, task.job_id)
    if not answer.done:
        words = f"{job.step}: given up by {answer.by}" + (f", {answer.note}" if answer.note else "")
        results.end_experiment(tx, job.experiment_id, "failed", words, answer.at)
        return f"{job.sample_id} is given up"
    tx.move(
        db.Experiment, job.experiment_id, at=answer.at, actor=answer.by, was=["held"],
        state="running", ended_at=None, outcome="",
    )  # fmt: skip
    results.from_the_hold(tx, job, answer.at)
    return carry_on(tx, job, answer)


def carry_on(tx: Transaction, job: db.Job, answer: Answer) -> str:
    """See that the campaign takes the sample up again."""
    campaign = campaign_of(tx, job)
    if campaign.state == "running":
        return f"{job.sample_id} goes on"
    if campaign.state == "paused" and campaign.wanted == "run":
        tx.move(
            db.Campaign, campaign.id, at=answer.at, actor=answer.by, was=["paused"],
            state="running", reason="", ended_at=None,
        )  # fmt: skip
        return f"{job.sample_id} goes on as soon as a worker serves this lab: labctl campaign resume {campaign.id}"
    return f"{job.sample_id} waits: {campaign.id} is {campaign.state}; labctl campaign resume {campaign.id}"


def give_up_held(tx: Transaction, campaign_id: str, at: datetime) -> None:
    """A campaign that is stopped asks nobody any more: its held samples end, their questions are withdrawn."""
    for experiment in tx.find(db.Experiment, campaign_id=campaign_id, state="held"):
        for task in tx.find(db.Task, question=HELD, state="open"):
            if task.job_id.split("/")[0] == experiment.id:
                tx.move(db.Task, task.id, at=at, actor=ACTOR, was=["open"], state="withdrawn")
        results.end_experiment(tx, experiment.id, "aborted", f"campaign stopped; {experiment.outcome}", at)


def open_doubts(tx: Transaction, campaign_id: str) -> list[str]:
    """Samples of this campaign that wait for a person's answer."""
    held = {e.id for e in tx.find(db.Experiment, campaign_id=campaign_id, state="held")}
    tasks = tx.find(db.Task, question=HELD, state="open") if held else []
    return [s for t in tasks for s in t.samples if t.job_id.split("/")[0] in held]
