"""BoTorch behind the same seam, for those who have it: `pip install 'labctl[botorch]'`.

Its default Gaussian process, one for each objective, and log expected improvement (of several
objectives: noisy, of the hypervolume) choose among feasible candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from statistics import NormalDist
from typing import Any

from campaigns.candidate import Candidate
from campaigns.optimizer import Measured, Objective, Proposal
from campaigns.optimizers.drawn import coordinates, unscaled
from campaigns.optimizers.outside import Asked, OutsideOptimizer
from campaigns.pareto import reference_point

SAMPLES = 256  #: of the posterior, for the expected improvement of a batch
FRONT_SAMPLES = 128  #: the same for several objectives


class BoTorchOptimizer(OutsideOptimizer):
    """See module."""

    def __init__(self, initial: int | None = None) -> None:
        super().__init__(initial)
        self.name = f"botorch {version('botorch')}, log expected improvement"

    def chosen(self, asked: Asked) -> list[Proposal]:
        """One candidate after the other, each in the light of those under way and those chosen before."""
        import torch

        with torch.random.fork_rng():
            torch.manual_seed(asked.seed)
            model, points = fitted(asked)
            score_of = front_score(asked, model, points) if asked.of_front else single_score(asked, model, points)
            search = torch.tensor(coordinates(asked.space, asked.open))
            ahead = torch.tensor(coordinates(asked.space, asked.waiting)) if asked.waiting else search[:0]
            found: list[Proposal] = []
            left = list(range(len(asked.open)))
            while left and len(found) < asked.n:
                score = score_of(ahead if len(ahead) else None)
                with torch.no_grad():
                    scores = torch.cat([score(part[:, None, :]) for part in search[left].split(256)])
                row = left.pop(int(scores.argmax()))
                posterior, at_points = model.posterior(search[[row]]), model.posterior(points)
                found.append(proposal(asked, asked.open[row], posterior, at_points))
                ahead = torch.cat([ahead, search[[row]]])
        return found


def fitted(asked: Asked) -> tuple[Any, Any]:
    """The library's default model of each merit, and where these were measured."""
    import torch
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import ModelListGP, SingleTaskGP
    from botorch.models.transforms import Standardize
    from gpytorch.mlls import ExactMarginalLogLikelihood

    told = asked.measured
    points = torch.tensor(coordinates(asked.space, [o.candidate for o in told], [o.actual for o in told]))
    models = []
    for values, noise in zip(asked.merits.T, variances(asked), strict=True):
        y = torch.tensor(values, dtype=torch.double)[:, None]
        known = torch.tensor(noise, dtype=torch.double)[:, None] if min(noise) > 0 else None
        models.append(SingleTaskGP(points, y, train_Yvar=known, outcome_transform=Standardize(1)))
        fit_gpytorch_mll(ExactMarginalLogLikelihood(models[-1].likelihood, models[-1]))
    return (ModelListGP(*models) if len(models) > 1 else models[0]), points


def variances(asked: Asked) -> list[list[float]]:
    """Variance of each merit, 0 where it is not known."""
    own = [[(o.u or 0.0) ** 2 for o in asked.measured]]
    if not asked.objective.others:
        return own
    if not asked.of_front:
        return [[0.0] * len(asked.measured)]
    names = [o.quantity for o in asked.objective.others]
    return own + [[(o.others[q].u or 0.0) ** 2 for o in asked.measured] for q in names]


def single_score(asked: Asked, model: Any, points: Any) -> Callable[[Any], Any]:
    """Expected improvement over the best known, given what is under way."""
    import torch
    from botorch.acquisition import qLogExpectedImprovement
    from botorch.sampling import SobolQMCNormalSampler

    best = model.posterior(points).mean.max().detach()
    sampler = SobolQMCNormalSampler(torch.Size([SAMPLES]), seed=asked.seed)
    return lambda ahead: qLogExpectedImprovement(model, best, sampler=sampler, X_pending=ahead)


def front_score(asked: Asked, model: Any, points: Any) -> Callable[[Any], Any]:
    """Expected growth of the hypervolume, given what is under way."""
    import torch
    from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
    from botorch.sampling import SobolQMCNormalSampler

    stated = [None if o.reference is None else o.sign * o.reference for o in asked.objective.all]
    reference = reference_point(asked.merits, stated)
    sampler = SobolQMCNormalSampler(torch.Size([FRONT_SAMPLES]), seed=asked.seed)
    return lambda ahead: qLogNoisyExpectedHypervolumeImprovement(
        model, reference.tolist(), points, sampler=sampler, X_pending=ahead, prune_baseline=True
    )


def proposal(asked: Asked, candidate: Candidate, posterior: Any, at_points: Any) -> Proposal:
    """The choice with what the models expect of it."""
    mean, sd = posterior.mean.detach()[0], posterior.variance.detach()[0].sqrt()
    objective = asked.objective
    if objective.others:
        reason = "log expected hypervolume improvement" if asked.of_front else "log expected improvement"
        own, *further = [Measured(float(m), float(s)) for m, s in zip(mean, sd, strict=True)]
        told = zip(objective.others, further, strict=True) if asked.of_front else ()
        others = {o.quantity: Measured(o.sign * m.value, m.u) for o, m in told}
        predicted = unscaled(objective, own.value) if asked.of_front else None
        u = own.u if predicted is not None else None
        return Proposal(candidate=candidate, reason=reason, predicted=predicted, predicted_u=u, others=others)
    best = float(at_points.mean.max())
    return single_proposal(objective, candidate, float(mean[0]), float(sd[0]), best)


def single_proposal(objective: Objective, candidate: Candidate, mean: float, sd: float, best: float) -> Proposal:
    """The same for one objective, with the expected improvement."""
    predicted = unscaled(objective, mean)
    normal, z = NormalDist(), (mean - best) / sd
    return Proposal(
        candidate=candidate,
        reason="log expected improvement",
        predicted=predicted,
        predicted_u=sd if predicted is not None else None,
        gain=sd * (z * normal.cdf(z) + normal.pdf(z)),
    )
