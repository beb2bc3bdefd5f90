"""Random search: the fake behind the optimizer's seam, and the line that a real one must beat."""

from __future__ import annotations

import random
from collections.abc import Sequence

from campaigns.candidate import Candidate
from campaigns.observations import Closed, Observations
from campaigns.optimizer import Objective, Observation, Proposal
from campaigns.space import Space

TRIES = 400  #: draws before we believe that nothing new is left


class RandomSearch:
    """Draws candidates that were neither made nor are being made."""

    name = "random search 1"

    def propose(
        self,
        space: Space,
        objective: Objective,
        history: Sequence[Observation],
        pending: Sequence[Candidate],
        n: int,
        seed: int,
    ) -> list[Proposal]:
        known = Observations.of(space, objective, history)
        taken = Closed(known.times, map(known.rows.key, pending))
        rng = random.Random(f"{seed}/{len(taken)}")
        if space.pool is not None:
            left = [c for c in space.pool if known.rows.key(c) not in taken]
            return [Proposal(candidate=c, reason="random") for c in rng.sample(left, min(n, len(left)))]
        found: list[Proposal] = []
        for _ in range(TRIES * n):
            candidate = space.draw(rng)
            if candidate is not None and (key := known.rows.key(candidate)) not in taken:
                taken.add(key)
                found.append(Proposal(candidate=candidate, reason="random"))
                if len(found) == n:
                    break
        return found
