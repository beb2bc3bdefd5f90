"""The default optimizer: bayesian-optimization with candidates that can be made.

The library keeps the observations (`TargetSpace`) and asks (`ExpectedImprovement.suggest`).
What is ours sits on its hooks: a surrogate with priors and known noise behind the `gp`
argument, and an acquisition that chooses among feasible candidates instead of searching a
box, most of which is no composition. Avoided on purpose: its NonlinearConstraint (it would
learn that fractions sum to 1), ConstantLiar (stale lies when the weighed composition
differs) and save_state (it cannot write a better kernel).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from campaigns.candidate import Candidate
from campaigns.optimizer import Objective, Observation, Proposal
from campaigns.optimizers.grid import Grid, Table, generator, joined
from campaigns.space import Space

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

EVERY = 4000  #: a space of at most so many candidates is searched whole
DRAWN = 1500  #: candidates drawn from a larger one
STARTS, ROUNDS = 5, 12  #: local refinement: best candidates to start from, steps each
DESIGN_DRAWS = 400  #: candidates among which the initial design is spread
FIT_ON = 150  #: observations on which hyperparameters are fitted: the best and evenly spread others
FAILURE_REACH = 0.35  #: distance over which a failed candidate warns, in widths of a column
FAILURE_PRIOR = (0.1, 0.9)  #: pseudo-counts of failures and successes where nothing is known


class BayesianOptimizer:
    """See module.

    Parameters
    ----------
    initial
        Experiments that fill the space before the model decides; by default twice the
        number of free dimensions plus two, at least 6.
    """

    def __init__(self, initial: int | None = None) -> None:
        self.initial = initial
        self.name = f"bayesian-optimization {version('bayesian-optimization')}, expected improvement"

    def propose(
        self,
        space: Space,
        objective: Objective,
        history: Sequence[Observation],
        pending: Sequence[Candidate],
        n: int,
        seed: int,
    ) -> list[Proposal]:
        known = sorted(history, key=lambda o: o.number)
        waiting = sorted(pending, key=lambda c: repr(c.key))
        taken = {o.candidate for o in known} | set(waiting)
        wanted = self.initial if self.initial is not None else default_initial(space)
        found: list[Proposal] = []
        if len(taken) < wanted:
            found = initial_design(space, seed, wanted, taken, min(n, wanted - len(taken)))
            taken |= {p.candidate for p in found}
        measured = [o for o in known if o.value is not None]
        if len(found) < n and len(measured) < 2:
            found += spread_out(space, seed, taken, n - len(found))
        elif len(found) < n:
            from threadpoolctl import threadpool_limits

            with threadpool_limits(1):  # one order of summation, so that the same history gives the same bits
                model = Model(space, objective, known)
                model.believe([*waiting, *(p.candidate for p in found)])
                found += model.best(taken, n - len(found), generator(seed, len(known), len(taken)))
        return found


def import_libraries() -> None:
    """Load what the first proposal of the model will need."""
    for name in ("bayes_opt.acquisition", "scipy.optimize", "sklearn.gaussian_process"):
        importlib.import_module(name)


def free_dimensions(space: Space) -> int:
    """How many numbers one is free to choose."""
    composition = len(space.composition.components) - 1 if space.composition else 0
    return max(1, composition + len(space.process))


def default_initial(space: Space) -> int:
    """How many experiments fill the space before the model decides."""
    return min(40, max(6, 2 * (free_dimensions(space) + 1)))


def initial_design(space: Space, seed: int, size: int, taken: Iterable[Candidate], n: int) -> list[Proposal]:
    """The next candidates of a design that fills the space.

    Farthest-point order over feasible candidates, from the one nearest to the middle: the
    same list for a seed, of which those not yet taken come next.
    """
    made = set(taken)
    fresh = [c for c in farthest(space, generator(seed, "design"), size + len(made)) if c not in made]
    return [Proposal(candidate=c, reason="initial design") for c in fresh[:n]]


def spread_out(space: Space, seed: int, taken: Iterable[Candidate], n: int) -> list[Proposal]:
    """Candidates far from all others, for when there is nothing to learn from yet."""
    made = set(taken)
    fresh = [c for c in farthest(space, generator(seed, len(made)), n + len(made)) if c not in made]
    return [Proposal(candidate=c, reason="space filling") for c in fresh[:n]]


def farthest(space: Space, rng: Any, size: int) -> list[Candidate]:
    """Candidates in farthest-point order (Gonzalez 1985), beginning in the middle."""
    import numpy as np

    grid = Grid(space)
    whole = grid.all(EVERY)
    table = whole if whole is not None else joined([grid.draw(rng, max(DESIGN_DRAWS, 4 * size))])
    points = grid.points(table)
    order = [int(np.argmin(np.linalg.norm(points - points.mean(axis=0), axis=1)))]
    gap = np.linalg.norm(points - points[order[0]], axis=1)
    while len(order) < min(size, len(table)):
        order.append(int(np.argmax(gap)))
        gap = np.minimum(gap, np.linalg.norm(points - points[order[-1]], axis=1))
    return [grid.candidate(table, i) for i in order]


class Model:
    """What the observations say about every candidate."""

    def __init__(self, space: Space, objective: Objective, known: Sequence[Observation]) -> None:
        import numpy as np

        self.space = space
        self.sign = 1.0 if objective.direction == "maximize" else -1.0
        self.grid = Grid(space)
        measured = [o for o in known if o.value is not None]
        values = self.sign * np.array([o.value for o in measured], dtype=float)
        noise = np.array([o.u or 0.0 for o in measured], dtype=float)
        self.made = self._points_made(measured)
        self.points, self.values, self.noise = merged(self.made, values, noise)
        failed = [o for o in known if o.failed]
        self.failed = self._points_made(failed) if failed else np.zeros((0, self.made.shape[1]))
        self.kernel = fitted_kernel(self.points, self.values, self.noise)
        self.believed: list[Any] = []

    def _points_made(self, observations: Sequence[Observation]) -> Array:
        """Where each observation really was: the weighed composition where it is known."""
        import numpy as np

        asked = self.grid.table([o.candidate for o in observations])
        fractions = asked.counts / self.grid.steps
        for i, o in enumerate(observations):
            if o.actual:
                fractions[i] = [o.actual.get(name, 0.0) for name in self.grid.names]
        return np.asarray(self.grid.points_of(fractions, asked))

    def believe(self, candidates: Sequence[Candidate]) -> None:
        """Take each to have turned out as predicted, so that what is under way is not proposed again."""
        if candidates:
            points = self.grid.points(self.grid.table(candidates))
            self.believed += list(zip(points, self.surrogate().predict(points), strict=True))

    def surrogate(self) -> Any:
        """The Gaussian process over observations and beliefs, hyperparameters as fitted."""
        import numpy as np
        from sklearn.gaussian_process import GaussianProcessRegressor

        middle, spread = scale(self.values)
        points = np.vstack([self.points, *(p for p, _ in self.believed)])
        values = np.concatenate([self.values, [v for _, v in self.believed]])
        noise = np.concatenate([self.noise, np.zeros(len(self.believed))])
        model = GaussianProcessRegressor(self.kernel, alpha=1e-8 + (noise / spread) ** 2, optimizer=None)
        return Shifted(model.fit(points, (values - middle) / spread), middle, spread)

    def feasible(self, points: Array) -> Array:
        """Probability that each candidate can be made and measured.

        A kernel estimate over the experiments that failed and those that did not, with a
        weak prior: where nothing failed near by, close to 1.
        """
        import numpy as np

        if not len(self.failed):
            return np.ones(len(points))
        bad = kernel_sum(points, self.failed) + FAILURE_PRIOR[0]
        good = kernel_sum(points, self.made) + FAILURE_PRIOR[1]
        result: Array = good / (good + bad)
        return result

    def best(self, taken: set[Candidate], n: int, rng: Any) -> list[Proposal]:
        """The candidates of the highest expected improvement, one after the other."""
        search = self._search_set(taken, rng)
        found: list[Proposal] = []
        for _ in range(n):
            surrogate = self.surrogate()
            chooser = make_chooser(self, search, taken, float(surrogate.predict(self.points).max()), rng)
            chooser.suggest(gp=surrogate, target_space=self._target_space(), fit_gp=False)
            if chooser.chosen is None:
                break
            found.append(self._proposal(chooser.chosen, chooser.gain, surrogate))
            taken.add(chooser.chosen)
            self.believe([chooser.chosen])
        return found

    def _target_space(self) -> Any:
        """The observations as the library keeps them."""
        from bayes_opt.target_space import TargetSpace

        names = [f"x{i:03d}" for i in range(self.points.shape[1])]
        target = TargetSpace(None, dict.fromkeys(names, (-10.0, 10.0)), allow_duplicate_points=False)
        # Only the best is read from it: the surrogate was fitted on all of them.
        best = int(self.values.argmax())
        target.register(self.points[best], self.values[best])
        return target

    def _search_set(self, taken: Iterable[Candidate], rng: Any) -> Table:
        """Candidates to choose among: all of a small space, else many drawn and those near the best."""
        whole = self.grid.all(EVERY)
        if whole is not None:
            return whole
        made = self.grid.table(sorted(taken, key=lambda c: repr(c.key)))
        order = self.surrogate().predict(self.grid.points(made)).argsort(kind="stable")[::-1][:STARTS]
        near = [self.grid.around(made, int(i), rng, (1, 2, 5)) for i in order]
        return joined([self.grid.draw(rng, DRAWN), *near])

    def _proposal(self, candidate: Candidate, gain: float, surrogate: Any) -> Proposal:
        mean, sd = surrogate.predict(self.grid.points(self.grid.table([candidate])), return_std=True)
        return Proposal(
            candidate=candidate,
            reason="expected improvement",
            predicted=self.sign * float(mean[0]),
            predicted_u=float(sd[0]),
            gain=max(0.0, gain),
        )


class Shifted:
    """A Gaussian process on standardised values, asked and answering in the values' own unit."""

    def __init__(self, model: Any, middle: float, spread: float) -> None:
        self.model, self.middle, self.spread = model, middle, spread
        self.X_train_ = model.X_train_  # the library reads the number of dimensions here

    def predict(self, points: Array, return_std: bool = False) -> Any:
        """Mean, and the standard deviation of the noiseless value when asked."""
        if not return_std:
            return self.middle + self.spread * self.model.predict(points)
        mean, sd = self.model.predict(points, return_std=True)
        return self.middle + self.spread * mean, self.spread * sd


