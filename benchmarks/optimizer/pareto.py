"""Two objectives: the hypervolume of what 60 experiments found, over one pool for all.

"alloys": compositions of five components, two alloy landscapes of the harness with their
peaks apart, 2 % noise. "zdt1": five process settings, ZDT1 with its optimum moved into the
box, noise 0.02. The pool has 1,000 rows on a grid; volumes are of the true values of the
rows that were picked, as a share of the volume of all rows. Every peer knows the reference
point. Protocols: a, ten random rows given; b, own start.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.optimizer import harness
from benchmarks.optimizer.adapters import BUDGET as BUDGETS
from benchmarks.optimizer.adapters import BayesianOptimizer, pool_space
from benchmarks.optimizer.results import Run
from benchmarks.optimizer.starts import seed_baybe
from campaigns.candidate import Candidate
from campaigns.observations import Observations
from campaigns.optimizer import Measured, Objective, Observation

Array = np.ndarray[Any, Any]

ROWS, BUDGET, GIVEN = 1000, BUDGETS["simplex"], {"a": 10, "b": 0}
OWN = 10  #: random rows for a peer without a start
PROBLEMS = ("alloys a", "zdt1 a", "alloys b", "zdt1 b")
DEFAULT = ("labctl", "random", "qnehvi", "baybe")
FEW = {"qnehvi": 10, "baybe": 10}  #: peers too slow for all seeds


def wanted(figure: str, peers: tuple[str, ...], seeds: range) -> list[Run]:
    """All runs of this figure."""
    return [
        Run(figure, peer, p, s) for peer in peers if peer in PEERS for s in seeds[: FEW.get(peer)] for p in PROBLEMS
    ]


# -- problems -----------------------------------------------------------------------------


@dataclass
class Problem:
    """A pool with two true values per row, both larger the better."""

    X: Array
    values: Array
    reference: Array
    noise: float
    simplex: float | None
    name: str
    lo: Array = field(init=False)
    hi: Array = field(init=False)

    def __post_init__(self) -> None:
        self.lo, self.hi = self.X.min(0), self.X.max(0)

    @property
    def scaled(self) -> Array:
        """Rows in the unit box."""
        return (self.X - self.lo) / (self.hi - self.lo)


def problem(name: str, seed: int) -> Problem:
    """One instance: the optima move with the seed."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
    return alloys(rng, seed) if name == "alloys" else zdt1(rng)


def alloys(rng: Any, seed: int) -> Problem:
    """Two alloys whose peaks lie apart."""
    counts = np.unique(rng.multinomial(20, rng.dirichlet(np.ones(5), 4 * ROWS)), axis=0)
    points = counts[rng.permutation(len(counts))[:ROWS]] / 20
    made = harness.module("run_simplex").Problem
    values = np.stack([made("alloy5", seed).f(points), made("alloy5", seed + 500_000).f(points)], axis=1)
    return Problem(points, values, np.zeros(2), 0.02, 1.0, "alloys")


def zdt1(rng: Any) -> Problem:
    """ZDT1 (Zitzler 2000) with |x - c| for x beyond the first setting, negated: larger is better."""
    points = np.unique(np.round(rng.random((2 * ROWS, 5)) * 20) / 20, axis=0)
    points = points[rng.permutation(len(points))[:ROWS]]
    away = np.abs(points[:, 1:] - rng.uniform(0.2, 0.8, 4))
    g = 1 + 9 * away.mean(1)
    first = points[:, 0]
    return Problem(
        points, -np.stack([first, g * (1 - np.sqrt(first / g))], axis=1), np.array([-1.1, -5.0]), 0.02, None, "zdt1"
    )


def hypervolume(values: Array, reference: Array) -> float:
    """Area that these values dominate above the reference point."""
    kept = values[(values > reference).all(1)]
    area, top = 0.0, reference[1]
    for x, y in kept[np.argsort(-kept[:, 0], kind="stable")]:
        area += (x - reference[0]) * max(0.0, y - top)
        top = max(top, y)
    return float(area)


# -- peers --------------------------------------------------------------------------------


class Peer:
    """Told of rows and their two values, asked for the next row."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self.p, self.seed = problem, seed
        self.rng = np.random.default_rng(seed)
        self.idx: list[int] = []
        self.values: list[Array] = []
        self.start()

    def start(self) -> None:
        """What is needed once."""

    def tell(self, i: int, values: Array) -> None:
        """One row measured."""
        self.idx.append(i)
        self.values.append(values)

    @property
    def free(self) -> Array:
        """Rows not yet measured."""
        return np.setdiff1d(np.arange(len(self.p.X)), self.idx)

    def ask(self) -> int:
        """The next row."""
        return int(self.rng.choice(self.free))


class QNehvi(Peer):
    """BoTorch's noisy expected hypervolume improvement (log), one default GP per objective."""

    def ask(self) -> int:
        if len(self.idx) < OWN:
            return super().ask()
        import torch
        from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
        from botorch.sampling import SobolQMCNormalSampler

        torch.manual_seed(self.seed)
        points = torch.tensor(self.p.scaled, dtype=torch.double)
        acquisition = qLogNoisyExpectedHypervolumeImprovement(
            self.model(points),
            self.p.reference.tolist(),
            points[self.idx],
            sampler=SobolQMCNormalSampler(torch.Size([128]), seed=self.seed),
            prune_baseline=True,
        )
        with torch.no_grad():
            gain = torch.cat([acquisition(part) for part in points[self.free][:, None, :].split(250)])
        return int(self.free[int(gain.argmax())])

    def model(self, points: Any) -> Any:
        """Fitted on all that is known."""
        import torch
        from botorch import fit_gpytorch_mll
        from botorch.models import ModelListGP, SingleTaskGP
        from botorch.models.transforms import Standardize
        from gpytorch.mlls import SumMarginalLogLikelihood

        values = torch.tensor(np.array(self.values), dtype=torch.double)
        single = [SingleTaskGP(points[self.idx], values[:, [k]], outcome_transform=Standardize(1)) for k in (0, 1)]
        model = ModelListGP(*single)
        fit_gpytorch_mll(SumMarginalLogLikelihood(model.likelihood, model))
        return model


