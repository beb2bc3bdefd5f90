"""Why a candidate: what was known when it was proposed, and what the model made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from campaigns.candidate import Candidate
from campaigns.hindsight import when_proposed
from campaigns.history import History, candidate_of
from campaigns.optimizer import Explanation, Measured, Objective, Observation, Outlook
from campaigns.plan import Plan
from labctl import optimizers
from labctl.emit import in_unit, value_and_u
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
    recorded: Measured | None = None  #: the prediction as it was written down then
    promised: float | None = None  #: the gain as it was written down then, with what was under way believed
    turned_out: Observation | None = None  #: what was measured of it since
    same_history: bool = True  #: whether what is known now of that moment is what was known then

    @property
    def predicted(self) -> Measured:
        """What was expected: as it was written down, else as the model says now."""
        return self.recorded or Measured(self.about.predicted, self.about.predicted_u)

    @property
    def surprise(self) -> float | None:
        """Measured minus predicted, in standard deviations of prediction and measurement together."""
        found = self.turned_out
        if found is None or found.value is None:
            return None
        sd = ((self.predicted.u or 0.0) ** 2 + (found.u or 0.0) ** 2) ** 0.5
        return (found.value - self.predicted.value) / sd if sd > 0 else None

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
    with lab.store.transaction() as tx:
        plan = led_by_a_model(tx, campaign_id)
        names = sample_names(tx, campaign_id)
        now = History.of(campaign_id, plan)
        now.refresh(tx)
        if sample_id is not None:
            experiment = experiment_of(tx, campaign_id, sample_id)
            record = tx.get(db.Candidate, experiment.candidate_id)
            then = when_proposed(tx, plan, experiment)
    if sample_id is None:  # the database is free while the optimizer thinks
        return next_one(plan, now.known, now.pending, names)
    return explained(
        plan,
        then.known,
        candidate_of(record),
        subject=sample_id,
        reason=record.origin_of_proposal,
        names=names,
        recorded=None if record.predicted is None else Measured(record.predicted, record.predicted_u),
        promised=experiment.plan.get("gain"),
        turned_out=now.known.numbered(experiment.number),
        same_history=then.same,
    )


def led_by_a_model(tx: Transaction, campaign_id: str) -> Plan:
    """The campaign's plan, if its optimizer can say why. Raises UsageError."""
    name = tx.get(db.Campaign, campaign_id).spec.get("optimizer", {}).get("name", "random")
    check(name)
    return optimizers.plan_at_hand(tx, campaign_id)


def experiment_of(tx: Transaction, campaign_id: str, sample_id: str) -> db.Experiment:
    """The experiment that made a sample. Raises UsageError when it was made for another campaign."""
    experiment = tx.get(db.Experiment, tx.get(db.Sample, sample_id).experiment_id)
    owner = experiment.campaign_id
    if owner != campaign_id:
        raise UsageError(
            f"{sample_id} was made for {owner}, not for {campaign_id}",
            hint=f"labctl optimizer explain {owner} {sample_id}",
        )
    return experiment


def of_table(file: Path, table: Path | None, row: int | None) -> Explained:
    """Why the next proposal after a table of results, or what is to be said of one of its rows (1 is the first)."""
    from campaigns.campaign_file import read_campaign
    from campaigns.told import by_content
    from labctl.suggesting import read_history

    spec, _ = read_campaign(file, for_a_lab=False)
    plan = Plan.from_spec(spec)
    check(plan.optimizer)
    told, pending, _ = read_history(table, plan) if table is not None else ([], [], ())
    known, row_of = by_content(told)
    names = {number: f"row {read}" for number, read in row_of.items()}
    if row is None:
        return next_one(plan, known, pending, names)
    found = next((o for o in known if row_of[o.number] == row), None)
    if found is None:
        rows = f"1 to {max(row_of.values(), default=0)}"
        where = f" of {table}" if table is not None else ""
        raise UsageError(f"there is no result in row {row}{where}; results stand in rows {rows}")
    others = [o for o in known if o is not found]
    return explained(
        plan, others, found.candidate, subject=f"row {row}", reason="measured", names=names, turned_out=found
    )


