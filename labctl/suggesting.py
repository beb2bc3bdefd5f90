"""Proposals without a lab: a campaign file, a table of results, an answer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from campaigns.campaign_file import read_campaign
from campaigns.layout import Wanted
from campaigns.optimizer import Observation, Optimizer, Outlook, Proposal
from campaigns.plan import Plan
from campaigns.quality import HasModel, Quality
from campaigns.told import Told, by_content, results_of
from labctl import optimizers
from labctl.emit import in_unit
from labctl.errors import UsageError

LONG = 100_000  #: candidates of a list from which on it is said how long reading took


@dataclass(frozen=True, kw_only=True)
class Suggested:
    """What to make next, and what there is to say about it."""

    plan: Plan
    proposals: list[Proposal]
    notes: tuple[str, ...]
    quality: Quality | None
    outlook: Outlook | None  #: what may still be gained


def suggest(file: Path, history: Path | None, n: int, *, quality: bool = False) -> Suggested:
    """What to make next.

    Raises
    ------
    FileFaults
        The campaign file or the table has faults.
    UsageError
        Nothing is left to propose.
    """
    before = time.process_time()
    spec, _ = read_campaign(file, for_a_lab=False)
    plan = Plan.from_spec(spec)
    told, pending, notes = read_history(history, plan) if history else ([], [], ())
    observations, row_of = by_content(told)
    notes = (*spec.notes, *notes)
    if plan.space.pool is not None and len(plan.space.pool) >= LONG:
        spent = time.process_time() - before
        notes = (f"{len(plan.space.pool)} candidates, read in {spent:.1f} s of processor time", *notes)
    if plan.prior:
        notes = (*notes, f"left aside, as only a lab has them: {', '.join(plan.prior)}")
    optimizer: Optimizer = optimizers.optimizer(plan)
    proposals = optimizer.propose(plan.space, plan.objective, observations, pending, n, plan.seed)
    if not proposals:
        raise UsageError("nothing is left to propose: the space has been tried out", hint="widen the space")
    if len(proposals) < n:
        taken = [*pending, *(p.candidate for p in proposals)]
        more = optimizer.propose(plan.space, plan.objective, observations, taken, 1, plan.seed) if plan.shared else []
        notes = (*notes, f"{n} proposals were asked for, {too_few(plan, proposals, bool(more))}")
    left_out = outlook = None
    if isinstance(optimizer, HasModel) and optimizers.judges(plan, observations):
        doubted = optimizer.outliers(plan.space, plan.objective, observations, plan.seed)
        notes = (*notes, *hard_to_believe(plan, observations, doubted, row_of))
    quality = quality and optimizers.has_mixture(plan)
    if quality and isinstance(optimizer, HasModel) and sum(o.value is not None for o in observations) > 2:
        left_out = optimizer.leave_one_out(plan.space, plan.objective, observations, plan.seed)
        left_out = replace(left_out, numbers=tuple(row_of[n] for n in left_out.numbers))
    if quality and (outlook := optimizers.outlook(plan, observations)) is not None:
        outlook = replace(outlook, best_number=row_of[outlook.best_number])
    return Suggested(
        plan=plan,
        proposals=proposals,
        notes=notes,
        quality=Quality.of(left_out) if left_out else None,
        outlook=outlook,
    )


def hard_to_believe(
    plan: Plan, observations: Sequence[Observation], doubted: Mapping[int, float], row_of: Mapping[int, int]
) -> list[str]:
    """A note for each row whose value is far from what all others say."""
    values, unit = {o.number: o.value for o in observations}, plan.objective.unit
    return [
        f"row {row_of[number]}, {in_unit(f'{values[number]:g}', unit)}: {abs(z):.2g} standard deviations"
        f" {'better' if z > 0 else 'worse'} than all other rows let expect; is it right?"
        for number, z in sorted(doubted.items(), key=lambda item: row_of[item[0]])
    ]


def too_few(plan: Plan, proposals: Sequence[Proposal], more: bool) -> str:
    """Why there are fewer proposals than were asked for.

    Parameters
    ----------
    more
        Whether other candidates are left, as only a tray that has settings in common ends before the space does.
    """
    if not more:
        return f"only {len(proposals)} are left in the space"
    shared = ", ".join(f"{name} {proposals[-1].candidate.process[name]}" for name in plan.shared)
    return (
        f"only {len(proposals)} here: with {shared}, which a tray has in common, no more are left;"
        " with other settings there are: add these as pending, and ask again"
    )


def read_history(path: Path, plan: Plan) -> Told:
    """The table as observations, candidates that are still being made, and how it was understood. Raises FileFaults."""
    space = plan.space
    wanted = Wanted(composition=space.composition, process=space.process, quantities=plan.spec.measured_units)
    return results_of(path, plan.spec.data.layout(), wanted)
