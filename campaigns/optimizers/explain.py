"""What a model says about itself and its choices: checks, outlook, and why a candidate."""

from __future__ import annotations

from typing import Any

import numpy as np

from campaigns.candidate import Candidate
from campaigns.optimizer import Explanation, LeaveOneOut, Outlook, Slice
from campaigns.optimizers.decision import predicted
from campaigns.optimizers.grid import generator
from campaigns.optimizers.knowledge import Knowledge
from campaigns.parameters import CategoricalParameter
from campaigns.pareto import expected_gain_1d
from campaigns.rows import Table

Array = np.ndarray[Any, Any]

SUSPECT = 4.0  #: leave-one-out residual, in standard deviations, from which a value is shown as an outlier
UNLIKELY = 2.0  #: the same as the models see it
POINTS = 41  #: of a slice
DRAWS, AMONG = 400, 500  #: draws of the landscape, candidates at which it is drawn
UNSEEN, PEAK = 0.1, 1.2  #: share of draws with a peak that no model sees; its mean height in largest doubts


def leave_one_out(knowledge: Knowledge) -> LeaveOneOut:
    """Each measured value predicted from all others, hyperparameters as fitted to all."""
    model = knowledge.model
    mean, variance, rows = model.left_out()
    told = knowledge.measured[rows]
    spread, sign = model.scale.spread, knowledge.objective.sign
    return LeaveOneOut(
        numbers=tuple(int(n) for n in knowledge.known.numbers[told]),
        measured=tuple(float(v) for v in knowledge.known.values(knowledge.quantity)[told]),
        predicted=tuple(float(v) for v in sign * model.scale.back(mean)),
        sd=tuple(float(v) for v in spread * np.sqrt(variance)),
        away=tuple(float(v) for v in sign * (model.standard[rows] - mean) / np.sqrt(variance)),
    )


def outliers(knowledge: Knowledge) -> dict[int, float]:
    """Observations far from what all others say, by number: residual in standard deviations, worse is negative.

    Models see the bad tail pulled in, where nothing is far: a residual counts as far when it
    is so in the values' own unit, and is at least unlikely as the models see it.
    """
    model = knowledge.model
    mean, variance, rows = model.left_out()
    seen = (model.standard[rows] - mean) / np.sqrt(variance)
    values = knowledge.spaces[knowledge.quantity].target[rows]
    own = (values - model.scale.back(mean)) / (model.scale.spread * np.sqrt(variance))
    far = (np.abs(seen) > SUSPECT) | ((np.abs(own) > SUSPECT) & (np.abs(seen) > UNLIKELY))
    numbers = knowledge.known.numbers[knowledge.measured[rows]]
    return {int(n): float(z) for n, z in zip(numbers[far], own[far], strict=True)}


def outlook(knowledge: Knowledge) -> Outlook:
    """What may still be gained: draws of the landscape, the best of each against what was found.

    Only what keeps all limits and can be made counts, as likely as the models say. While nothing that was
    measured keeps the limits, there is nothing found to be near to: the distance is infinite.
    """
    study, model = knowledge.study, knowledge.model
    best, whose = knowledge.incumbent()
    rng = generator(study.seed, "outlook", len(knowledge.known))
    mean, sd = model.standardised(study.raw)
    chance = np.ones(len(mean)) if knowledge.chance is None else knowledge.chance(study.raw)
    raw = np.vstack([knowledge.known.made([whose]), study.raw[promising(mean, sd, chance)]])
    if not study.finite:
        near = study.grid.near(knowledge.best_table(5), 0.03, 20, rng)
        raw = np.vstack([raw, study.grid.raw(near)])
    gain = (chance * expected_gain_1d(mean, sd, best)).max() * model.scale.spread
    left = np.full(DRAWS, np.inf)
    if knowledge.kept[whose]:
        left = np.sort(excess(knowledge, raw, rng) + unseen(float((sd * chance).max()), rng)) * model.scale.spread
    return Outlook(
        best=float(knowledge.objective.sign * model.scale.back(np.array([best]))[0]),
        best_number=int(knowledge.known.numbers[whose]),
        gain=float(gain),
        left=tuple(float(v) for v in left),
    )


