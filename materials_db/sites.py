"""Where a sample may be worked on: it stays at the site that claimed it, until a step ships it.

An experiment that nobody has begun may go to any site that can carry out its whole recipe; it
goes where every step has an instrument that takes new work, as long as there is such a site.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

SHIP = "ship"  #: the capability that takes a sample to another site; its parameter `site` says where


def allowed(
    place: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], claimed: str | None, site_of: Mapping[str, str | None]
) -> list[str]:
    """Instruments on which a step may be done, of those that can do it.

    Parameters
    ----------
    place
        The step: its name and its instruments.
    steps
        All steps of the recipe.
    claimed
        Where the sample is; None before anything was begun.
    site_of
        Site of every instrument.
    """
    sites = {claimed} if claimed is not None else whole_recipe(steps, site_of)
    return [i for i in place["instruments"] if site_of.get(i) in sites]


def preferred(
    able: Sequence[str], steps: Sequence[Mapping[str, Any]], site_of: Mapping[str, str | None], closed: Container[str]
) -> list[str]:
    """Of the instruments that may begin an experiment, those at sites where nothing that it will need is closed.

    All of them, where every site lacks something: which of them is whole first, nobody knows.
    """
    working = [{**step, "instruments": [i for i in step["instruments"] if i not in closed]} for step in steps]
    sites = whole_recipe(working, site_of)
    return [i for i in able if site_of.get(i) in sites] or list(able)


def whole_recipe(steps: Sequence[Mapping[str, Any]], site_of: Mapping[str, str | None]) -> set[str | None]:
    """Sites that can do all steps, up to the first that takes the sample elsewhere."""
    until = next((i for i, s in enumerate(steps) if s.get("capability") == SHIP), len(steps) - 1)
    able = [{site_of.get(i) for i in s["instruments"]} for s in steps[: until + 1]]
    return set.intersection(*able)
