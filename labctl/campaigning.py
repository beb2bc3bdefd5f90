"""Campaign rows: written when a file is launched, moved when a person wishes something else."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from campaigns.campaign_faults import VARIED, WANTED
from campaigns.campaign_file import read_campaign
from campaigns.checks import Check
from campaigns.demands import against_lab
from campaigns.likeness import unmatched
from campaigns.plan import Plan
from campaigns.sites import site_faults
from campaigns.spec import Spec
from campaigns.toml_file import Fault, shown
from labctl import optimizers, registration, wiring
from materials_db import looking
from materials_db import records as db
from materials_db.errors import ConflictError

if TYPE_CHECKING:
    from labctl.wiring import Lab
    from materials_db.store import Transaction

UNFINISHED = ("created", "running", "paused")


def validate(lab: Lab, path: Path) -> tuple[Spec, str]:
    """The campaign file, checked alone and against the lab. Raises FileFaults with all that is wrong."""
    able = lab.capabilities()
    alone = (
        Check(library_faults, frozenset({"optimizer"})),
        Check(partial(prior_faults, lab), VARIED | WANTED | {"optimizer"}),
    )
    ways: Check[Spec] = Check(lambda spec: site_faults(spec, able, lab.file.site_of), VARIED | {"recipe"})
    return read_campaign(path, further=[[*against_lab(able, lab.file.formulas), *alone], [ways]])


def library_faults(spec: Spec) -> list[Fault]:
    """The optimizer's library is not installed."""
    name = spec.optimizer.name
    problem = optimizers.missing_library(name)
    hint = f"pip install 'labctl[{name}]', or write name = \"bayesian\""
    return (
        [Fault(message=problem, key="optimizer.name", value=shown(name), hint=hint, code="LAB-0235")] if problem else []
    )


def prior_faults(lab: Lab, spec: Spec) -> list[Fault]:
    """Earlier campaigns that this lab's database does not hold, or that cannot be compared with this one."""
    wanted = spec.optimizer.prior_ids
    known = campaigns_on_record(lab) if wanted else []
    missing = [
        Fault(
            message=f"this lab has no campaign {id!r}",
            key="optimizer.prior_campaigns",
            hint=f"it has {', '.join(known)}" if known else "it has none yet",
            code="LAB-0237",
        )
        for id in wanted
        if id not in known
    ]
    return missing or [fault for id in wanted for fault in likeness_faults(lab, spec, id)]


def likeness_faults(lab: Lab, spec: Spec, id: str) -> list[Fault]:
    """What an earlier campaign calls the same as this one, and cannot be compared."""
    with lab.store.transaction() as tx:
        plan = Plan.of(tx.get(db.Campaign, id))
    return [
        Fault(
            message=f"{id} cannot be learned from: {problem}",
            key="optimizer.prior_campaigns",
            hint="leave it out, or give this campaign's own another name",
            code="LAB-0239",
        )
        for problem in unmatched(spec.space, spec.wanted, plan.space, plan.objective)
    ]


def campaigns_on_record(lab: Lab) -> list[str]:
    """Ids of all campaigns; a database that is not there yet is not made for that."""
    if not looking.there(lab.glance_path):
        return []
    with lab.store.transaction() as tx:
        return [c.id for c in tx.find(db.Campaign)]


def create_or_find(lab: Lab, path: Path, *, fresh: bool = False) -> str:
    """Id of the unfinished campaign started from this very file, else of a new one.

    Starting the same file again after a crash goes on with it; `fresh` starts another.
    """
    spec, text = validate(lab, path)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    clock = lab.clock()
    with lab.store.transaction() as tx:
        known = [] if fresh else tx.find(db.Campaign, file_sha256=sha256, state=UNFINISHED, newest_first=True)
        if known:
            id = known[0].id
        else:
            id = f"C-{tx.next_number('C'):04d}"
            tx.add(
                db.Campaign(
                    id=id,
                    name=spec.campaign.name,
                    file_text=text,
                    file_sha256=sha256,
                    spec=spec.json(),
                    seed=spec.campaign.seed,
                    priority=spec.campaign.priority,
                    due_at=spec.campaign.due,
                    versions=wiring.versions(),
                    created_at=clock.now(),
                    created_by=wiring.actor(),
                    origin=lab.file.origin,
                    state="running",
                ),
                at=clock.now(),
                actor=wiring.actor(),
            )
    if known:
        wish(lab, id, "run")
    return id


def wish(lab: Lab, campaign_id: str, wanted: str) -> None:
    """Write down what a person wants of a campaign: run, pause, stop or abort.

    Raises
    ------
    ConflictError
        The campaign has ended, so there is nothing left to want.
    """
    at = lab.clock().now()
    with lab.store.transaction() as tx:
        campaign = tx.get(db.Campaign, campaign_id)
        refuse_ended(campaign)
        if wanted == "run":
            registration.register_stock(tx, lab.file, at)  # it may have rested for want of a bottle
        apply_wish(tx, campaign, wanted, at)