def check(optimizer: str) -> None:
    """Only the optimizer with a model of its own can say why."""
    if optimizer != "bayesian":
        raise UsageError(
            f"the optimizer {optimizer!r} gives no reasons", hint='only name = "bayesian" has a model to ask'
        )


def next_one(
    plan: Plan, known: Sequence[Observation], pending: Sequence[Candidate], names: dict[int, str]
) -> Explained:
    """The next proposal, the first of the next tray where there are trays, explained."""
    found = optimizers.bayesian(plan).propose(plan.space, plan.objective, known, pending, plan.tray, plan.seed)
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
    about = optimizers.bayesian(plan).explain(plan.space, plan.objective, known, [], candidate, plan.seed)
    return Explained(plan=plan, about=about, known=known, subject=subject, reason=reason, **more)


def sample_names(tx: Transaction, campaign_id: str) -> dict[int, str]:
    """Id of the sample of each experiment."""
    return {e.number: str(e.plan["sample_id"]) for e in tx.find(db.Experiment, campaign_id=campaign_id)}


def what_the_model_says(lab: Lab, campaign_id: str, samples: Mapping[int, str]) -> list[str]:
    """What may still be gained in a campaign, and results that are hard to believe, in words."""
    learned = optimizers.learned(lab.store, campaign_id)
    if learned is None:
        return []
    plan, known = learned
    left, doubted = optimizers.outlook(plan, known), optimizers.outliers(plan, known)
    lines = [] if left is None else [f"left        {sentence(left, plan.objective.unit)}"]
    named = [f"{samples.get(n, f'#{n}')} ({z:+.1f} sd)" for n, z in sorted(doubted.items())]
    return lines + ([f"outliers    {', '.join(named)}: far from what all others say; worth a look"] if named else [])


def sentence(left: Outlook, unit: str) -> str:
    """What may still be gained."""
    return (
        f"the next experiment promises {in_unit(f'{left.gain:.2g}', unit)}; with 80 % probability the best possible"
        f" is within {in_unit(f'{left.distance(0.8):.2g}', unit)} of the best found"
    )


def plain_outlook(left: Outlook) -> dict[str, Any]:
    """The same for programs: distances by the probability that the best possible lies within."""
    within = {f"{p:.2f}": left.distance(p) for p in (0.5, 0.8, 0.95)}
    return {"best": left.best, "best_number": left.best_number, "gain": left.gain, "within": within}


def as_row(e: Explained) -> dict[str, Any]:
    """Everything as plain data."""
    from dataclasses import asdict

    about = {k: v for k, v in asdict(e.about).items() if k not in ("candidate", "nearest", "best_number", "slices")}
    found, is_map = e.turned_out, e.plan.objective.goal == "map"  # which has no best
    return {
        "subject": e.subject,
        "reason": e.reason,
        "quantity": e.plan.objective.quantity,
        "unit": e.plan.objective.unit,
        "fractions": {n: float(f) for n, f in e.about.candidate.fractions.items()},
        "process": dict(e.about.candidate.process),
        **about,
        "recorded": None if e.recorded is None else asdict(e.recorded),
        "promised": e.promised,
        "surprise": e.surprise,
        "best": None if is_map else e.about.best,
        "best_of": None if is_map else e.named(e.about.best_number),
        **distances(e),
        "nearest": e.named(e.about.nearest.number if e.about.nearest else None),
        "nearest_value": e.about.nearest.value if e.about.nearest else None,
        "measured": found.value if found else None,
        "measured_u": found.u if found else None,
        "known": len(e.known),
        "same_history": e.same_history,
        "slices": [{**asdict(s), "label": axis(e.plan, s.name)} for s in e.about.slices],
    }


