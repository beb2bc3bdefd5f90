"""BoTorch behind the same seam, for those who have it: `pip install 'labctl[botorch]'`.

Its default Gaussian process and log expected improvement choose among feasible candidates.
It learns nothing from failed experiments, and knows one objective.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.metadata import version
from statistics import NormalDist
from typing import Any

from campaigns.candidate import Candidate
from campaigns.optimizer import Objective, Observation, Proposal
from campaigns.optimizers.drawn import choices, coordinates, default_initial, initial, merit, unscaled
from campaigns.space import Space

SAMPLES = 256  #: of the posterior, for the expected improvement of a batch


class BoTorchOptimizer:
    """See module."""

    def __init__(self, initial: int | None = None) -> None:
        self.initial = initial
        self.name = f"botorch {version('botorch')}, log expected improvement"

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
        measured = [o for o in known if o.value is not None]
        wanted = self.initial if self.initial is not None else default_initial(space)
        if len(taken) < wanted or len(measured) < 2:
            return initial(space, taken, min(n, max(1, wanted - len(taken))), seed, len(taken))
        open_ = choices(space, taken, seed, len(known), len(taken))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return chosen(space, objective, measured, waiting, open_, n, seed) if open_ else []


def chosen(
    space: Space,
    objective: Objective,
    measured: Sequence[Observation],
    waiting: Sequence[Candidate],
    open_: list[Candidate],
    n: int,
    seed: int,
) -> list[Proposal]:
    """One candidate after the other, each in the light of those under way and those chosen before."""
    import torch
    from botorch.acquisition import qLogExpectedImprovement
    from botorch.sampling import SobolQMCNormalSampler

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, points = fitted(space, objective, measured)
        search = torch.tensor(coordinates(space, open_))
        ahead = torch.tensor(coordinates(space, waiting)) if waiting else search[:0]
        best = model.posterior(points).mean.max().detach()
        found: list[Proposal] = []
        left = list(range(len(open_)))
        while left and len(found) < n:
            sampler = SobolQMCNormalSampler(torch.Size([SAMPLES]), seed=seed)
            score = qLogExpectedImprovement(model, best, sampler=sampler, X_pending=ahead if len(ahead) else None)
            with torch.no_grad():
                scores = torch.cat([score(part[:, None, :]) for part in search[left].split(256)])
            top = int(scores.argmax())
            row = left.pop(top)
            found.append(proposal(objective, open_[row], model.posterior(search[[row]]), float(best)))
            ahead = torch.cat([ahead, search[[row]]])
    return found


def fitted(space: Space, objective: Objective, measured: Sequence[Observation]) -> tuple[Any, Any]:
    """The library's default model of what was measured, and where that was."""
    import torch
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.models.transforms import Standardize
    from gpytorch.mlls import ExactMarginalLogLikelihood

    points = torch.tensor(coordinates(space, [o.candidate for o in measured], [o.actual for o in measured]))
    values = torch.tensor([merit(objective, o) for o in measured], dtype=torch.double)[:, None]
    doubts = [o.u or 0.0 for o in measured]
    noise = torch.tensor(doubts, dtype=torch.double)[:, None] ** 2 if min(doubts) > 0 else None
    model = SingleTaskGP(points, values, train_Yvar=noise, outcome_transform=Standardize(1))
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    return model, points


def proposal(objective: Objective, candidate: Candidate, posterior: Any, best: float) -> Proposal:
    """The choice with what the model expects of it."""
    mean, sd = float(posterior.mean.detach()[0, 0]), float(posterior.variance.detach()[0, 0].sqrt())
    predicted = unscaled(objective, mean)
    normal, z = NormalDist(), (mean - best) / sd
    return Proposal(
        candidate=candidate,
        reason="log expected improvement",
        predicted=predicted,
        predicted_u=sd if predicted is not None else None,
        gain=sd * (z * normal.cdf(z) + normal.pdf(z)),
    )
