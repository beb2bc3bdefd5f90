"""BayBE behind the same seam, for those who have it: `pip install 'labctl[baybe]'`.

Its default recommender chooses among feasible candidates. It learns nothing from failed
experiments, and knows one objective.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from campaigns.candidate import Candidate
from campaigns.optimizer import Objective, Observation, Proposal
from campaigns.optimizers.drawn import choices, coordinates, default_initial, initial, merit
from campaigns.space import Space

if TYPE_CHECKING:
    import pandas as pd

VALUE = "value"  #: the column of what is to be maximised
MOST = 300  #: candidates that it is given: its time grows fast with their number
DIGITS = 9  #: to which coordinates are told


class BayBEOptimizer:
    """See module."""

    def __init__(self, initial: int | None = None) -> None:
        self.initial = initial
        self.name = f"baybe {version('baybe')}, its default recommender"

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
        open_ = choices(space, taken, seed, len(known), len(taken), most=MOST)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = recommended(space, objective, measured, waiting, open_, min(n, len(open_)), seed)
        return [Proposal(candidate=c, reason="recommended") for c in found]


def recommended(
    space: Space,
    objective: Objective,
    measured: Sequence[Observation],
    waiting: Sequence[Candidate],
    open_: Sequence[Candidate],
    n: int,
    seed: int,
) -> list[Candidate]:
    """What the library recommends of the candidates that are open."""
    if n == 0:
        return []
    from baybe import Campaign
    from baybe.objectives import SingleTargetObjective
    from baybe.parameters import NumericalDiscreteParameter
    from baybe.searchspace import SearchSpace
    from baybe.targets import NumericalTarget
    from baybe.utils.random import temporary_seed

    told = list(dict.fromkeys([*open_, *(o.candidate for o in measured), *waiting]))
    frame = table(space, told)
    frame = frame.loc[:, frame.nunique() > 1]
    parameters = [NumericalDiscreteParameter(c, sorted(set(frame[c]))) for c in frame.columns]
    row = {candidate: i for i, candidate in enumerate(told)}
    results = frame.iloc[[row[o.candidate] for o in measured]].copy()
    results[VALUE] = [merit(objective, o) for o in measured]
    with temporary_seed(seed):
        campaign = Campaign(
            SearchSpace.from_dataframe(frame, parameters),
            SingleTargetObjective(NumericalTarget(VALUE)),
            allow_recommending_already_measured=False,
        )
        campaign.add_measurements(results)
        under_way = frame.iloc[[row[c] for c in waiting]] if waiting else None
        answer: Any = campaign.recommend(n, pending_experiments=under_way)
    where = {tuple(values): i for i, values in enumerate(frame.to_numpy())}
    return [told[where[tuple(values)]] for values in answer[list(frame.columns)].to_numpy()]


def table(space: Space, candidates: Sequence[Candidate]) -> pd.DataFrame:
    """Candidates as the library wants them: a column per coordinate."""
    import pandas as pd

    points = coordinates(space, candidates).round(DIGITS)
    return pd.DataFrame(points, columns=[f"x{i:03d}" for i in range(points.shape[1])])
