"""What bayesian-optimization carries for us: parameters, observations, acquisition functions.

Avoided on purpose: its NonlinearConstraint (it would learn that fractions sum to 1),
ConstantLiar (stale lies when the weighed composition differs) and save_state (it cannot
write a better kernel). `_acq_min`, `_get_acq` and the arrays of `TargetSpace` are private
there: the version is pinned to the minor, and tests hold us to these hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from bayes_opt.acquisition import AcquisitionFunction, UpperConfidenceBound
from bayes_opt.parameter import BayesParameter, wrap_kernel
from bayes_opt.target_space import TargetSpace
from scipy.special import erf, ndtr

from campaigns.optimizers.coordinates import View
from campaigns.parameters import CategoricalParameter, Parameter
from campaigns.space import CompositionSpace, Space

Array = np.ndarray[Any, Any]


class CompositionParameter(BayesParameter):
    """All fractions of a composition as one parameter of the library."""

    def __init__(self, composition: CompositionSpace) -> None:
        self.composition = composition
        steps = composition.steps
        bounds = [composition.bounds(c) for c in composition.components]
        low = [0 if c.may_be_absent else b[0] for c, b in zip(composition.components, bounds, strict=True)]
        super().__init__("composition", np.array([[n / steps, b[1] / steps] for n, b in zip(low, bounds, strict=True)]))

    @property
    def is_continuous(self) -> bool:
        return False  # on the dispenser's grid

    @property
    def dim(self) -> int:
        return len(self.composition.components)

    def random_sample(self, n_samples: int, random_state: Any) -> Array:
        """Compositions that can be weighed, each as likely as any other."""
        seed = random_state.integers(2**32) if hasattr(random_state, "integers") else random_state.randint(2**31)
        drawn: Array = self.composition.drawing.draw(np.random.default_rng(int(seed)), n_samples)
        return drawn / self.composition.steps

    def to_float(self, value: Mapping[str, float]) -> Array:
        return np.array([float(value.get(name, 0)) for name in self.composition.names])

    def to_param(self, value: Any) -> dict[str, float]:
        return dict(zip(self.composition.names, map(float, np.ravel(value)), strict=True))

    def kernel_transform(self, value: Array) -> Array:
        return value


class SettingParameter(BayesParameter):
    """A process parameter: a number, or the index of a choice."""

    def __init__(self, parameter: Parameter) -> None:
        self.parameter = parameter
        choices = isinstance(parameter, CategoricalParameter)
        bounds = (0, len(parameter.choices) - 1) if choices else (parameter.low, parameter.high)  # type: ignore[union-attr]
        super().__init__(parameter.name, np.array([bounds], dtype=float))

    @property
    def is_continuous(self) -> bool:
        return False

    @property
    def dim(self) -> int:
        return 1

    def to_float(self, value: Any) -> float:
        if isinstance(self.parameter, CategoricalParameter):
            return float(self.parameter.choices.index(value))
        return float(value)

    def to_param(self, value: Any) -> Any:
        code = float(np.ravel(value)[0])
        return self.parameter.choices[int(code)] if isinstance(self.parameter, CategoricalParameter) else code

    def kernel_transform(self, value: Array) -> Array:
        return value


class Store(TargetSpace):
    """The library's store of what was measured, told all rows at once."""

    def __init__(self, space: Space) -> None:
        parameters: dict[str, Any] = {p.name: SettingParameter(p) for p in space.process}
        if space.composition is not None:
            parameters = {"composition": CompositionParameter(space.composition), **parameters}
        super().__init__(None, parameters, allow_duplicate_points=True)

    def make_params(self, pbounds: Mapping[str, Any]) -> dict[str, BayesParameter]:
        """The parameters, without the library's warning that its own kinds of parameters are experimental."""
        return dict(pbounds)

    def hold(self, raw: Array, target: Array) -> None:
        """Exactly these rows (`register`, row by row, copies everything each time and prints about replicates)."""
        self._params, self._target = raw, target


