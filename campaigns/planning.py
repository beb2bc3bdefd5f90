"""From proposals to experiments: what each will cost, and the rows that plan it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from campaigns import budget, instrument_time, shelf
from campaigns.candidate import Candidate
from campaigns.engine import Json
from campaigns.experiment import composition_rows
from campaigns.history import History
from campaigns.optimizer import Earlier, Prices, Proposal
from campaigns.plan import Plan
from campaigns.recipe import Recipe, Step, resolve
from campaigns.sites import way_fault
from instruments.contract import Capability
from materials_db import records as db
from materials_db.store import Transaction

ACTOR = "labctl"


def choice(
    proposals: list[dict[str, Any]], end: tuple[str, str], adopted: Sequence[tuple[str, list[str]]] = ()
) -> Json:
    """What `propose` answers: what to make, and how the campaign ends once nothing is in flight.

    `adopted` are workflows of samples that were held and go on, with their jobs.
    """
    more = {"adopted": [list(a) for a in adopted]} if adopted else {}
    return {"proposals": proposals, "end": end[0], "reason": end[1], **more}


def prices(tx: Transaction) -> dict[str, float]:
    """Price of each feedstock per mg, from the newest lot that states one."""
    lots = tx.find(db.Lot, order="received_at")
    return {lot.component: lot.price_per_g / 1000 for lot in lots if lot.price_per_g is not None}


def at_hand(tx: Transaction, plan: Plan, price_per_mg: Mapping[str, float], launched_at: datetime) -> Plan:
    """The plan with what only a lab can tell: prices, and what earlier campaigns had found when this one began."""
    known = with_stated(plan, price_per_mg)
    components = {name: known.get(name, 0.0) * plan.batch_mg for name in plan.formulas}
    return replace(
        plan,
        prices=replace(plan.cost, components=components) if plan.spec.cost.aware else None,
        earlier=(*plan.spec.earlier, *(earlier(tx, id, launched_at) for id in plan.prior)),
    )


def with_stated(plan: Plan, price_per_mg: Mapping[str, float]) -> dict[str, float]:
    """What the bottles cost; of what no bottle has a price, what the campaign file states."""
    return {**plan.spec.cost.per_mg, **price_per_mg}


def earlier(tx: Transaction, campaign_id: str, until: datetime) -> Earlier:
    """An earlier campaign as it stood at that moment, so that a restart learns the same. Raises NotFoundError."""
    plan = Plan.of(tx.get(db.Campaign, campaign_id))
    history = History.of(campaign_id, plan, until=until)
    history.refresh(tx)
    return Earlier(name=campaign_id, space=plan.space, objective=plan.objective, history=history.known)


def choose(
    plan: Plan,
    history: History,
    found: Sequence[Sequence[Proposal]],
    capabilities: Mapping[str, Sequence[Capability]],
    price_per_mg: Mapping[str, float],
    shelf_mg: Mapping[str, float],
) -> Json:
    """The proposals that can be paid for, with their recipes, as they go on record; `found` are batches.

    What its own budgets refuse is the end of a campaign. What the shelf refuses is waited for, or a new bottle is.
    """
    if not any(found):
        return choice([], ("done", "no candidate is left in the space"))
    if plan.tray > 1:
        found = sorted(filter(None, found), key=lambda batch: lasts_s(plan, batch[0].candidate, capabilities))
    price_per_mg = with_stated(plan, price_per_mg)
    used, shelf_ = history.used, on_shelf(history.used, shelf_mg)
    chosen: list[dict[str, Any]] = []
    alike: Counter[tuple[Any, ...]] = Counter()
    for batch in found:
        tray = used.experiments + 1 if plan.tray > 1 else None  # trays are called by their first experiment
        for proposal in batch:
            recipe = resolve(plan.spec, proposal.candidate, capabilities)
            cost = cost_of(recipe, price_per_mg, plan.cost, proposal.candidate)
            acts, group = limited_acts(recipe, capabilities, plan), tray or used.experiments + 1
            cost = replace(cost, instrument_s=instrument_time.first_of_act(acts, alike, group, recipe.steps))
            if refusal := budget.affordable(plan.limits, used, cost):
                return {**choice(chosen, ("done", refusal)), "short": refusal}
            if refusal := budget.affordable(shelf_, used, budget.Cost(stock_mg=cost.stock_mg)):
                return {**choice(chosen, ("paused", refusal)), "short": refusal, "needs": dict(cost.stock_mg)}
            used = budget.add(used, cost)
            chosen.append(proposal_json(used.experiments, proposal, recipe, cost, history.digest, tray, acts))
            if tray_room(recipe, capabilities) > 1:
                chosen[-1]["on_trays"] = True
    return choice(chosen, ("done", "waiting for experiments in flight"))


def astray(
    plan: Plan,
    found: Sequence[Sequence[Proposal]],
    capabilities: Mapping[str, Sequence[Capability]],
    site_of: Mapping[str, str],
) -> dict[Candidate, str]:
    """Candidates of which each step can be done somewhere, but all of them at no one site; what is in the way."""
    if len(set(site_of.values())) < 2:
        return {}
    recipes = {p.candidate: resolve(plan.spec, p.candidate, capabilities) for batch in found for p in batch}
    faults = {candidate: way_fault(recipe.steps, site_of) for candidate, recipe in recipes.items()}
    return {candidate: fault.message for candidate, fault in faults.items() if fault is not None}


def stranded(why: str) -> Json:
    """What is chosen where nothing that was proposed can be carried out."""
    reason = f"no site can carry out what is proposed: {why}"
    return {**choice([], ("paused", reason)), "short": reason}


def lasts_s(plan: Plan, candidate: Candidate, capabilities: Mapping[str, Sequence[Capability]]) -> float:
    """The time that its steps are told to take, lab seconds: of several trays the quickest goes first.

    So the machines at the end of the way have work early.
    """
    steps = resolve(plan.spec, candidate, capabilities).steps
    return sum(c.asked_s(step.params) for step in steps for c in able(step, capabilities)[:1])


def able(step: Step, capabilities: Mapping[str, Sequence[Capability]]) -> list[Capability]:
    """What each instrument that may do a step brings for it."""
    return [c for i in step.instruments for c in capabilities[i] if c.name == step.capability]


def on_shelf(used: budget.Used, shelf_mg: Mapping[str, float]) -> budget.Limits:
    """What is left in the bottles, as limits: all campaigns draw on these."""
    return budget.Limits(stock_mg={name: used.stock_mg.get(name, 0.0) + left for name, left in shelf_mg.items()})


def nested(plan: Plan, capabilities: Mapping[str, Sequence[Capability]]) -> Plan:
    """The plan, with batches that fill a tray together where a step of it takes several samples at once.

    What the file says of trays goes first. Shared are the process parameters that a step on a tray is told.
    """
    steps = [s for s in plan.spec.recipe.steps if rooms(s.capability, capabilities) > 1]
    if plan.tray > 1 or not steps or plan.in_flight < 2:
        return plan
    names = {v[1:] for s in steps for v in s.params.values() if isinstance(v, str) and v.startswith("$")}
    size = min(plan.in_flight, *(rooms(s.capability, capabilities) for s in steps))
    return replace(plan, tray=size, shared=tuple(p.name for p in plan.space.process if p.name in names))


def rooms(capability: str, capabilities: Mapping[str, Sequence[Capability]]) -> int:
    """Most samples of one act, on the smallest instrument that can do it."""
    return min((c.batch[1] for able in capabilities.values() for c in able if c.name == capability), default=1)


def tray_room(recipe: Recipe, capabilities: Mapping[str, Sequence[Capability]]) -> int:
    """Most samples that one act of this recipe takes."""
    return max(rooms(step.capability, capabilities) for step in recipe.steps)


def cost_of(recipe: Recipe, price_per_mg: Mapping[str, float], beside: Prices, candidate: Candidate) -> budget.Cost:
    """Feedstock that the recipe asks for and what it is worth, and what the experiment costs beside it."""
    masses = recipe.masses_mg
    prices = {name: price_per_mg.get(name, 0.0) for name in masses}
    feedstock = sum(mg * prices[name] for name, mg in masses.items())
    settings = sum(price * float(candidate.process[name]) for name, price in beside.settings.items())
    return budget.Cost(money=feedstock + beside.fixed + settings, stock_mg=masses, price_per_mg=prices)


def limited_acts(recipe: Recipe, capabilities: Mapping[str, Sequence[Capability]], plan: Plan) -> instrument_time.Acts:
    """Its steps whose time the budget limits: as long as the slowest instrument takes, and the room of a tray."""
    return {
        step.name: {
            "capability": step.capability,
            "takes_s": max(c.expected_s(step.params) for c in able(step, capabilities)),
            "room": rooms(step.capability, capabilities),
        }
        for step in recipe.steps
        if step.capability in plan.limits.instrument_s
    }


def proposal_json(
    number: int,
    proposal: Proposal,
    recipe: Recipe,
    cost: budget.Cost,
    history_sha256: str,
    tray: int | None = None,
    acts: instrument_time.Acts | None = None,
) -> Json:
    """A proposal with all that planning it needs, as plain JSON."""
    candidate = proposal.candidate
    return {
        "number": number,
        "fractions": {name: str(f) for name, f in candidate.fractions.items()},
        "process": dict(candidate.process),
        "reason": proposal.reason,
        "predicted": proposal.predicted,
        "predicted_u": proposal.predicted_u,
        "gain": proposal.gain,
        "others": {name: [float(m.value), m.u if m.u is None else float(m.u)] for name, m in proposal.others.items()},
        "chance": proposal.chance if proposal.chance is None else float(proposal.chance),
        "tray": tray,
        "acts": acts or {},
        "history_sha256": history_sha256,
        "steps": [step.json() for step in recipe.steps],
        "cost": {"money": cost.money, "stock_mg": dict(cost.stock_mg), "price_per_mg": dict(cost.price_per_mg)},
    }


def write(
    tx: Transaction,
    campaign_id: str,
    plan: Plan,
    proposals: Sequence[Mapping[str, Any]],
    *,
    at: datetime,
    site: str,
    simulated: bool,
) -> Json:
    """The rows of new experiments; their ids and the jobs of each, in order."""
    new = []
    for proposal in proposals:
        lots = shelf.reserve(tx, proposal["cost"]["stock_mg"])
        if lots is None:
            break  # another campaign was quicker: what is left is seen at the next proposal
        with_lots = {**proposal, "lots": lots}
        new.append(write_one(tx, campaign_id, plan, with_lots, at=at, site=site, simulated=simulated))
    return new


def write_one(
    tx: Transaction,
    campaign_id: str,
    plan: Plan,
    proposal: Mapping[str, Any],
    *,
    at: datetime,
    site: str,
    simulated: bool,
) -> Json:
    """One experiment: candidate, recipe, sample and jobs share a number, so that people can say it."""
    n = tx.next_number("experiment")
    ids = {kind: f"{letter}-{n:05d}" for kind, letter in (("candidate", "X"), ("experiment", "E"), ("sample", "S"))}
    steps: list[dict[str, Any]] = list(proposal["steps"])
    recipe_id = recipe_digest(steps, plan.batch_mg)
    tx.add(
        db.Recipe(id=recipe_id, steps=steps, batch_mg=plan.batch_mg),
        db.Candidate(
            id=ids["candidate"],
            campaign_id=campaign_id,
            fractions=proposal["fractions"],
            basis=plan.basis,
            process=proposal["process"],
            optimizer=proposal.get("optimizer", plan.optimizer),  # an older labctl may have left it out
            origin_of_proposal=proposal["reason"],
            predicted=proposal["predicted"],
            predicted_u=proposal["predicted_u"],
            history_sha256=proposal["history_sha256"],
            proposed_at=at,
        ),
        db.Experiment(
            id=ids["experiment"],
            campaign_id=campaign_id,
            candidate_id=ids["candidate"],
            number=proposal["number"],
            recipe_id=recipe_id,
            plan={
                "sample_id": ids["sample"],
                "gain": proposal["gain"],
                **{
                    key: proposal[key]
                    for key in ("others", "chance", "tray", "on_trays", "lots", "acts")
                    if proposal.get(key) not in (None, {})
                },
                "cost": proposal["cost"],
                "steps": routes(steps),
            },
            planned_at=at,
        ),
        db.Sample(
            id=ids["sample"],
            experiment_id=ids["experiment"],
            site=site,
            batch_mg=plan.batch_mg,
            created_at=at,
            origin="simulated" if simulated else "measured",
        ),
        *intended(ids["sample"], plan, proposal),
        *(job(tx, ids, step, first=step is steps[0], at=at) for step in steps),
        at=at,
        actor=ACTOR,
    )
    return {"id": ids["experiment"], "jobs": [f"{ids['experiment']}/{step['name']}" for step in steps]}


def recipe_digest(steps: Sequence[Mapping[str, Any]], batch_mg: float) -> str:
    """Identity of a recipe: the same instructions have the same id."""
    import rfc8785

    return hashlib.sha256(rfc8785.dumps({"steps": list(steps), "batch_mg": batch_mg})).hexdigest()


def intended(sample_id: str, plan: Plan, proposal: Mapping[str, Any]) -> list[db.Composition]:
    """What the sample is meant to be made of."""
    fractions = Candidate(proposal["fractions"]).fractions
    return composition_rows(
        sample_id,
        "intended",
        {name: (float(f), None) for name, f in fractions.items()},
        basis=plan.basis,
        formulas=plan.formulas,
        method="proposed",
    )


def job(tx: Transaction, ids: Mapping[str, str], step: Mapping[str, Any], *, first: bool, at: datetime) -> db.Job:
    """One step as a job; the first may start at once."""
    return db.Job(
        id=f"{ids['experiment']}/{step['name']}",
        run=f"R-{tx.next_number('R'):05d}",
        experiment_id=ids["experiment"],
        sample_id=ids["sample"],
        step=step["name"],
        capability=step["capability"],
        params=step["params"],
        queued_at=at,
        state="queued" if first else "planned",
    )


def routes(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Where each step may run, which instruments are given back when it is done, and how many steps come before."""
    return [
        {
            "name": s["name"],
            "instruments": s["instruments"],
            "releases": releases(steps, s["name"]),
            "capability": s["capability"],
            "behind": behind,
        }
        for behind, s in enumerate(steps)
    ]


def releases(steps: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """Instruments that are free once this step is done: its own and those held until it."""
    freed = [s for s in steps if (s.get("hold_until") or s["name"]) == name]
    return sorted({instrument for s in freed for instrument in s["instruments"]})
