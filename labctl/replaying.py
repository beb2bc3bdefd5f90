"""`labctl optimizer replay`: how fast the optimizer would have found the best in data that exist."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from campaigns.campaign_file import read_campaign
from campaigns.dataset import read_dataset
from campaigns.excluded import outside
from campaigns.layout import Wanted
from campaigns.optimizer import Objective, Predicts
from campaigns.plan import Plan
from campaigns.quality import HasModel, Quality
from campaigns.replay import STEPS, Known, Run, first_rows, known_of, replay
from campaigns.scores import Front, figures, merit, scored_by
from campaigns.tables import shortened
from campaigns.toml_file import Fault, FileFaults
from labctl import optimizers
from labctl.errors import UsageError, short_path

if TYPE_CHECKING:
    from campaigns.optimizer import Optimizer

Row = dict[str, Any]
LEFT_OUT = 150  #: rows on which the model's quality is tried
FEWEST = 3  #: values among them without which it says nothing
FIGURES = (".png", ".svg", ".pdf")
PEERS: dict[str, Callable[[], Optimizer]] = {"random": optimizers.random_search, "plain": optimizers.plain_library}
OURS = "labctl"
COUNTED = {
    "target": "the number of experiments to the first hit, and the smallest distance to what is wanted",
    "map": "the error of the prediction over all rows; that of a method without a model is of the default's",
    "many": "the share of the good rows found, the best 5 % of all",
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to replay."""

    budget: int
    seeds: range
    designed: bool  #: whether each method designs its own first experiments
    initial: int  #: random rows that all begin with, when not
    batch: int
    against: tuple[str, ...]
    figure: Path | None = None  #: where a figure is written


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What came out."""

    rows: list[Row]  #: one per method, ours first
    about: Row
    heading: str
    quality: Quality | None


def replay_table(
    table: Path, campaign: Path, asked: Asked, *, quality: bool, say: Callable[[Sequence[str]], None]
) -> Replayed:
    """Replay the campaign in the table; everything is checked before the first campaign begins.

    Raises
    ------
    FileFaults
        The campaign file or the table has faults.
    UsageError
        What is asked for cannot be.
    """
    check_asked(asked)
    plan, known = read_known(table, campaign)
    say(known.notes)
    rows = replay_all(plan, known, asked)
    heading = f"{table.name}: {len(known)} candidates, {wish(known.objective)}"
    if asked.figure is not None:
        from labctl.report.figures import found_curves

        found_curves(rows, heading).savefig(asked.figure, dpi=150)
    model = quality_of(plan, known, asked.seeds.start) if quality else None
    return Replayed(rows=rows, about=about(known, table, asked), heading=heading, quality=model)


def wish(objective: Objective) -> str:
    """What is wanted, in words."""
    low, high = objective.aim if objective.goal == "target" else (0.0, 0.0)
    single = {
        "target": f"{objective.quantity} " + (f"near {low:g}" if low == high else f"between {low:g} and {high:g}"),
        "map": f"map {objective.quantity}",
        "many": f"{objective.direction} {objective.quantity}, many good ones",
    }
    return single.get(objective.goal) or " and ".join(f"{o.direction} {o.quantity}" for o in objective.all)


def check_asked(asked: Asked) -> None:
    """Refuse what cannot be. Raises UsageError."""
    if unknown := [name for name in asked.against if name not in PEERS]:
        raise UsageError(f"there is no method {unknown[0]!r} to compare with", hint=f"there are {', '.join(PEERS)}")
    if not asked.designed and asked.initial >= asked.budget:
        raise UsageError(
            f"--initial {asked.initial} leaves nothing of --budget {asked.budget} to the optimizer",
            hint=f"--budget {asked.initial + 20}",
        )
    if asked.figure is not None:
        plottable(asked.figure)


def read_known(table: Path, campaign: Path) -> tuple[Plan, Known]:
    """The table as candidates with values.

    Raises
    ------
    FileFaults
        The campaign file or the table has faults, or rows are outside the campaign's space.
    UsageError
        There is nothing to find.
    """
    spec, _ = read_campaign(campaign, for_a_lab=False, with_list=False)
    plan = Plan.from_spec(spec)
    wanted = Wanted(composition=plan.space.composition, process=plan.space.process, quantities=spec.measured_units)
    data = read_dataset(table, spec.data.layout(), wanted)
    if faults := list(outside(data, wanted, tolerance=1 / STEPS)):
        raise FileFaults(table, shortened(sorted(faults, key=lambda f: f.line or 0)))
    if len(data) < 2:
        found = "no rows" if len(data) == 0 else "only one row"
        raise FileFaults(table, [Fault(message=f"{found}: there is nothing to choose among", line=1, code="LAB-0225")])
    known = known_of(data, wanted, plan.objective, table.stem)
    check(known, table)
    return plan, replace(known, notes=(*spec.notes, *data.notes, *notes(known, plan)))


def notes(known: Known, plan: Plan) -> Iterator[str]:
    """How the table becomes candidates, in words."""
    rows = sum(map(len, known.lines))
    if rows > len(known):
        yield f"{rows} rows with {len(known)} different inputs: replicates are averaged"
    if plan.space.composition or any(getattr(p, "step", None) for p in plan.space.process):
        yield "rows are used as they were made: the campaign's grid is left aside"
    if plan.objective.others:
        yield f"several objectives: scored by {in_words(known)}"
    elif plan.objective.goal in COUNTED:
        yield f'goal "{plan.objective.goal}": counted is {COUNTED[plan.objective.goal]}'


def in_words(known: Known) -> str:
    """By what several objectives are scored."""
    if scored_by(known.objective) == "top":
        return "their weighted sum, each in its standard deviation over the table"
    reference = ", ".join(f"{q} {v:.4g}" for q, v in reference_of(known).items())
    return f"the hypervolume of the front found, as a share of the data's own; reference point: {reference}"


def reference_of(known: Known) -> dict[str, float]:
    """Where the volume begins, in the units of the campaign file."""
    at = Front.of(known).reference
    return {o.quantity: o.sign * float(v) for o, v in zip(known.objective.all, at, strict=True)}


def check(known: Known, table: Path) -> None:
    """Refuse a table in which nothing can be found."""
    import numpy as np

    measured = known.values[~np.isnan(known.values)]
    quantity = known.objective.quantity
    if len(known) < 2:
        problem = "all rows have the same inputs: there is nothing to choose among"
    elif len(measured) == 0:
        problem = f"no row has a value of {quantity}"
    elif np.isneginf(merit(known)).all():
        problem = "no row keeps all [[limits]]: there is nothing to find"
    elif measured.min() == measured.max():
        problem = f"every value of {quantity} is {measured[0]:g}: no row is better than another"
    else:
        return
    raise FileFaults(table, [Fault(message=problem, line=2, code="LAB-0225")])


def replay_all(plan: Plan, known: Known, asked: Asked) -> list[Row]:
    """Every method over every seed: figures, and the picked rows."""
    methods = {OURS: lambda: optimizers.optimizer(plan), **{name: PEERS[name] for name in asked.against}}
    rows = []
    for name, make in methods.items():
        runs = [last(progress(name, asked, seed, one(known, make(), asked, seed))) for seed in asked.seeds]
        found = figures(known, runs, min(asked.budget, len(known)), mapper(plan, make()))
        rows.append({"method": name, "name": make().name, **found, "runs": [as_row(known, r) for r in runs]})
    return rows


def mapper(plan: Plan, optimizer: Optimizer) -> Predicts:
    """What draws the map from a method's experiments: its own model, else the default optimizer's."""
    return optimizer if isinstance(optimizer, Predicts) else optimizers.bayesian(plan)


def one(known: Known, optimizer: Optimizer, asked: Asked, seed: int) -> Iterator[Run]:
    """One campaign."""
    start = [] if asked.designed else first_rows(known, seed, asked.initial)
    return replay(known, optimizer, seed=seed, budget=asked.budget, start=start, batch=asked.batch)


def quality_of(plan: Plan, known: Known, seed: int) -> Quality | None:
    """How good our model is on rows of the table drawn at random; None when the optimizer cannot say."""
    optimizer = optimizers.optimizer(plan)
    if not isinstance(optimizer, HasModel) or not optimizers.has_mixture(plan):
        return None
    rows = first_rows(known, seed, LEFT_OUT)
    history = [known.observation(i, row) for i, row in enumerate(rows, start=1)]
    if sum(not o.failed for o in history) < FEWEST:
        return None
    return Quality.of(optimizer.leave_one_out(known.space, known.objective, history, seed))


def plottable(path: Path) -> None:
    """Refuse a figure that cannot be written. Raises UsageError."""
    if path.suffix.casefold() not in FIGURES:
        raise UsageError(f"a figure cannot be written as {path.suffix or path.name!r}", hint=f"--plot {path.stem}.png")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", hint=f"mkdir -p {path.parent}")


def last(runs: Iterator[Run]) -> Run:
    """What a campaign was in the end."""
    *_, run = runs
    return run


def progress(name: str, asked: Asked, seed: int, runs: Iterator[Run]) -> Iterator[Run]:
    """The same, with a line on the terminal that says how far it is."""
    if not sys.stderr.isatty():
        yield from runs
        return
    place = f"{seed - asked.seeds.start + 1} of {len(asked.seeds)}"
    for run in runs:
        said = f"{name}: campaign {place}, experiment {len(run.picks)} of {asked.budget}"
        print(f"\r{said[: shutil.get_terminal_size().columns - 1]}", end="", file=sys.stderr, flush=True)
        yield run
    print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def as_row(known: Known, run: Run) -> Row:
    """One campaign for programs."""
    return {
        "seed": run.seed,
        "rows": list(run.picks),
        "data_lines": [list(known.lines[i]) for i in run.picks],
        "values": [None if v != v else float(v) for v in known.values[list(run.picks)]],
        "cpu_ms": [round(s * 1e3, 3) for s in run.cpu_s],
    }


def about(known: Known, table: Path, asked: Asked) -> Row:
    """What was replayed, in numbers."""
    return {
        "file": short_path(table),
        "rows": sum(map(len, known.lines)),
        "candidates": len(known),
        "quantity": known.objective.quantity,
        "unit": known.objective.unit,
        "direction": known.objective.direction if known.objective.goal in ("best", "many") else None,
        "goal": known.objective.goal,
        **aim(known.objective),
        **several(known),
        "start": "designed" if asked.designed else "random",
        "initial": None if asked.designed else asked.initial,
        "batch": asked.batch,
        "notes": list(known.notes),
    }


def aim(objective: Objective) -> Row:
    """What is to be hit, if anything is."""
    if objective.goal != "target":
        return {}
    return {"target": objective.target} if objective.band is None else {"band": list(objective.band)}


def several(known: Known) -> Row:
    """The same of several objectives: all of them, and by what they are scored."""
    if not known.objective.others:
        return {"scored_by": scored_by(known.objective)}
    objectives = [{"quantity": o.quantity, "unit": o.unit, "direction": o.direction} for o in known.objective.all]
    if scored_by(known.objective) == "top":
        weights = {o.quantity: o.weight for o in known.objective.all}
        return {"scored_by": "weighted sum", "objectives": objectives, "weights": weights}
    return {"scored_by": "hypervolume", "objectives": objectives, "reference": reference_of(known)}
