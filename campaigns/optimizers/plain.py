"""The plain library, to compare with: bayesian-optimization as its README uses it.

A box of numbers, five random points, then `suggest`; the listed candidate nearest to what it
suggests is taken. Of a composition the box has all fractions but the last, which the others
decide. It is told the same wish as all others, as far as it can be: what it maximises is minus
the distance to a target, limits are its constraints, and for a map the doubt alone counts.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from campaigns.candidate import Candidate
from campaigns.errors import SpaceError
from campaigns.optimizer import Objective, Observation, Proposal
from campaigns.optimizers.grid import generator
from campaigns.parameters import CategoricalParameter
from campaigns.pool import Pool
from campaigns.space import Space

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

FIRST = 5  #: random points before the model decides: the library's own `init_points`
ONLY_DOUBT = 1e3  #: kappa of a map, beside which no prediction counts


class PlainLibrary:
    """See module. Needs a list of candidates."""

    def __init__(self) -> None:
        self.name = f"bayesian-optimization {version('bayesian-optimization')} as its README uses it"

    def propose(
        self,
        space: Space,
        objective: Objective,
        history: Sequence[Observation],
        pending: Sequence[Candidate],
        n: int,
        seed: int,
    ) -> list[Proposal]:
        if space.pool is None:
            raise SpaceError("the plain library chooses from a list of candidates only")
        box = Box(space.pool)
        known = sorted(history, key=lambda o: o.number)
        free = box.open(space.pool, [*(o.candidate for o in known), *pending])
        found: list[Proposal] = []
        with quiet():
            library = self._library(box, objective, known, (seed, len(known), len(pending)))
            aimless = library.is_constrained and library.max is None  # nothing kept the limits yet
            for _ in range(min(n, int(free.sum()))):
                early = len(known) + len(found) < FIRST
                asked = library.random_sample(1)[0] if early or aimless else library.suggest()
                row = box.nearest(asked, free)
                free[row] = False
                found.append(Proposal(candidate=space.pool[row], reason="nearest to what the library suggests"))
        return found

    def predicted(
        self,
        space: Space,
        objective: Objective,
        history: Sequence[Observation],
        candidates: Sequence[Candidate],
        seed: int,
    ) -> Array:
        """What the library's own process expects of each candidate: of a target, minus the distance to it."""
        assert space.pool is not None
        box = Box(space.pool)
        known = sorted(history, key=lambda o: o.number)
        with quiet():
            library = self._library(box, objective, known, (seed, len(known), 0))
            process, told = library._gp, library.space
            process.fit(told.params, told.target)
            means: Array = process.predict([told.params_to_array(box.point(c)) for c in candidates])
        return objective.sign * means

    def _library(self, box: Box, objective: Objective, known: Sequence[Observation], seed: Sequence[int]) -> Any:
        """The library with all that is known."""
        import numpy as np
        from bayes_opt import BayesianOptimization

        state = int(generator("plain", *seed).integers(2**31))
        library = BayesianOptimization(
            None, box.bounds, random_state=state, verbose=0, allow_duplicate_points=True, **wish(objective)
        )
        for o in known:
            limited = [o.measured(limit.quantity, objective.quantity) for limit in objective.limits]
            if o.value is None or (library.is_constrained and None in limited):
                continue
            values = [m.value for m in limited if m is not None]
            kept = np.squeeze(values) if library.is_constrained else None  # the library takes a single one bare
            library.register(box.point(o.candidate), float(objective.worth(o.value)), kept)
        return library


def wish(objective: Objective) -> dict[str, Any]:
    """How the library is told what is wanted beside a large value. Its constraints and its doubt do not go together."""
    import numpy as np
    from bayes_opt.acquisition import UpperConfidenceBound
    from scipy.optimize import NonlinearConstraint

    if objective.goal == "map":
        return {"acquisition_function": UpperConfidenceBound(kappa=ONLY_DOUBT)}
    if not objective.limits:
        return {}
    low = np.array([-np.inf if limit.low is None else limit.low for limit in objective.limits])
    high = np.array([np.inf if limit.high is None else limit.high for limit in objective.limits])
    return {"constraint": NonlinearConstraint(unasked, low, np.maximum(high, np.nextafter(low, np.inf)))}


def unasked(*_: Any) -> Any:
    """The constraint's function: the library is told values, and never asks."""
    raise AssertionError("the library was to be told, not to measure")


class Box:
    """The candidates as the library sees them: numbers between bounds, and names."""

    def __init__(self, pool: Pool) -> None:
        import numpy as np

        self.pool = pool
        components = pool.components[:-1]
        shares = pool.counts[:, : len(components)] / pool.steps
        columns = np.hstack([shares, pool.settings])
        names = [*components, *(p.name for p in pool.parameters)]
        choices = {p.name: p.choices for p in pool.parameters if isinstance(p, CategoricalParameter)}
        low, high = columns.min(axis=0), columns.max(axis=0)
        self.used = [
            i for i in range(len(names)) if names[i] in choices or high[i] > low[i]
        ]  # a constant is no dimension
        self.columns, self.low, self.span = columns, low, np.where(high > low, high - low, 1.0)
        self.choices = {i: choices[names[i]] for i in self.used if names[i] in choices}
        self.bounds: dict[str, Any] = {
            f"x{i:03d}": self.choices.get(i, (float(low[i]), float(high[i]))) for i in self.used
        }

    def point(self, candidate: Candidate) -> dict[str, Any]:
        """A candidate of the list as the library's parameters."""
        row = self.columns[self.pool.index(candidate)]
        return {f"x{i:03d}": self.choices[i][int(row[i])] if i in self.choices else float(row[i]) for i in self.used}

    def nearest(self, asked: Any, free: Array) -> int:
        """The open candidate nearest to a point, each column scaled to its range; another choice counts as a range."""
        import numpy as np

        rows = np.flatnonzero(free)
        square = np.zeros(len(rows))
        for i in self.used:
            value = asked[f"x{i:03d}"]
            column = self.columns[rows, i]
            if i in self.choices:
                square += column != self.choices[i].index(str(value))
            else:
                square += ((column - float(value)) / self.span[i]) ** 2
        return int(rows[np.argmin(square)])

    def open(self, pool: Pool, taken: Sequence[Candidate]) -> Array:
        """Mask of the candidates that are neither measured nor under way."""
        import numpy as np

        free = np.ones(len(pool), dtype=bool)
        for candidate in taken:
            if candidate in pool:
                free[pool.index(candidate)] = False
        return free


@contextlib.contextmanager
def quiet() -> Any:
    """Nothing that the library prints or warns of reaches the terminal; one thread, the same bits."""
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), threadpool_limits(1):
        warnings.simplefilter("ignore")
        yield
