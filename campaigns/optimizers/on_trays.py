"""Any optimizer on trays: what a tray shares is taken from its first proposal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from campaigns.candidate import Candidate
from campaigns.optimizer import Objective, Observation, Optimizer, Proposal
from campaigns.space import Space

ROUNDS = 20  #: how often more are asked for when some turn out to be taken


class OnTrays:
    """An optimizer that knows nothing of trays, made to fill them.

    Parameters
    ----------
    shared
        Process parameters that all proposals of one call have in common.
    """

    def __init__(self, optimizer: Optimizer, shared: Sequence[str]) -> None:
        self.optimizer = optimizer
        self.shared = tuple(shared)
        self.name = optimizer.name

    def propose(
        self,
        space: Space,
        objective: Objective,
        history: Sequence[Observation],
        pending: Sequence[Candidate],
        n: int,
        seed: int,
    ) -> list[Proposal]:
        found = self.optimizer.propose(space, objective, history, pending, 1, seed)
        if not found or n == 1:
            return found
        common = {name: found[0].candidate.process[name] for name in self.shared}
        if space.pool is not None:
            fitting = tuple(c for c in space.pool if common.items() <= dict(c.process).items())
            space = replace(space, pool=space.pool_of(fitting))
        closed = {o.candidate for o in history} | set(pending) | {found[0].candidate}
        asked = [found[0].candidate]
        for _ in range(ROUNDS):
            more = self.optimizer.propose(space, objective, history, [*pending, *asked], n - len(found), seed)
            asked += [p.candidate for p in more]
            for moved in (with_settings(p, common) for p in more):
                if moved.candidate not in closed:
                    closed.add(moved.candidate)
                    found.append(moved)
            if not more or len(found) >= n:
                break
        return found[:n]


def with_settings(proposal: Proposal, common: dict[str, float | int | str]) -> Proposal:
    """The proposal with the tray's settings; what was predicted for other settings is left out."""
    candidate = proposal.candidate
    if common.items() <= dict(candidate.process).items():
        return proposal
    moved = Candidate(candidate.fractions, {**candidate.process, **common})
    return Proposal(candidate=moved, reason=proposal.reason)
