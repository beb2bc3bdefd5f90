"""Proposals without a lab: a campaign file, a table of results, an answer."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

from campaigns.candidate import Candidate
from campaigns.dataset import FAILED, PENDING, Dataset, Wanted, read_dataset, whole_steps
from campaigns.optimizer import Measured, Observation, Optimizer, Outlook, Proposal
from campaigns.plan import Plan
from campaigns.pool import Pool
from campaigns.quality import HasModel, Quality
from campaigns.spec import Spec
from labctl import wiring
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
    spec, _ = Spec.load(file, for_a_lab=False)
    plan = Plan.from_spec(spec)
    observations, pending, notes = read_history(history, plan) if history else ([], [], ())
    if plan.space.pool is not None and len(plan.space.pool) >= LONG:
        spent = time.process_time() - before
        notes = (f"{len(plan.space.pool)} candidates, read in {spent:.1f} s of processor time", *notes)
    optimizer: Optimizer = wiring.optimizer(plan)
    proposals = optimizer.propose(plan.space, plan.objective, observations, pending, n, plan.seed)
    if not proposals:
        raise UsageError("nothing is left to propose: the space has been tried out", hint="widen the space")
    if len(proposals) < n:
        notes = (*notes, f"{n} proposals were asked for, only {len(proposals)} are left in the space")
    left_out = None
    quality = quality and wiring.has_mixture(plan)
    if quality and isinstance(optimizer, HasModel) and sum(o.value is not None for o in observations) > 2:
        left_out = optimizer.leave_one_out(plan.space, plan.objective, observations, plan.seed)
    return Suggested(
        plan=plan,
        proposals=proposals,
        notes=notes,
        quality=Quality.of(left_out) if left_out else None,
        outlook=wiring.outlook(plan, observations) if quality else None,
    )


def read_history(path: Path, plan: Plan) -> tuple[list[Observation], list[Candidate], tuple[str, ...]]:
    """The table as observations, candidates that are still being made, and how it was understood.

    Columns: each component (the balance may be left out), each process parameter, each quantity of the campaign; if they
    are there, ``u`` (standard uncertainty), ``state`` (done, pending, failed) and ``block`` (or tray, day). An empty value
    without a state means failed. Fractions need not lie on the grid: what was really made is what is learned from.
    """
    space = plan.space
    wanted = Wanted(composition=space.composition, process=space.process, quantities=plan.spec.measured_units)
    data = read_dataset(path, plan.spec.data.layout(), wanted)
    steps = space.composition.steps if space.composition else 1
    made = Pool(wanted.components, steps, space.process, whole_steps(data.shares, steps), data.settings)
    rows = range(len(data))
    pending = [made[i] for i in rows if data.state[i] == PENDING]
    observations = [observation(data, plan, made, i) for i in rows if data.state[i] != PENDING]
    return observations, pending, data.notes


def observation(data: Dataset, plan: Plan, made: Pool, row: int) -> Observation:
    """One row that ended."""
    told = {q: measured(data, q, row) for q in data.values if data.state[row] != FAILED}
    known = {q: m for q, m in told.items() if m is not None}
    deciding = known.pop(plan.objective.quantity, None)
    shares = zip(made.components, data.shares[row], strict=True)
    return Observation(
        number=row + 1,
        candidate=made[row],
        value=deciding.value if deciding else None,
        u=deciding.u if deciding else None,
        actual={name: float(share) for name, share in shares},
        others=known,
        block=data.block[row] or None,
    )


def measured(data: Dataset, quantity: str, row: int) -> Measured | None:
    """One value with its uncertainty, if it was measured."""
    value = float(data.values[quantity][row])
    u = float(data.u[quantity][row]) if quantity in data.u else math.nan
    return None if math.isnan(value) else Measured(value, None if math.isnan(u) else u)