class BayBE(Peer):
    """Its Pareto objective and default recommender, told the reference point."""

    def start(self) -> None:
        import pandas as pd
        from baybe import Campaign
        from baybe.acquisition import qLogNoisyExpectedHypervolumeImprovement
        from baybe.objectives import ParetoObjective
        from baybe.parameters import NumericalDiscreteParameter
        from baybe.recommenders import BotorchRecommender, TwoPhaseMetaRecommender
        from baybe.searchspace import SearchSpace
        from baybe.targets import NumericalTarget

        seed_baybe(self.seed)
        names = [f"x{j}" for j in range(self.p.X.shape[1])]
        self.table = pd.DataFrame(np.round(self.p.X, 8), columns=names)
        parameters = [NumericalDiscreteParameter(n, sorted(set(self.table[n])), tolerance=0.0) for n in names]
        acquisition = qLogNoisyExpectedHypervolumeImprovement(reference_point=tuple(self.p.reference))
        self.campaign = Campaign(
            SearchSpace.from_dataframe(self.table, parameters),
            ParetoObjective([NumericalTarget("a"), NumericalTarget("b")]),
            TwoPhaseMetaRecommender(recommender=BotorchRecommender(acquisition_function=acquisition)),
            allow_recommending_already_measured=False,
        )
        self.row = {tuple(r): i for i, r in enumerate(self.table.to_numpy())}
        self.told = 0

    def ask(self) -> int:
        if self.told < len(self.idx):
            new = self.table.iloc[self.idx[self.told :]].copy()
            new[["a", "b"]] = np.array(self.values[self.told :])
            self.told = len(self.idx)
            self.campaign.add_measurements(new)
        return self.row[tuple(self.campaign.recommend(1).to_numpy()[0])]


class Labctl(Peer):
    """labctl, told of two objectives."""

    def start(self) -> None:
        self.space = pool_space(self.p)
        self.row = {c: i for i, c in enumerate(self.space.pool or ())}
        self.optimizer = BayesianOptimizer(budget=BUDGET)
        first, second = self.p.reference
        other = Objective(quantity="b", unit="1", direction="maximize", reference=second)
        self.objective = Objective(quantity="a", unit="1", direction="maximize", reference=first, others=(other,))
        self.history = Observations(self.space, self.objective)

    def tell(self, i: int, values: Array) -> None:
        super().tell(i, values)
        candidate: Candidate = self.space.pool[i]
        first, second = map(float, values)
        number = len(self.history) + 1
        self.history.append(
            Observation(number=number, candidate=candidate, value=first, others={"b": Measured(second)})
        )

    def ask(self) -> int:
        (proposal,) = self.optimizer.propose(self.space, self.objective, self.history, [], 1, self.seed)
        return self.row[proposal.candidate]


PEERS = {"labctl": Labctl, "random": Peer, "qnehvi": QNehvi, "baybe": BayBE}


def measure(run: Run) -> dict[str, Any]:
    """The volume after each experiment, and what each proposal cost."""
    name, protocol = run.problem.split()
    made = problem(name, run.seed)
    rng = np.random.default_rng([11, zlib.crc32(name.encode()), run.seed])
    noise = made.noise * rng.standard_normal((BUDGET, 2))
    picks = [int(i) for i in rng.choice(len(made.X), GIVEN[protocol], replace=False)]
    peer, told, spent = PEERS[run.peer](made, run.seed), 0, []
    while len(picks) < BUDGET:
        begin = time.process_time()
        for k in range(told, len(picks)):
            peer.tell(picks[k], made.values[picks[k]] + noise[k])
        told = len(picks)
        picks.append(peer.ask())
        spent.append(round(1e3 * (time.process_time() - begin), 2))
    if len(set(picks)) < BUDGET:
        raise ValueError("a row was picked twice")
    return {"picks": picks, "cpu_ms": spent, "volume": shares(made, picks)}


def shares(made: Problem, picks: list[int]) -> list[float]:
    """The volume after 10, 20, ... experiments as a share of that of all rows."""
    whole = hypervolume(made.values, made.reference)
    ends = range(10, BUDGET + 1, 10)
    return [round(hypervolume(made.values[picks[:n]], made.reference) / whole, 5) for n in ends]
