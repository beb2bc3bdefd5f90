"""Tables of peers by problems, with standard errors and paired differences.

Values are ``{peer: {problem: {seed: value}}}``. Seeds are shared by all peers, so a
difference is taken seed by seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Values = Mapping[str, Mapping[str, Mapping[int, float]]]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Figure:
    """A number and its standard error."""

    value: float
    error: float

    def text(self, digits: int) -> str:
        """Both, as they are quoted."""
        return f"{self.value:.{digits}f} ({self.error:.{digits}f})"


def mean(values: Mapping[int, float]) -> Figure:
    """The mean over seeds."""
    v = np.array(list(values.values()), float)
    return Figure(float(v.mean()), float(v.std(ddof=1) / np.sqrt(len(v))) if len(v) > 1 else float("nan"))


def median(values: Mapping[int, float]) -> Figure:
    """The median over seeds, its error by bootstrap."""
    v = np.array(list(values.values()), float)
    again = np.median(v[np.random.default_rng(0).integers(len(v), size=(500, len(v)))], axis=1)
    return Figure(float(np.median(v)), float(again.std()) if len(v) > 1 else float("nan"))


def over(figures: list[Figure]) -> Figure:
    """The mean over problems, whose seeds are independent."""
    error = float(np.sqrt(sum(f.error**2 for f in figures)) / len(figures))
    return Figure(float(np.mean([f.value for f in figures])), error)


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> tuple[Figure, int]:
    """Ours minus theirs on the seeds that both have, and how many."""
    both = sorted(set(ours) & set(theirs))
    return (mean({s: ours[s] - theirs[s] for s in both}) if both else Figure(float("nan"), float("nan"))), len(both)


@dataclass(frozen=True, kw_only=True)
class Table:
    """One figure of the issue: a title, the values, how a column is summed up, and what to reach."""

    title: str
    values: Values
    problems: tuple[str, ...]
    statistic: Callable[[Mapping[int, float]], Figure] = mean
    digits: int = 3
    larger: bool = True  #: whether more is better
    reach: float | None = None  #: for the mean over problems
    reach_each: Mapping[str, float] | None = None  #: by problem

    def show(self, ours: str) -> None:
        """Print it: peers by problems, best first, then labctl against each problem's best peer."""
        peers = [peer for peer, cells in self.values.items() if any(cells.get(p) for p in self.problems)]
        if not peers:
            return
        print(f"\n{self.title}")
        width = max(15 + (self.digits > 3), *(len(p) + 2 for p in self.problems))
        print(f"{'':18}" + "".join(f"{p:>{width}}" for p in self.problems) + f"{'mean':>{width}}  seeds")
        for peer in sorted(peers, key=self._rank):
            print(f"{peer:18}" + "".join(f"{text:>{width}}" for text in self._cells(peer)) + f"  {self._seeds(peer)}")
        self._verdict(ours)
        for problem in self.problems:
            self._against(problem, ours)

    def figure(self, peer: str, problem: str) -> Figure | None:
        """One cell."""
        cell = self.values.get(peer, {}).get(problem)
        return self.statistic(cell) if cell else None

    def average(self, peer: str) -> Figure | None:
        """Over all problems, where the peer has all."""
        cells = [self.figure(peer, p) for p in self.problems]
        whole = [c for c in cells if c is not None]
        return over(whole) if len(whole) == len(cells) else None

    def _cells(self, peer: str) -> list[str]:
        cells = [*(self.figure(peer, p) for p in self.problems), self.average(peer)]
        return ["-" if c is None else c.text(self.digits) for c in cells]

    def _seeds(self, peer: str) -> str:
        counts = {len(self.values[peer].get(p, {})) for p in self.problems} - {0}
        return "-".join(map(str, sorted({min(counts), max(counts)})))

    def _rank(self, peer: str) -> tuple[int, float, str]:
        found = self.average(peer)
        return (1, 0.0, peer) if found is None else (0, -found.value if self.larger else found.value, peer)

    def _verdict(self, ours: str) -> None:
        goals = [(p, self.figure(ours, p), r) for p, r in (self.reach_each or {}).items()]
        if self.reach is not None:
            goals.append(("mean", self.average(ours), self.reach))
        for name, found, reach in goals:
            if found is None:
                print(f"  {name}: reach {reach:g}; {ours} was not measured")
                continue
            short = (reach - found.value) * (1 if self.larger else -1)
            said = "reached" if short <= 0 else f"short by {short:.{self.digits}f}"
            print(f"  {name}: reach {reach:g}; {ours} {found.text(self.digits)}: {said}")

    def _against(self, problem: str, ours: str) -> None:
        """The best peer of one problem, and every peer that leads by more than the error of the difference."""
        mine = self.values.get(ours, {}).get(problem)
        others = {p: v[problem] for p, v in self.values.items() if not p.startswith("labctl") and v.get(problem)}
        if not mine or not others:
            return
        sign = 1 if self.larger else -1
        best = max(others, key=lambda p: sign * self.statistic(others[p]).value)
        difference, n = paired(mine, others[best])
        print(
            f"  {problem}: {ours} - {best} = {difference.value:+.{self.digits}f} (se {difference.error:.{self.digits}f}, n {n})"
        )
        for peer, values in others.items():
            d, n = paired(mine, values)
            if sign * d.value < -d.error:
                print(
                    f"    {peer} LEADS by {-sign * d.value:.{self.digits}f}, {-sign * d.value / d.error:.1f} se, n {n}"
                )
