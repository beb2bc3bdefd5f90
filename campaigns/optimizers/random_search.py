"""Random search: the fake behind the optimizer's seam, and the line that a real one must beat."""

from __future__ import annotations

import random
from collections.abc import Sequence

from campaigns.candidate import Candidate
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
        taken = {o.candidate for o in history} | set(pending)
        rng = random.Random(f"{seed}/{len(taken)}")
        if space.pool is not None:
            left = [c for c in space.pool if c not in taken]
            return [Proposal(candidate=c, reason="random") for c in rng.sample(left, min(n, len(left)))]
        found: list[Proposal] = []
        for _ in range(TRIES * n):
            candidate = space.draw(rng)
            if candidate is not None and candidate not in taken:
                taken.add(candidate)
                found.append(Proposal(candidate=candidate, reason="random"))
                if len(found) == n:
                    break
        return found
