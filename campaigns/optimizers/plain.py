"""The plain library, to compare with: bayesian-optimization as its README uses it.

A box of numbers, five random points, then `suggest`; the listed candidate nearest to what it
suggests is taken. Of a composition the box has all fractions but the last, which the others
decide. It is told the same wish as all others, as far as it can be: what it maximises is minus
the distance to a target, what breaks a limit is worth the least of what was found, and for a map
the doubt alone counts.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from campaigns.budget import keeps_limits
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
            for _ in range(min(n, int(free.sum()))):
                asked = library.random_sample(1)[0] if len(known) + len(found) < FIRST else library.suggest()
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
        from bayes_opt import BayesianOptimization

        state = int(generator("plain", *seed).integers(2**31))
        library = BayesianOptimization(
            None, box.bounds, acquisition_function=chosen(objective), random_state=state, verbose=0,
            allow_duplicate_points=True,
        )  # fmt: skip
        told = [(o, float(objective.worth(o.value))) for o in known if o.value is not None]
        least = min((worth for _, worth in told), default=0.0)
        for o, worth in told:
            counts = objective.goal == "map" or keeps_limits(objective, o)
            library.register(box.point(o.candidate), worth if counts else least)
        return library


def chosen(objective: Objective) -> Any:
    """The acquisition of a map; None for the library's own."""
    from bayes_opt.acquisition import UpperConfidenceBound

    return UpperConfidenceBound(kappa=ONLY_DOUBT) if objective.goal == "map" else None


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
