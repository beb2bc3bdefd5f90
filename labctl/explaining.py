"""Why a candidate: what was known when it was proposed, and what the model made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from campaigns.candidate import Candidate
from campaigns.history import History, candidate_of
from campaigns.optimizer import Explanation, Observation, Outlook
from campaigns.plan import Plan
from labctl import wiring
from labctl.errors import UsageError
from materials_db import records as db

if TYPE_CHECKING:
    from labctl.wiring import Lab
    from materials_db.store import Transaction

FEWEST = 2  #: results from which a model can be made


@dataclass(frozen=True, kw_only=True)
class Explained:
    """An explanation with what surrounds it."""

    plan: Plan
    about: Explanation
    known: Sequence[Observation]
    subject: str  #: whose candidate it is, as people say it
    reason: str  #: why it was proposed
    names: dict[int, str]  #: what people call each observation
    turned_out: Observation | None = None  #: what was measured of it since
    same_history: bool = True  #: whether what is known now of that moment is what was known then

    def named(self, number: int | None) -> str:
        """An observation as people say it."""
        return "-" if number is None else self.names.get(number, f"#{number}")


def of_sample(lab: Lab, campaign_id: str, sample_id: str | None) -> Explained:
    """Why a sample's candidate was proposed; without a sample, what would be proposed now.

    Raises
    ------
    UsageError
        The campaign's optimizer has no model, or nothing was known yet.
    """
    from campaigns.planning import at_hand, prices

    with lab.store.transaction() as tx:
        campaign = tx.get(db.Campaign, campaign_id)
        plan = at_hand(tx, Plan.of(campaign), prices(tx), campaign.created_at)
        check(plan)
        if sample_id is None:
            return proposed_now(tx, plan, campaign_id)
        sample = tx.get(db.Sample, sample_id)
        experiment = tx.get(db.Experiment, sample.experiment_id)
        if experiment.campaign_id != campaign_id:
            raise UsageError(f"{sample_id} was made for {experiment.campaign_id}, not for {campaign_id}")
        record = tx.get(db.Candidate, experiment.candidate_id)
        then = history(tx, plan, campaign_id, until=record)
        now = history(tx, plan, campaign_id)
        names = sample_names(tx, campaign_id)
    return explained(
        plan,
        then.known,
        candidate_of(record),
        subject=sample_id,
        reason=record.origin_of_proposal,
        names=names,
        turned_out=now.observations.get(experiment.number),
        same_history=record.history_sha256 in ("", then.digest),
    )


def of_table(file: Path, table: Path, row: int | None) -> Explained:
    """Why the next proposal after a table of results, or what is to be said of one of its rows (1 is the first)."""
    from campaigns.spec import Spec
    from labctl.suggesting import read_history

    spec, _ = Spec.load(file, for_a_lab=False)
    plan = Plan.from_spec(spec)
    check(plan)
    known, pending, _ = read_history(table, plan)
    names = {o.number: f"row {o.number}" for o in known}
    if row is None:
        return next_one(plan, known, pending, names)
    found = next((o for o in known if o.number == row), None)
    if found is None:
        rows = f"1 to {max(names, default=0)}"
        raise UsageError(f"there is no result in row {row} of {table}; results stand in rows {rows}")
    others = [o for o in known if o.number != row]
    return explained(
        plan, others, found.candidate, subject=f"row {row}", reason="measured", names=names, turned_out=found
    )


def check(plan: Plan) -> None:
    """Only the optimizer with a model of its own can say why."""
    if plan.optimizer != "bayesian":
        raise UsageError(
            f"the optimizer {plan.optimizer!r} gives no reasons", hint='only name = "bayesian" has a model to ask'
        )


def proposed_now(tx: Transaction, plan: Plan, campaign_id: str) -> Explained:
    """What would be proposed now, and why."""
    now = history(tx, plan, campaign_id)
    return next_one(plan, now.known, now.pending, sample_names(tx, campaign_id))


def next_one(
    plan: Plan, known: Sequence[Observation], pending: Sequence[Candidate], names: dict[int, str]
) -> Explained:
    """The next proposal, explained."""
    found = wiring.bayesian(plan).propose(plan.space, plan.objective, known, pending, 1, plan.seed)
    if not found:
        raise UsageError("nothing is left to propose: the space has been tried out", hint="widen the space")
    return explained(plan, known, found[0].candidate, subject="next proposal", reason=found[0].reason, names=names)


def explained(
    plan: Plan, known: Sequence[Observation], candidate: Candidate, *, subject: str, reason: str, **more: Any
) -> Explained:
    """Ask the model. Raises UsageError when too little was known to have one."""
    if sum(o.value is not None for o in known) < FEWEST:
        raise UsageError(
            f"{subject} was chosen before anything was known ({reason}): there is no model to ask",
            hint="ask about a later one",
        )
    about = wiring.bayesian(plan).explain(plan.space, plan.objective, known, [], candidate, plan.seed)
    return Explained(plan=plan, about=about, known=known, subject=subject, reason=reason, **more)


def history(tx: Transaction, plan: Plan, campaign_id: str, until: db.Candidate | None = None) -> History:
    """What was known when a candidate was proposed; by default what is known now."""
    found = History(campaign_id, plan.objective, until=until.proposed_at if until else None)
    found.refresh(tx)
    return found


def sample_names(tx: Transaction, campaign_id: str) -> dict[int, str]:
    """Id of the sample of each experiment."""
    return {e.number: str(e.plan["sample_id"]) for e in tx.find(db.Experiment, campaign_id=campaign_id)}


def what_the_model_says(lab: Lab, campaign_id: str, samples: Mapping[int, str]) -> list[str]:
    """What may still be gained in a campaign, and results that are hard to believe, in words."""
    learned = wiring.learned(lab.store, campaign_id)
    if learned is None:
        return []
    plan, known = learned
    left, doubted = wiring.outlook(plan, known), wiring.outliers(plan, known)
    lines = [] if left is None else [f"left        {sentence(left, plan.objective.unit)}"]
    named = [f"{samples.get(n, f'#{n}')} ({z:+.1f} sd)" for n, z in sorted(doubted.items())]
    return lines + ([f"outliers    {', '.join(named)}: far from what all others say; worth a look"] if named else [])


def sentence(left: Outlook, unit: str) -> str:
    """What may still be gained."""
    return (
        f"the next experiment promises {left.gain:.2g} {unit}; with 80 % probability the best possible"
        f" is within {left.distance(0.8):.2g} {unit} of the best found"
    )


def plain_outlook(left: Outlook) -> dict[str, Any]:
    """The same for programs: distances by the probability that the best possible lies within."""
    within = {f"{p:.2f}": left.distance(p) for p in (0.5, 0.8, 0.95)}
    return {"best": left.best, "best_number": left.best_number, "gain": left.gain, "within": within}


def as_row(e: Explained) -> dict[str, Any]:
    """Everything as plain data."""
    from dataclasses import asdict

    about = {k: v for k, v in asdict(e.about).items() if k not in ("candidate", "nearest", "best_number", "slices")}
    found = e.turned_out
    return {
        "subject": e.subject,
        "reason": e.reason,
        "quantity": e.plan.objective.quantity,
        "unit": e.plan.objective.unit,
        "fractions": {n: float(f) for n, f in e.about.candidate.fractions.items()},
        "process": dict(e.about.candidate.process),
        **about,
        "best_of": e.named(e.about.best_number),
        "nearest": e.named(e.about.nearest.number if e.about.nearest else None),
        "nearest_value": e.about.nearest.value if e.about.nearest else None,
        "measured": found.value if found else None,
        "measured_u": found.u if found else None,
        "known": len(e.known),
        "same_history": e.same_history,
        "slices": [asdict(s) for s in e.about.slices],
    }


def in_words(e: Explained) -> list[str]:
    """What a person is told, a paragraph each."""
    about, unit = e.about, e.plan.objective.unit
    lines = [f"{e.subject}: {composition(about.candidate)}", f"why        {WHY.get(e.reason, e.reason)}"]
    lines.append(
        f"predicted  {about.predicted:.4g} +- {about.predicted_u:.2g} {unit}, from {len(e.known)} results"
        + (
            f"; the best known then was {about.best:.4g} ({e.named(about.best_number)})"
            if about.best is not None
            else ""
        )
    )
    if e.plan.objective.goal in ("best", "many"):
        lines.append(f"gain       {about.gain:.2g} {unit} expected over the best known")
    lines += [f"           {q}: {m.value:.4g} +- {m.u or 0:.2g} predicted" for q, m in about.others.items()]
    if about.chance is not None:
        lines.append(f"chance     {about.chance:.0%} that it can be made and keeps all limits")
    if about.nearest is not None and about.nearest_distance is not None:
        value = "failed" if about.nearest.value is None else f"{about.nearest.value:.4g} {unit}"
        lines.append(f"nearest    {e.named(about.nearest.number)}, {about.nearest_distance:.2g} widths away: {value}")
    lines.append("limits     " + ("; ".join(about.binding) or "none is reached"))
    lines.append("matters    " + ", ".join(f"{n} {share:.0%}" for n, share in list(about.importance.items())[:6]))
    if (found := e.turned_out) is not None and found.value is not None:
        noise = (about.predicted_u**2 + (found.u or 0.0) ** 2) ** 0.5
        off = (found.value - about.predicted) / noise if noise > 0 else 0.0
        lines.append(f"turned out {found.value:.4g} {unit}, {off:+.1f} standard deviations from the prediction")
    elif found is not None:
        lines.append("turned out it could not be made or measured")
    if not e.same_history:
        lines.append(
            "note       values were corrected since, or came late: what is shown is from what is known of that moment now"
        )
    return lines


def composition(candidate: Candidate) -> str:
    """A candidate on one line."""
    shares = [f"{n} {float(f):g}" for n, f in candidate.fractions.items()]
    return "  ".join([*shares, *(f"{n} {v}" for n, v in candidate.process.items())])


WHY = {
    "initial design": "initial design: typical of the space, before the model decides",
    "upper confidence bound": "upper confidence bound: high prediction, or much doubt, or both",
    "exploration": "exploration: nothing had been measured near it",
    "replicate": "replicate: measuring the best once more promised more than anything new",
    "nearest to target": "nearest to target: it may hit what is wanted",
    "least known": "least known: the map has most doubt there",
    "space filling": "space filling: far from everything, as nothing was learned yet",
    "expected gain of the front": "expected gain of the front: it should push the trade-off outwards",
    "random corner of the front": "a random corner of the front: one weighing of the objectives at a time",
}
