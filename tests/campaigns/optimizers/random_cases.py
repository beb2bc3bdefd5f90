"""Campaigns at random, each decided by one number: spaces, histories and wishes that no one would think of."""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isfinite
from typing import Any

from campaigns.candidate import Candidate, Setting
from campaigns.errors import SpaceError
from campaigns.optimizer import Earlier, Measured, Objective, Observation, OutcomeLimit, Prices, Proposal
from campaigns.optimizers.bayesian import BayesianOptimizer
from campaigns.parameters import CategoricalParameter, FloatParameter, IntegerParameter, Parameter
from campaigns.space import Component, CompositionSpace, LinearConstraint, Space

STEPS = [20, 25, 40, 50, 100, 200, 400, 1000]
SCALES = [1.0, 1.0, 1.0, 1e-12, 1e12, 1e-3]
FURTHER = ["density", "price", "hardness"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One campaign at one moment."""

    space: Space
    objective: Objective
    history: Sequence[Observation]
    pending: Sequence[Candidate]
    options: dict[str, Any]
    n: int
    seed: int

    def optimizer(self) -> BayesianOptimizer:
        return BayesianOptimizer(**self.options)

    def proposals(self, optimizer: BayesianOptimizer, history: Sequence[Observation]) -> list[Proposal]:
        return optimizer.propose(self.space, self.objective, history, self.pending, self.n, self.seed)


def random_case(seed: int) -> Case:
    rng = random.Random(f"case {seed}")
    space, objective = random_space(rng), random_objective(rng)
    history = random_history(rng, space, objective, rng.choice([0, 1, 2, rng.randint(3, 15), rng.randint(3, 60)]))
    pending = [c for _ in range(rng.choice([0, 0, 1, 2, 5])) if (c := space.draw(rng)) is not None]
    if history and rng.random() < 0.1:
        pending.append(rng.choice(history).candidate)
    return Case(
        space=space,
        objective=objective,
        history=history,
        pending=pending,
        options=random_options(rng, space, objective),
        n=rng.choice([1, 1, 2, 3, 5, 8]),
        seed=rng.randrange(1000),
    )


# -- spaces ---------------------------------------------------------------------------------


def random_space(rng: random.Random) -> Space:
    kind = rng.choice(["composition", "composition", "settings", "both", "both"])
    composition = None if kind == "settings" else random_composition(rng)
    process = [] if kind == "composition" else [random_parameter(rng, i) for i in range(rng.randint(1, 3))]
    space = Space(composition=composition, process=tuple(process))
    if rng.random() < 0.3:
        size = rng.choice([1, 2, 5, rng.randint(3, 40), rng.randint(40, 300)])
        drawn = [c for _ in range(size) if (c := space.draw(rng)) is not None]
        if rng.random() < 0.3:  # some rows twice
            drawn += rng.choices(drawn, k=1 + len(drawn) // 4)
        return replace(space, pool=space.pool_of(drawn))
    return space


def random_composition(rng: random.Random) -> CompositionSpace:
    for _ in range(200):
        steps, names = rng.choice(STEPS), "ABCDEFGH"[: rng.randint(2, 8)]
        try:
            free = CompositionSpace(
                components=tuple(random_component(rng, name, len(names)) for name in names),
                step=Fraction(1, steps),
                balance=rng.choice([None, names[-1]]),
                max_present=rng.choice([None, None, rng.randint(1, len(names))]),
            )
        except SpaceError:
            continue
        inside = free.draw(rng)
        if inside is not None:
            about = [random_constraint(rng, free, inside, i) for i in range(rng.choice([0, 0, 0, 1, 1, 2]))]
            return replace(free, constraints=tuple(about))
    raise AssertionError("no space in 200 tries")


def random_component(rng: random.Random, name: str, among: int) -> Component:
    """Bounds on the grid or beside it; a few are fixed, a few must be there."""
    low, high = Fraction(0), Fraction(1)
    if rng.random() < 0.3:
        low = Fraction(rng.randint(0, 600 // among), 1000)
    if rng.random() < 0.4:
        high = min(Fraction(1), low + Fraction(rng.choice([0, 50, rng.randint(60, 900), 900]), 1000))
    return Component(name=name, formula=name, low=low, high=high, optional=rng.random() < 0.3)


def random_constraint(
    rng: random.Random, space: CompositionSpace, inside: Sequence[int], number: int
) -> LinearConstraint:
    """Kept by one known composition at least; some are equalities, some leave a narrow band."""
    names = rng.sample(space.names, rng.randint(1, min(3, len(space.names))))
    coefficients = {n: Fraction(rng.choice(["1", "1", "-1", "2", "-2", "0.5", "0.37"])) for n in names}
    fractions = space.fractions(inside)
    total = sum((c * fractions.get(n, Fraction(0)) for n, c in coefficients.items()), Fraction(0))
    below, above = (rng.choice([Fraction(0), space.step, Fraction(1, 20), Fraction(1, 3)]) for _ in range(2))
    kind = rng.choice(["equal", "low", "high", "both"])
    return LinearConstraint(
        name=f"rule {number}",
        coefficients=coefficients,
        low=total if kind == "equal" else None if kind == "high" else total - below,
        high=total if kind == "equal" else None if kind == "low" else total + above,
    )


def random_parameter(rng: random.Random, number: int) -> Parameter:
    kind = rng.choice(["continuous", "stepped", "whole", "choice"])
    if kind == "choice":
        return CategoricalParameter(name=f"p{number}", choices=("air", "Ar", "N2", "O2", "H2")[: rng.randint(2, 5)])
    if kind == "whole":
        low = rng.choice([-3, 0, 1, 100])
        return IntegerParameter(name=f"p{number}", low=low, high=low + rng.choice([1, 4, 10, 1000]))
    low, width = rng.choice([0.0, -50.0, 0.1, 300.0, 1e5]), rng.choice([0.3, 1.0, 60.0, 700.0])
    high = low + width
    step = (high - low) * rng.choice([0.001, 0.01, 0.07, 0.1, 0.3, 1.0]) if kind == "stepped" else None
    return FloatParameter(name=f"p{number}", low=low, high=high, step=step)


# -- what is wanted, what is known ----------------------------------------------------------


def random_objective(rng: random.Random) -> Objective:
    goal = rng.choice(["best", "best", "many", "target", "map"])
    middle = rng.uniform(-1, 1)
    further = rng.sample(FURTHER, rng.choice([0, 0, 0, 1, 1, 2]))
    limited = rng.sample(["y", *FURTHER], rng.choice([0, 0, 0, 1, 2]))
    limits = [OutcomeLimit(quantity=q, low=rng.choice([None, -0.5]), high=rng.choice([0.5, 1.5])) for q in limited]
    return Objective(
        quantity="y",
        unit="1",
        direction=rng.choice(["maximize", "minimize"]),
        goal=goal,
        target=middle if goal == "target" else None,
        band=(middle - 0.1, middle + rng.choice([-0.1, 0.1])) if goal == "target" and rng.random() < 0.5 else None,
        others=tuple(
            Objective(
                quantity=q,
                unit="1",
                direction=rng.choice(["maximize", "minimize"]),
                weight=rng.choice([1.0, 0.2, 0.0]),
                reference=rng.choice([None, None, -1.0, 1.0]),
            )
            for q in further
        ),
        limits=tuple(limits),
        combine=rng.choice(["pareto", "pareto", "weighted"]),
    )


def random_history(rng: random.Random, space: Space, objective: Objective, size: int) -> list[Observation]:
    """Smooth values with noise, in any unit, and all that goes wrong in a laboratory."""
    scale, offset = rng.choice(SCALES), rng.choice([0.0, 0.0, 5.0, 1000.0])
    kind = rng.choice(["smooth", "smooth", "noise", "equal"])
    failing, partial, odd = (
        rng.choice([0.0, 0.0, share, 1.0 if rng.random() < 0.1 else share]) for share in (0.3, 0.2, 0.05)
    )
    uncertain, weighed, days = rng.random() < 0.5, rng.random() < 0.3, rng.choice([0, 0, 1, 3])
    slopes = {name: rng.gauss(0, 1) for name in space.names}
    found: list[Observation] = []
    for number in sorted(rng.sample(range(1, 3 * size + 2), size)):
        again = found and rng.random() < 0.1
        candidate = rng.choice(found).candidate if again else space.draw(rng)
        if candidate is None:
            break
        if rng.random() < 0.03:
            candidate = beside(rng, space, candidate)
        level = 0.0 if kind == "equal" else rng.gauss(0, 1) if kind == "noise" else height(candidate, slopes)
        value = offset + level + (rng.gauss(0, 0.05) if kind == "smooth" else 0.0)
        if rng.random() < odd:
            value += rng.choice([-50.0, 50.0, 1e6])
        others = {q: Measured(level + rng.gauss(0, 0.3), rng.choice([None, 0.1])) for q in FURTHER}
        kept = [q for q in objective.quantities if q in others and rng.random() > partial]
        failed = rng.random() < failing
        found.append(
            Observation(
                number=number,
                candidate=candidate,
                value=None if failed or rng.random() < partial else scale * value,
                u=scale * rng.choice([0.0, 0.01, 1.0]) if uncertain and rng.random() < 0.8 else None,
                actual=weighed_shares(rng, candidate) if weighed and rng.random() < 0.8 else {},
                others={} if failed else {q: others[q] for q in kept},
                block=f"day {rng.randint(1, days)}" if days and rng.random() < 0.9 else None,
            )
        )
    return found


def height(candidate: Candidate, slopes: dict[str, float]) -> float:
    total = sum(slopes[n] * float(f) - 2 * (float(f) - 0.3) ** 2 for n, f in candidate.fractions.items())
    numbers = [slopes[n] * v / (1 + abs(v)) for n, v in candidate.process.items() if not isinstance(v, str)]
    return total + sum(numbers) + sum(0.3 * (v == "Ar") for v in candidate.process.values())


def weighed_shares(rng: random.Random, candidate: Candidate) -> dict[str, float]:
    masses = {n: max(0.0, float(f) * rng.gauss(1, 0.02)) for n, f in candidate.fractions.items()}
    total = sum(masses.values())
    return {n: m / total for n, m in masses.items()} if total else {}


def beside(rng: random.Random, space: Space, candidate: Candidate) -> Candidate:
    """Off the grid, perhaps out of bounds: an experiment that was made by hand."""
    process = {p.name: beside_setting(rng, p, candidate.process[p.name]) for p in space.process}
    if space.composition is None:
        return Candidate({}, process)
    parts = {name: Fraction(rng.randint(0, 30)) for name in space.composition.names}
    total = sum(parts.values())
    return Candidate({n: p / total for n, p in parts.items()}, process) if total else candidate


def beside_setting(rng: random.Random, parameter: Parameter, value: Setting) -> Setting:
    if isinstance(parameter, CategoricalParameter) or isinstance(value, str) or rng.random() < 0.5:
        return value
    off = value + rng.choice([0.3, -1.7, 0.01]) * (parameter.high - parameter.low)
    return round(off) if isinstance(parameter, IntegerParameter) else off


def random_options(rng: random.Random, space: Space, objective: Objective) -> dict[str, Any]:
    options: dict[str, Any] = {
        "initial": rng.choice([None, None, 1, 3, 12]),
        "budget": rng.choice([None, None, 10, 30, 200]),
        "model": "single-gp" if rng.random() < 0.05 else "mixture",
        "coordinates": rng.choice(["auto", "auto", "auto", "roots", "uniform", "fractions"]),
        "replicates": rng.choice([None, None, None, True, False]),
    }
    if rng.random() < 0.25:
        options["prices"] = random_prices(rng, space)
    if rng.random() < 0.25:
        names = [p.name for p in space.process]
        options |= {"tray": rng.choice([2, 3, 4]), "shared": rng.sample(names, rng.randint(0, len(names)))}
    if rng.random() < 0.15:
        options["earlier"] = [random_earlier(rng, space, objective, i) for i in range(rng.randint(1, 2))]
    return options


def random_prices(rng: random.Random, space: Space) -> Prices:
    names = space.composition.names if space.composition else ()
    numeric = [p.name for p in space.process if not isinstance(p, CategoricalParameter)]
    return Prices(
        fixed=rng.choice([0.0, 1.0]),
        components={n: rng.choice([0.0, 1.0, 100.0]) for n in names if rng.random() < 0.7},
        settings={n: rng.choice([0.0, 0.01]) for n in numeric},
    )


def random_earlier(rng: random.Random, space: Space, objective: Objective, number: int) -> Earlier:
    """Of the same space, or of another that may share some names with it."""
    other = space if rng.random() < 0.5 else random_space(rng)
    history = random_history(rng, other, objective, rng.choice([0, 4, 20]))
    return Earlier(name=f"C-{number:04}", space=other, objective=objective, history=history)


# -- what must hold -------------------------------------------------------------------------


def violations(seed: int) -> list[str]:
    """Promises that the optimizer breaks on one case; empty when it keeps all."""
    case, twin = random_case(seed), random_case(seed)
    rng = random.Random(f"order {seed}")
    shuffled = rng.sample(twin.history, len(twin.history))
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        found = case.proposals(case.optimizer(), case.history)
        again = replace(twin, pending=twin.pending[::-1]).proposals(twin.optimizer(), shuffled)
        grown = case.proposals(told_bit_by_bit(rng, case), case.history)
    problems = [f"warning: {w.message}" for w in leaked]
    problems += [f"another answer after a restart: {a} is not {b}" for a, b in differences(found, again)]
    problems += [f"another answer after growing: {a} is not {b}" for a, b in differences(found, grown)]
    for broken_by in (not_to_be_made, not_new, too_few, not_on_one_tray, bad_numbers):
        problems += broken_by(case, found)
    return problems


def told_bit_by_bit(rng: random.Random, case: Case) -> BayesianOptimizer:
    """An optimizer that was asked on the way, as rows came in, half of the time out of turn."""
    optimizer = case.optimizer()
    arrival = list(case.history) if rng.random() < 0.5 else rng.sample(case.history, len(case.history))
    size = len(arrival)
    for told in sorted({rng.randint(0, size), max(0, size - 2), max(0, size - 1)}):
        replace(case, n=rng.choice([1, 2])).proposals(optimizer, arrival[:told])
    return optimizer


def differences(one: Sequence[Proposal], other: Sequence[Proposal]) -> list[tuple[Any, Any]]:
    if len(one) != len(other):
        return [(f"{len(one)} proposals", len(other))]
    return [(a, b) for a, b in zip(one, other, strict=True) if a != b or repr(a) != repr(b)][:1]


def not_to_be_made(case: Case, found: Sequence[Proposal]) -> list[str]:
    problems = [p for f in found for p in case.space.problems(f.candidate)]
    if case.space.pool is not None:
        problems += [f"{f.candidate} is not in the list" for f in found if f.candidate not in case.space.pool]
    elif case.space.composition is not None:
        problems += [f"{f.candidate} does not sum to 1" for f in found if sum(f.candidate.fractions.values()) != 1]
    return problems


def not_new(case: Case, found: Sequence[Proposal]) -> list[str]:
    problems, taken = [], {o.candidate for o in case.history} | set(case.pending)
    for p in found:
        if p.reason == "replicate" and case.space.pool is not None and not case.options["replicates"]:
            problems.append(f"a replicate in a list: {p.candidate}")
        if p.reason == "replicate" and p.candidate not in {o.candidate for o in case.history}:
            problems.append(f"a replicate of nothing that was measured: {p.candidate}")
        if p.reason != "replicate" and p.candidate in taken:
            problems.append(f"{p.reason}: {p.candidate} was made, is pending or was proposed already")
        taken.add(p.candidate)
    return problems


def too_few(case: Case, found: Sequence[Proposal]) -> list[str]:
    """Too many, or fewer than asked for although more are at hand (with the settings of the tray, where it shares some)."""
    if len(found) > case.n:
        return [f"{len(found)} proposals, {case.n} were asked for"]
    if len(found) == case.n:
        return []
    closed = {o.candidate for o in case.history} | {p.candidate for p in found} | set(case.pending)
    tray, shared = case.options.get("tray", 1), case.options.get("shared", ())
    same = {n: found[-1].candidate.process[n] for n in shared} if found and len(found) % tray else {}
    rng = random.Random(0)
    at_hand = case.space.all() or [c for _ in range(200) if (c := case.space.draw(rng)) is not None]
    left = {c for c in at_hand if c not in closed and same.items() <= dict(c.process).items()}
    return [f"{len(found)} proposals of {case.n}, although {len(left)} are at hand"] if left else []


def not_on_one_tray(case: Case, found: Sequence[Proposal]) -> list[str]:
    if case.n > case.options.get("tray", 1):
        return []
    shared = [{str(f.candidate.process[n]) for f in found} for n in case.options.get("shared", ())]
    return [f"one tray, {len(values)} settings: {values}" for values in shared if len(values) > 1]


def bad_numbers(case: Case, found: Sequence[Proposal]) -> list[str]:
    problems = []
    for p in found:
        told = {"predicted": p.predicted, "predicted_u": p.predicted_u, "gain": p.gain, "chance": p.chance}
        told |= {q: m.value for q, m in p.others.items()} | {f"u of {q}": m.u for q, m in p.others.items()}
        problems += [f"{name} is {v}" for name, v in told.items() if v is not None and not isfinite(v)]
        problems += [
            f"{name} is {v}"
            for name, v in told.items()
            if name in ("predicted_u", "gain", "chance") and v is not None and v < 0
        ]
        if p.chance is not None and p.chance > 1:
            problems.append(f"chance is {p.chance}")
    return problems