def in_words(e: Explained) -> list[str]:
    """What a person is told, a paragraph each."""
    about, unit = e.about, e.plan.objective.unit
    values = sum(o.value is not None for o in e.known)
    lines = [f"{e.subject}: {composition(about.candidate)}", f"why        {WHY.get(e.reason, e.reason)}"]
    lines.append(
        f"predicted  {value_and_u(e.predicted.value, e.predicted.u, unit)}, from {values} results" + beside_best(e)
    )
    if e.plan.objective.goal in ("best", "many") and not e.plan.objective.others:
        gain = about.gain if e.promised is None else e.promised
        lines.append(f"gain       {in_unit(f'{gain:.2g}', unit)} expected over the best known")
    units = e.plan.spec.measured_units
    lines += [f"           {q}: {value_and_u(m.value, m.u, units[q])} predicted" for q, m in about.others.items()]
    if about.chance is not None:
        lines.append(f"chance     {about.chance:.0%} that it can be made and keeps all limits")
    if about.nearest is not None and about.nearest_distance is not None:
        value = "failed" if about.nearest.value is None else in_unit(f"{about.nearest.value:.4g}", unit)
        lines.append(f"nearest    {e.named(about.nearest.number)}, {about.nearest_distance:.2g} widths away: {value}")
    lines.append("limits     " + ("; ".join(about.binding) or "none is reached"))
    lines.append("matters    " + ", ".join(f"{n} {share:.0%}" for n, share in list(about.importance.items())[:6]))
    if (found := e.turned_out) is not None and found.value is not None:
        off = "" if e.surprise is None else f", {e.surprise:+.1f} standard deviations from the prediction"
        lines.append(f"turned out {value_and_u(found.value, found.u, unit)}{off}")
    elif found is not None:
        lines.append("turned out it could not be made or measured")
    if not e.same_history:
        lines.append(
            "note       values were corrected since, or came late: what is shown is from what is known of that moment now"
        )
    return lines


def beside_best(e: Explained) -> str:
    """What was known to be best then: of a target the nearest to it, with its distance; a map has no best."""
    objective, best, whose = e.plan.objective, e.about.best, e.named(e.about.best_number)
    if best is None or objective.goal == "map":
        return ""
    if objective.goal != "target":
        return f"; the best known then was {in_unit(f'{best:.4g}', objective.unit)} ({whose}, by the model)"
    near = f"{in_unit(f'{best:.4g}', objective.unit)} ({whose}, by the model), {away(objective, best)}"
    return f", {away(objective, e.predicted.value)}; the nearest known then was {near}"


def away(objective: Objective, value: float) -> str:
    """How far a value is from what is to be hit."""
    distance = -objective.worth(value)
    if objective.band is not None and distance == 0:
        return "inside the band"
    return f"{in_unit(f'{distance:.2g}', objective.unit)} from the {'target' if objective.band is None else 'band'}"


def distances(e: Explained) -> dict[str, Any]:
    """The same for programs; nothing without a target."""
    objective, best = e.plan.objective, e.about.best
    if objective.goal != "target":
        return {}
    return {
        "distance": -float(objective.worth(e.predicted.value)),
        "best_distance": None if best is None else -float(objective.worth(best)),
    }


def drawn(e: Explained) -> list[dict[str, Any]]:
    """The slices as they are drawn, most telling first: with the label of the axis and the results known then."""
    from dataclasses import asdict

    order = sorted(e.about.slices, key=lambda s: -e.about.importance[s.name])
    return [{**asdict(s), "label": axis(e.plan, s.name), "results": results(e.known, s.name)} for s in order]


def axis(plan: Plan, name: str) -> str:
    """A component or setting with its unit."""
    parameter = next((p for p in plan.space.process if p.name == name), None)
    unit = f"{plan.basis} fraction" if parameter is None else getattr(parameter, "unit", "")
    return f"{name} [{unit}]" if unit else name


def results(known: Sequence[Observation], name: str) -> list[tuple[float | str, float]]:
    """Where each result lies along a component or setting, and its value."""
    return [
        (o.candidate.process.get(name, o.actual.get(name, float(o.candidate.fractions.get(name, 0)))), o.value)
        for o in known
        if o.value is not None
    ]


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
    "weighted sum": "weighted sum: the objectives added up promise most",
    "expected gain of the front": "expected gain of the front: it should push the trade-off outwards",
    "a random corner of the front": "a random corner of the front: one weighing of the objectives at a time",
}