def refuse_ended(campaign: db.Campaign) -> None:
    """Raise ConflictError for a campaign of which nothing can be wanted any more."""
    if campaign.state not in UNFINISHED:
        raise ConflictError(
            f"{campaign.id} is {campaign.state}: {campaign.reason}."
            f" To start its file again as a new campaign: labctl campaign run FILE --fresh"
        )


def reschedule(lab: Lab, campaign_id: str, **changes: Any) -> None:
    """Serve a campaign earlier or later than others: its `priority`, or when it is due (`due_at`).

    Raises
    ------
    ConflictError
        The campaign has ended.
    """
    with lab.store.transaction() as tx:
        refuse_ended(tx.get(db.Campaign, campaign_id))
        tx.move(db.Campaign, campaign_id, at=lab.clock().now(), actor=wiring.actor(), **changes)


def apply_wish(tx: Transaction, campaign: db.Campaign, wanted: str, at: Any) -> None:
    """A paused campaign that should run or stop must be running for a worker to adopt it."""
    wakes = campaign.state != "running" and wanted != "pause"
    changes: dict[str, Any] = {"state": "running", "reason": ""} if wakes else {}
    if campaign.state == "running" and campaign.wanted == "run" and wanted != "run":
        changes["reason"] = ""  # what its next experiment waited for is not why it ends
    abort, wanted = wanted == "abort", "stop" if wanted == "abort" else wanted
    if campaign.abort is not abort:  # also back: a later stop must not break off what an earlier abort would have
        changes["abort"] = abort
    if campaign.wanted != wanted or changes:
        tx.move(db.Campaign, campaign.id, at=at, actor=wiring.actor(), was=[campaign.state], wanted=wanted, **changes)


def pausing(lab: Lab, campaign_id: str) -> str:
    """What a campaign finishes before it rests, and until when; on one line."""
    from campaigns import remaining

    now = lab.clock().now()
    with lab.store.transaction() as tx:
        paused = tx.get(db.Campaign, campaign_id).state == "paused"
        count, jobs = remaining.under_way(tx, campaign_id)
    if paused:
        return f"{campaign_id} is paused."
    if not count:
        return f"Pausing {campaign_id}: nothing is under way, but for what is being proposed at this moment."
    what = "1 experiment under way is" if count == 1 else f"{count} experiments under way are"
    until = remaining.earliest_end(jobs, lab.capabilities(), now)
    return f"Pausing {campaign_id}: {what} finished first, at the earliest by {until:%a %d %b %H:%M} lab time."


def in_words(spec: Spec) -> str:
    """A campaign file in one sentence."""
    from materials_db.merit import Merit

    varied = ", ".join(spec.space.names) or "a list of candidates"
    limits = [f"{spec.budget.experiments} experiments"] if spec.budget.experiments else []
    limits += [f"{spec.budget.time / 3600:g} h of lab time"] if spec.budget.time else []
    limits += [f"{spec.budget.money:g} EUR"] if spec.budget.money else []
    limits += [f"{mg / 1000:g} g of {name}" for name, mg in spec.budget.stock.items()]
    limits += [f"{s / 3600:g} h of {name}" for name, s in spec.budget.instrument_time.items()]
    tray = spec.optimizer.tray
    pace = f"in trays of {tray.size}" if tray else f"{spec.optimizer.in_flight} at a time"
    return f"{Merit.of(spec.json()).words} over {varied}; at most {' or '.join(limits)}, {pace}"


def spent(lab: Lab, id: str) -> list[str]:
    """What a campaign has used of its budgets, and promised, in words."""
    from campaigns.budget import standing
    from campaigns.history import History
    from campaigns.plan import Plan

    with lab.store.transaction() as tx:
        plan = Plan.of(tx.get(db.Campaign, id))
        history = History.of(id, plan)
        if standing(plan.limits, history.used):
            history.refresh(tx)
    return standing(plan.limits, history.used)


def dry_run(lab: Lab, path: Path) -> str:
    """What running this file would do, use up and take."""
    spec, _ = validate(lab, path)
    composition = spec.space.composition
    count = spec.budget.experiments
    lines = [f"would run {path.name}: {in_words(spec)}"]
    for step in spec.recipe.steps:
        able = [n for n, c in lab.capabilities().items() if any(x.name == step.capability for x in c)]
        lines.append(f"  {step.name}: {step.capability} on {' or '.join(able)}")
    if count and composition:
        lines.append(
            f"  feedstock: {count} x {spec.recipe.batch / 1000:g} g = {count * spec.recipe.batch / 1000:g} g in all"
        )
    lines.append("nothing was started")
    return "\n".join(lines)