def plain_process(view: View, seed: int) -> Any:
    """The library's own surrogate, as its `BayesianOptimization` makes it, in our coordinates."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern

    return GaussianProcessRegressor(
        kernel=wrap_kernel(Matern(nu=2.5), transform=lambda raw: view(np.atleast_2d(raw))),
        alpha=1e-6,
        normalize_y=True,
        n_restarts_optimizer=5,
        random_state=seed,
    )


Maximise = Callable[[Callable[[Array], Array]], Array]  #: raw row at which a score is highest


class OverCandidates(AcquisitionFunction):
    """An acquisition function that chooses among candidates that can be made.

    Parameters
    ----------
    maximise
        Given a score over raw rows, the best candidate's raw row.
    adjust
        What is added to the score of raw rows: chances and costs, in the objective's unit.
    """

    def __init__(self, maximise: Maximise, adjust: Callable[[Array], Array] | None = None) -> None:
        super().__init__()
        self.maximise, self.adjust = maximise, adjust

    def _acq_min(self, acq: Any, space: Any, random_state: Any, n_random: int = 0, n_smart: int = 0) -> Array:
        """The hook: no box is searched, most of which is no composition."""
        return self.maximise(lambda raw: -acq(raw))

    def _get_acq(self, gp: Any, constraint: Any = None) -> Callable[[Array], Array]:
        """Minus the score, with chances and costs."""

        def acquisition(raw: Array) -> Array:
            mean, sd = gp.predict(raw, return_std=True)
            score = np.asarray(self.base_acq(mean, sd))
            return -(score if self.adjust is None else score + self.adjust(raw))

        return acquisition


class UpperBound(OverCandidates, UpperConfidenceBound):
    """Mean + kappa x standard deviation: optimism in the face of doubt."""

    def __init__(self, kappa: float, maximise: Maximise, adjust: Callable[[Array], Array] | None = None) -> None:
        OverCandidates.__init__(self, maximise, adjust)
        self.kappa, self.exploration_decay, self.exploration_decay_delay = kappa, None, None

    def suggest(self, *args: Any, **kwargs: Any) -> Array:
        point: Array = AcquisitionFunction.suggest(self, *args, **kwargs)
        return point


class NearBand(OverCandidates):
    """How near to a target a value may come, optimistically.

    The distance to the target of a normally distributed value has a folded normal law (Leone et
    al. 1961): minus its mean, plus kappa times its standard deviation. Inside a band the
    chance to lie in it decides.
    """

    def __init__(
        self,
        band: tuple[float, float],
        kappa: float,
        maximise: Maximise,
        adjust: Callable[[Array], Array] | None = None,
    ) -> None:
        super().__init__(maximise, adjust)
        self.band, self.kappa = band, kappa

    def base_acq(self, mean: Array, std: Array) -> Array:
        low, high = self.band
        std = np.maximum(std, 1e-300)
        away = np.where(mean < low, low - mean, np.where(mean > high, mean - high, 0.0))
        folded = std * np.sqrt(2 / np.pi) * np.exp(-0.5 * (away / std) ** 2) + away * erf(away / (std * np.sqrt(2)))
        spread = np.sqrt(np.maximum(away**2 + std**2 - folded**2, 0.0))
        inside = ndtr((high - mean) / std) - ndtr((low - mean) / std)
        result: Array = self.kappa * spread - folded + (high - low) * inside
        return result


class Doubt(OverCandidates):
    """Where least is known: for a map of the whole landscape."""

    def base_acq(self, mean: Array, std: Array) -> Array:
        return std


class Score(OverCandidates):
    """A score over raw rows that is known already: several objectives at once."""

    def __init__(self, score: Callable[[Array], Array], maximise: Maximise) -> None:
        super().__init__(maximise)
        self.score = score

    def base_acq(self, *args: Any) -> Any:
        raise AssertionError("the score needs no single model")

    def _get_acq(self, gp: Any, constraint: Any = None) -> Callable[[Array], Array]:
        return lambda raw: -self.score(raw)
