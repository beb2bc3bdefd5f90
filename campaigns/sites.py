"""Whether the sites of a lab can carry out a recipe, asked before anything is started."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from campaigns.demands import extremes, nearest
from campaigns.recipe import Step, resolve
from campaigns.spec import Spec
from campaigns.toml_file import Fault, shown
from instruments.contract import Capability
from materials_db.sites import SHIP


def site_faults(
    spec: Spec, capabilities: Mapping[str, Sequence[Capability]], site_of: Mapping[str, str]
) -> list[Fault]:
    """The first step that no sample can reach at a site that can do it.

    One at most: what follows such a step is wrong because of it. To be asked of a campaign
    whose steps the lab can do, wherever that is.

    Parameters
    ----------
    site_of
        Site of every instrument.
    """
    if len(set(site_of.values())) < 2 and all(step.capability != SHIP for step in spec.recipe.steps):
        return []
    recipes = (resolve(spec, candidate, capabilities) for candidate in extremes(spec.space))
    return next(([fault] for recipe in recipes if (fault := way_fault(recipe.steps, site_of))), [])


def way_fault(steps: Sequence[Step], site_of: Mapping[str, str]) -> Fault | None:
    """What is wrong with the way of a sample through the sites."""
    here = known = set(site_of.values())
    for i, step in enumerate(steps):
        able = {site_of[instrument] for instrument in step.instruments}
        if not here & able:
            return out_of_reach(i, step, here, able)
        here = here & able
        if step.capability == SHIP:
            goal = str(step.params["site"])
            if goal not in known:
                return no_such_site(i, goal, known)
            here = {goal}
    return None


def out_of_reach(i: int, step: Step, here: Collection[str], able: Collection[str]) -> Fault:
    """The sample is elsewhere by then."""
    there = " or ".join(sorted(able))
    return Fault(
        message=f"step {step.name!r} can be done at {there}, but the steps before it leave the sample at {' or '.join(sorted(here))}",
        key=f"recipe.steps[{i}].capability",
        value=shown(step.capability),
        hint=f'put a step before it that sends the sample there: capability = "{SHIP}", params = {{ site = "{min(able)}" }}',
        code="LAB-0238",
    )


def no_such_site(i: int, goal: str, known: Collection[str]) -> Fault:
    """No instrument stands where the sample would be sent."""
    return Fault(
        message=f"no instrument of this lab stands at a site {goal!r}",
        key=f"recipe.steps[{i}].params.site",
        value=shown(goal),
        hint=nearest(goal, known),
        code="LAB-0238",
    )
