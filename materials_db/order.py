"""Whose turn is first: one order, for the floor that gives turns out and for those who watch the queue.

The highest priority is served first, and waiting raises it, so that nobody starves. Among
equals it is the turn of the campaign that is due first, then of the one that has had the
least instrument time, then of whoever asked first. What is begun is finished, within bounds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime

AGING_S = 6 * 3600.0  #: lab seconds of waiting that are worth one level of priority
BEGUN_S = AGING_S  #: lab seconds of its campaign's instrument time that each step behind a sample makes up for


def urgency(priority: int, waited_s: float, due: float, used_s: float) -> tuple[float, float, float]:
    """How urgent something of a campaign is that has waited so long: the lower, the more.

    Parameters
    ----------
    due
        Time stamp at which the campaign is due, infinite where nobody said.
    used_s
        Instrument time that the campaign has had, lab seconds.
    """
    return -(priority + waited_s // AGING_S), due, used_s


def rank(priority: int, waited_s: float, due: float, used_s: float, begun: int) -> tuple[float, float, float, float]:
    """The lower, the earlier; `begun` counts the steps behind a sample, and a mate of its tray that went before it."""
    level, due, used_s = urgency(priority, waited_s, due, used_s)
    return level, due, used_s - BEGUN_S * begun, -waited_s


def shares_s(acts: Iterable[tuple[str, str | None, datetime, datetime]]) -> dict[str, float]:
    """Seconds that each campaign has had, of a tray its share; `acts` are campaign, tray, begin and end of every job."""
    known = list(acts)
    on_tray = Counter(tray for _, tray, _, _ in known)
    found: dict[str, float] = defaultdict(float)
    for campaign, tray, begun, ended in known:
        found[campaign] += (ended - begun).total_seconds() / (on_tray[tray] if tray else 1)
    return dict(found)