def scale(values: Array) -> tuple[float, float]:
    """Mean and standard deviation, the latter never 0."""
    spread = float(values.std())
    return float(values.mean()), spread if spread > 1e-12 else 1.0


def merged(points: Array, values: Array, noise: Array) -> tuple[Array, Array, Array]:
    """Replicates of one point as one observation: mean, and the noise of the mean."""
    import numpy as np

    unique, group = np.unique(np.round(points, 9), axis=0, return_inverse=True)
    if len(unique) == len(points):
        return points, values, noise
    group = group.ravel()
    count = np.bincount(group)
    mean = np.bincount(group, values) / count
    u = np.sqrt(np.bincount(group, noise**2)) / count
    return unique, mean, u


def kernel_sum(points: Array, others: Array) -> Array:
    """How much of `others` lies near each point."""
    import numpy as np

    square = ((points[:, None, :] - others[None, :, :]) ** 2).sum(axis=2)
    total: Array = np.exp(-square / (2 * FAILURE_REACH**2)).sum(axis=1)
    return total


def fitted_kernel(points: Array, values: Array, noise: Array) -> Any:
    """Amplitude x ARD Matern-5/2 + noise, hyperparameters at the maximum of the posterior.

    Log-normal priors: length scale median exp(-0.7) in widths of a column and sd 1,
    amplitude median 1 and sd 0.7, noise variance median exp(-4) and sd 1, for standardised
    values. They keep a fit on few points from believing that nothing varies.
    """
    import numpy as np
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    rows = spread_rows(values, FIT_ON)
    points, noise = points[rows], noise[rows]
    middle, spread = scale(values)
    width = points.shape[1]
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(np.full(width, 0.5), (5e-2, 20.0), nu=2.5) + WhiteKernel(
        np.exp(-4.0), (1e-6, 1.0)
    )
    prior_mean = np.array([0.0, *[-0.7] * width, -4.0])
    prior_sd = np.array([1.4, *[1.0] * width, 1.0])

    def maximise(objective: Callable[..., Any], start: Array, bounds: Array) -> tuple[Array, float]:
        """scikit-learn's own gradient with that of the priors, by L-BFGS-B."""
        from scipy.optimize import minimize

        def posterior(theta: Array) -> tuple[float, Array]:
            value, gradient = objective(theta)
            away = (theta - prior_mean) / prior_sd
            return float(value) + 0.5 * float(away @ away), gradient + away / prior_sd

        search: Any = minimize  # its stubs do not know a function that returns value and gradient
        best = search(posterior, start, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": 60})
        return best.x, float(best.fun)

    model = GaussianProcessRegressor(kernel, alpha=1e-8 + (noise / spread) ** 2, optimizer=maximise)
    return model.fit(points, (values[rows] - middle) / spread).kernel_


def spread_rows(values: Array, most: int) -> Array:
    """Rows to fit on: all, or the best half and an even choice of the rest."""
    import numpy as np

    if len(values) <= most:
        return np.arange(len(values))
    order = np.argsort(-values, kind="stable")
    rest = order[most // 2 :]
    picked = rest[np.linspace(0, len(rest) - 1, most - most // 2).astype(int)]
    return np.sort(np.concatenate([order[: most // 2], picked]))


def make_chooser(model: Model, search: Table, taken: set[Candidate], incumbent: float, rng: Any) -> Any:
    """The library's expected improvement, maximised over candidates that can be made.

    A function makes the class, so that the library is imported only when it is used.
    """
    import numpy as np
    from bayes_opt.acquisition import ExpectedImprovement

    closed = set(model.grid.table(list(taken)).keys) if taken else set()

    class OverCandidates(ExpectedImprovement):
        """Expected improvement over the best posterior mean, times the chance that it can be made."""

        chosen: Candidate | None = None
        gain: float = 0.0

        def base_acq(self, mean: Any, std: Any) -> Any:
            """Measured against the best posterior mean: the best noisy value would be too good to be true."""
            self.y_max = incumbent  # type: ignore[assignment]  # the library annotates it as None
            return super().base_acq(mean, np.maximum(std, 1e-12))

        def _acq_min(self, acq: Any, space: Any, random_state: Any, n_random: int = 0, n_smart: int = 0) -> Array:
            """The hook: choose among candidates, then walk along the grid while it gets better."""
            table = self._open(search)
            if not len(table):
                return np.zeros(space.dim)
            scores = self._score(acq, table)
            order = np.argsort(-scores, kind="stable")[:STARTS]
            best = [(float(scores[i]), table.rows([i])) for i in order]
            if model.space.pool is None:
                best = [self._climb(acq, score, row) for score, row in best]
            _, row = max(best, key=lambda pair: (pair[0], pair[1].keys[0]))
            self.chosen = model.grid.candidate(row, 0)
            point = model.grid.points(row)
            self.gain = float(-acq(point)[0])
            return np.asarray(point[0])

        def _open(self, table: Table) -> Table:
            """Those that were not made and are not being made."""
            return table.rows([i for i, key in enumerate(table.keys) if key not in closed])

        def _score(self, acq: Any, table: Table) -> Array:
            points = model.grid.points(table)
            result: Array = -np.asarray(acq(points)) * model.feasible(points)
            return result

        def _climb(self, acq: Any, score: float, row: Table) -> tuple[float, Table]:
            for _ in range(ROUNDS):
                near = self._open(model.grid.around(row, 0, rng, (1, 3)))
                if not len(near):
                    break
                scores = self._score(acq, near)
                top = int(np.argmax(scores))
                if scores[top] <= score:
                    break
                score, row = float(scores[top]), near.rows([top])
            return score, row

    return OverCandidates(xi=0.0)
