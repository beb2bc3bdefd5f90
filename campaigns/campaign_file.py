"""A campaign file, read with the tables that it names: what it means, or all that is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from campaigns.campaign_faults import (
    NAMES,
    PARTS,
    TOGETHER,
    composition_faults,
    missing_for_a_lab,
    process_faults,
    space_faults,
)
from campaigns.checks import Check, asked, sound_part
from campaigns.errors import SpaceError
from campaigns.layout import Wanted
from campaigns.spec import Spec
from campaigns.told import as_record, results_of
from campaigns.toml_file import FileFaults, read
from campaigns.varied import list_of

#: In place of what is at fault and must be there, so that all the rest is looked at in the same run.
STAND_INS = {
    "campaign": {"name": "unread"},
    "objective": {"quantity": "unread", "unit": "", "direction": "maximize"},
    "recipe.batch": "1 g",
    "recipe.steps": [{"name": "unread", "capability": "unread"}],
    "recipe.steps[*]": {"name": "unread", "capability": "unread"},
    "recipe.steps[*].name": "unread",
    "recipe.steps[*].capability": "unread",
}


def read_campaign(
    path: Path, *, for_a_lab: bool = True, with_list: bool = True, further: Sequence[Sequence[Check[Spec]]] = ()
) -> tuple[Spec, str]:
    """Read a campaign file; the spec and the file's text.

    Parameters
    ----------
    for_a_lab
        Whether it must say all that is needed to make something: budget, recipe, formulas.
    with_list
        Whether its list of candidates is read.
    further
        What else is asked of it, in groups: a group rests on what those before it have found sound.

    Raises
    ------
    FileFaults
        All that is wrong with it, each with its line.
    """
    document = read(path)
    spec, found, unread = sound_part(Spec, document, STAND_INS, {"stop": "objective"})
    found += missing_for_a_lab(document.data) if for_a_lab else []
    if spec is not None:
        found += asked(spec, found, NAMES, unread)
        unread |= {"candidates"} if found and spec.candidates else set()
        listed = with_list and not found
        spec = with_candidates(spec, path.parent) if listed else spec.model_copy(update={"candidates": None})
        spec = spec if found else with_earlier(spec, path.parent)
        for group in (PARTS, TOGETHER, *further):
            found += asked(spec, found, group, unread)
    if spec is None or found:
        raise FileFaults(path, [document.located(f) for f in found])
    return spec, document.text


def with_candidates(spec: Spec, folder: Path) -> Spec:
    """The spec with its list of candidates read. Raises FileFaults."""
    if spec.candidates is None or not spec.candidates.file:
        return spec
    try:
        composition = spec.composition.domain() if spec.composition else None
        process = spec.parameters
    except SpaceError:
        return spec  # process_faults or composition_faults say it
    layout = spec.data.layout(spec.candidates.columns)
    pool, notes = list_of(folder / spec.candidates.file, layout, composition, process)
    told = {"counts": pool.counts, "settings": pool.settings, "notes": notes}
    read_in = spec.candidates.model_copy(update=told)
    return spec.model_copy(update={"candidates": read_in})


def with_earlier(spec: Spec, folder: Path) -> Spec:
    """The spec with the tables of `prior_campaigns` read. Raises FileFaults."""
    names = [n for n in spec.optimizer.prior_campaigns if n not in spec.optimizer.prior_ids]
    if not names or any(faults(spec) for faults in (process_faults, composition_faults, space_faults)):
        return spec
    space = spec.space
    wanted = Wanted(composition=space.composition, process=space.process, quantities=spec.measured_units)
    found = {n: results_of(folder / n, spec.data.layout(), wanted) for n in names}
    told = {n: as_record(observations) for n, (observations, _, _) in found.items()}
    notes = {n: said for n, (_, _, said) in found.items() if said}
    read_in = spec.optimizer.model_copy(update={"prior_tables": told, "prior_notes": notes})
    return spec.model_copy(update={"optimizer": read_in})
