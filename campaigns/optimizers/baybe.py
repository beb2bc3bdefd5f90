"""BayBE behind the same seam, for those who have it: `pip install 'labctl[baybe]'`.

Its default recommender chooses among feasible candidates; several objectives are a Pareto
objective.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from campaigns.candidate import Candidate
from campaigns.optimizer import Proposal
from campaigns.optimizers.drawn import coordinates
from campaigns.optimizers.outside import Asked, OutsideOptimizer
from campaigns.space import Space

if TYPE_CHECKING:
    import pandas as pd

DIGITS = 9  #: to which coordinates are told


class BayBEOptimizer(OutsideOptimizer):
    """See module."""

    most = 300  #: its time grows fast with their number

    def __init__(self, initial: int | None = None) -> None:
        super().__init__(initial)
        self.name = f"baybe {version('baybe')}, its default recommender"

    def chosen(self, asked: Asked) -> list[Proposal]:
        """What the library recommends of the candidates that are open."""
        from baybe import Campaign
        from baybe.parameters import NumericalDiscreteParameter
        from baybe.searchspace import SearchSpace
        from baybe.utils.random import temporary_seed

        told = list(dict.fromkeys([*asked.open, *(o.candidate for o in asked.measured), *asked.waiting]))
        frame = table(asked.space, told)
        frame = frame.loc[:, frame.nunique() > 1]
        parameters = [NumericalDiscreteParameter(c, sorted(set(frame[c]))) for c in frame.columns]
        row = {candidate: i for i, candidate in enumerate(told)}
        results = frame.iloc[[row[o.candidate] for o in asked.measured]].copy()
        wanted = {f"value{i}": column for i, column in enumerate(asked.merits.T)}
        results = results.assign(**wanted)
        with temporary_seed(asked.seed):
            campaign = Campaign(
                SearchSpace.from_dataframe(frame, parameters),
                objective_of(list(wanted)),
                allow_recommending_already_measured=False,
            )
            campaign.add_measurements(results)
            under_way = frame.iloc[[row[c] for c in asked.waiting]] if asked.waiting else None
            answer: Any = campaign.recommend(asked.n, pending_experiments=under_way)
        where = {tuple(values): i for i, values in enumerate(frame.to_numpy())}
        found = [told[where[tuple(values)]] for values in answer[list(frame.columns)].to_numpy()]
        return [Proposal(candidate=c, reason="recommended") for c in found]


def objective_of(columns: Sequence[str]) -> Any:
    """Each column is to be as large as can be."""
    from baybe.objectives import ParetoObjective, SingleTargetObjective
    from baybe.targets import NumericalTarget

    targets = [NumericalTarget(name) for name in columns]
    return SingleTargetObjective(targets[0]) if len(targets) == 1 else ParetoObjective(targets)


def table(space: Space, candidates: Sequence[Candidate]) -> pd.DataFrame:
    """Candidates as the library wants them: a column per coordinate."""
    import pandas as pd

    points = coordinates(space, candidates).round(DIGITS)
    return pd.DataFrame(points, columns=[f"x{i:03d}" for i in range(points.shape[1])])