def promising(mean: Array, sd: Array, chance: Array) -> Array:
    """Candidates that may be the best: of high prediction, or in much doubt, where the chance is not too small."""
    likely = np.log(np.maximum(chance, 1e-9))
    orders = [np.argsort(-(mean + k * sd + likely), kind="stable")[: AMONG // 2] for k in (0.5, 2.5)]
    return np.unique(np.concatenate(orders))


def excess(knowledge: Knowledge, raw: Array, rng: np.random.Generator) -> Array:
    """Draws of by how much the best row that counts exceeds the first one, standardised."""
    drawn = knowledge.model.drawn(raw, DRAWS, rng)
    counts = counting(knowledge, raw, drawn, rng)
    result: Array = np.where(counts, np.maximum(drawn - drawn[:, :1], 0.0), 0.0).max(axis=1)
    return result


def unseen(doubt: float, rng: np.random.Generator) -> Array:
    """Draws of what a peak adds that is narrower than all models think.

    They are sure of their length scales where nothing was measured near such a peak: without it, distances stated
    with 95 % held in 86 %. Share and height are fitted on simulated campaigns (`benchmarks/README.md`).

    Parameters
    ----------
    doubt
        Of the candidate in most doubt that may count, standardised: where all is known, nothing is unseen.
    """
    there = rng.random(DRAWS) < UNSEEN
    return there * rng.exponential(PEAK * doubt, DRAWS)


def counting(knowledge: Knowledge, raw: Array, drawn: Array, rng: np.random.Generator) -> Array:
    """Which rows keep all limits and can be made, in each draw.

    Limited properties are drawn as landscapes of their own. Of what can be made there is one draw for all rows:
    what is likelier to be possible is possible whenever what is less likely is.
    """
    counts = np.ones(drawn.shape, dtype=bool)
    told = {knowledge.quantity: drawn}
    for limit in knowledge.objective.limits:
        model = knowledge.models.get(limit.quantity)
        if model is None:
            continue
        if limit.quantity not in told:
            told[limit.quantity] = model.drawn(raw, DRAWS, rng)
        values = knowledge.signs.get(limit.quantity, 1.0) * model.scale.back(told[limit.quantity])
        counts &= (values >= (-np.inf if limit.low is None else limit.low)) & (
            values <= (np.inf if limit.high is None else limit.high)
        )
    possible = knowledge.study.chances(knowledge.known.made(), knowledge.known.failed)
    return counts if possible is None else counts & (possible(raw) >= rng.random((DRAWS, 1)))


def explanation(knowledge: Knowledge, candidate: Candidate) -> Explanation:
    """Why a candidate, from what was known."""
    study, model = knowledge.study, knowledge.model
    table = study.grid.table([candidate])
    raw = study.grid.raw(table)
    mean, sd, best, whose = knowledge.beside_best(raw)
    near, distance = nearest(knowledge, raw)
    slices = tuple(slice_through(knowledge, table, i) for i in range(raw.shape[1]))
    spread, chance = model.scale.spread, knowledge.chance
    return Explanation(
        candidate=candidate,
        predicted=float(knowledge.objective.sign * model.scale.back(mean)[0]),
        predicted_u=float(spread * sd[0]),
        gain=float(spread * expected_gain_1d(mean, sd, best)[0]),
        chance=None if chance is None else float(chance(raw)[0]),
        best=float(knowledge.objective.sign * model.scale.back(np.array([best]))[0]),
        best_number=int(knowledge.known.numbers[whose]),
        nearest=knowledge.known[near],
        nearest_distance=distance,
        binding=binding(study.space, candidate),
        importance=importance(slices),
        slices=slices,
        others={q: predicted(knowledge, q, raw) for q in knowledge.models if q != knowledge.quantity},
    )


def nearest(knowledge: Knowledge, raw: Array) -> tuple[int, float]:
    """The measured experiment nearest to a raw row, by its own row, and how far it is in widths of the space."""
    see, rows = knowledge.study.views["fractions"], knowledge.measured
    gaps = np.linalg.norm(see(knowledge.known.made(rows)) - see(raw), axis=1)
    at = int(np.argmin(gaps))
    return int(rows[at]), float(gaps[at])


def slice_through(knowledge: Knowledge, table: Table, place: int) -> Slice:
    """Predictions along one component or setting; the other components keep their proportions."""
    grid, space = knowledge.study.grid, knowledge.study.space
    k = len(grid.names)
    raw = grid.raw(table)[0]
    parameter = space.process[place - k] if place >= k else None
    if isinstance(parameter, CategoricalParameter):
        at = np.arange(len(parameter.choices), dtype=float)
    elif parameter is not None:
        at = np.linspace(parameter.low, parameter.high, POINTS)
    else:
        assert space.composition is not None
        component = space.composition.components[place]
        at = np.linspace(0.0 if component.may_be_absent else float(component.low), float(component.high), POINTS)
    rows = np.repeat(raw[None, :], len(at), axis=0)
    if place < k:
        rest = np.delete(np.arange(k), place)
        total = raw[rest].sum()
        share = raw[rest] / total if total > 0 else np.full(len(rest), 1.0 / max(1, len(rest)))
        rows[:, rest] = (1.0 - at)[:, None] * share
    rows[:, place] = at
    model, sign = knowledge.model, knowledge.objective.sign
    mean, sd = model.standardised(rows)
    names = parameter.choices if isinstance(parameter, CategoricalParameter) else None
    return Slice(
        name=space.names[place],
        at=names if names is not None else tuple(float(v) for v in at),
        mean=tuple(float(v) for v in sign * model.scale.back(mean)),
        sd=tuple(float(v) for v in model.scale.spread * sd),
        here=names[int(raw[place])] if names is not None else float(raw[place]),
    )


def importance(slices: tuple[Slice, ...]) -> dict[str, float]:
    """Share of the predicted variation that each component or setting makes along its slice; most first."""
    spread = {s.name: float(np.std(s.mean)) for s in slices}
    total = sum(spread.values()) or 1.0
    return {name: v / total for name, v in sorted(spread.items(), key=lambda item: -item[1])}


def binding(space: Any, candidate: Candidate) -> tuple[str, ...]:
    """Limits of the space at which a candidate lies."""
    found = []
    composition = space.composition
    for c in composition.components if composition else ():
        share = candidate.fractions.get(c.name, 0)
        if share == c.high and c.high < 1:
            found.append(f"{c.name} at its maximum of {float(c.high):g}")
        elif share == c.low and c.low > 0:
            found.append(f"{c.name} at its minimum of {float(c.low):g}")
    if absent := [c.name for c in composition.components if not candidate.fractions.get(c.name)] if composition else []:
        found.append(f"without {', '.join(absent)}")
    if composition and composition.max_present is not None and len(candidate.fractions) == composition.max_present:
        found.append(f"no more than {composition.max_present} components may be present")
    for constraint in composition.constraints if composition else ():
        total = sum(k * candidate.fractions.get(n, 0) for n, k in constraint.coefficients.items())
        if total in (constraint.low, constraint.high):
            found.append(f"constraint {constraint.name!r} at {float(total):g}")
    for p in space.process:
        value = candidate.process[p.name]
        if not isinstance(p, CategoricalParameter) and value in (p.low, p.high):
            found.append(f"{p.name} at its {'minimum' if value == p.low else 'maximum'} of {value:g} {p.unit}".rstrip())
    return tuple(found)
