"""Proposals without a lab: a campaign file, a table of results, an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from campaigns.candidate import Candidate
from campaigns.optimizer import Observation, Proposal
from campaigns.plan import Plan
from campaigns.spec import Spec, categorical, with_balance
from campaigns.tables import header_of, read_csv
from campaigns.toml_file import Fault, FileFaults
from labctl import wiring
from labctl.errors import UsageError

PENDING = "pending"
STATES = ("done", PENDING, "failed")


def suggest(file: Path, history: Path | None, n: int) -> tuple[Plan, list[Proposal]]:
    """What to make next.

    Raises
    ------
    FileFaults
        The campaign file or the table has faults.
    UsageError
        Nothing is left to propose.
    """
    spec, _ = Spec.load(file)
    plan = Plan.from_spec(spec)
    observations, pending = read_history(history, plan) if history else ([], [])
    proposals = wiring.optimizer(plan).propose(plan.space, plan.objective, observations, pending, n, plan.seed)
    if not proposals:
        raise UsageError("nothing is left to propose: the space has been tried out", hint="widen the space")
    return plan, proposals


def read_history(path: Path, plan: Plan) -> tuple[list[Observation], list[Candidate]]:
    """The table as observations, and candidates that are still being made.

    Columns: each component (the balance may be left out), each process parameter, the objective's quantity; if they are
    there, ``u`` (standard uncertainty) and ``state`` (done, pending, failed). An empty value
    without a state means failed. Fractions need not lie on the grid: what was really made
    is what is learned from.
    """
    space, quantity = plan.space, plan.objective.quantity
    header = header_of(path)
    balance = space.composition.balance if space.composition else None
    told = [name for name in space.names if name != balance or name in header]
    names = [*told, quantity, *(c for c in ("u", "state") if c in header)]
    text = categorical(plan.spec.model_dump()) | {"state"}
    rows = read_csv(path, {name: name for name in names}, text=text, optional=True)
    observations, pending, faults = [], [], []
    for line, row in enumerate((with_balance(r, space.composition) for r in rows), start=2):
        problem = row_problem(row, plan)
        if problem:
            faults.append(Fault(message=problem, line=line, code="LAB-0222"))
            continue
        candidate, actual = as_made(row, plan)
        if row.get("state") == PENDING:
            pending.append(candidate)
        else:
            value = None if row.get("state") == "failed" else row[quantity]
            observations.append(
                Observation(number=line - 1, candidate=candidate, value=value, u=row.get("u"), actual=actual)
            )
    if faults:
        raise FileFaults(path, faults)
    return observations, pending


def row_problem(row: dict[str, Any], plan: Plan) -> str | None:
    """What is wrong with one line."""
    if row.get("state") not in (None, *STATES):
        return f"state {row['state']!r} is none of {', '.join(STATES)}"
    if row.get("u") is not None and row["u"] < 0:
        return f"u = {row['u']:g}: a standard uncertainty is not negative"
    for parameter in plan.space.process:
        if row[parameter.name] is None:
            return f"no value for {parameter.name}"
    composition = plan.space.composition
    if composition is None:
        return None
    shares = [row[name] or 0.0 for name in composition.names]
    if min(shares) < 0 or not 0.98 <= sum(shares) <= 1.02:
        return f"fractions sum to {sum(shares):g}, not 1" if min(shares) >= 0 else "a fraction is below 0"
    return None


def as_made(row: dict[str, Any], plan: Plan) -> tuple[Candidate, dict[str, float]]:
    """The nearest candidate on the grid, and what was really made."""
    settings = {p.name: row[p.name] for p in plan.space.process}
    composition = plan.space.composition
    if composition is None:
        return Candidate({}, settings), {}
    shares = {name: float(row[name] or 0.0) for name in composition.names}
    total = sum(shares.values())
    actual = {name: share / total for name, share in shares.items()}
    return Candidate(composition.fractions(rounded(list(actual.values()), composition.steps)), settings), actual


def rounded(shares: list[float], steps: int) -> list[int]:
    """Whole steps that sum to the whole, nearest to the shares (largest remainders)."""
    counts = [int(s * steps) for s in shares]
    by_rest = sorted(range(len(shares)), key=lambda i: (counts[i] - shares[i] * steps, i))
    for i in by_rest[: steps - sum(counts)]:
        counts[i] += 1
    return counts
