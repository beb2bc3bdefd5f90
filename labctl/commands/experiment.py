"""`labctl experiment`."""

from __future__ import annotations

from typing import Annotated

import typer

from labctl.options import Format, LabOption, OutputOption, database, group

app = group("What was planned, is under way, and came out.")


@app.callback()
def options() -> None:
    """What was planned, is under way, and came out."""


@app.command("list", epilog="Example: labctl experiment list --campaign C-0001")
def list_(
    campaign: Annotated[
        str | None, typer.Option("--campaign", "-c", help="Only of this campaign: C-0001, 1, last.")
    ] = None,
    lab: LabOption = None,
    output: OutputOption = Format.table,
) -> None:
    """Experiments in order."""
    from labctl.columns import EXPERIMENTS
    from labctl.emit import emit
    from materials_db import glance

    path = database(lab)
    id = glance.resolve(path, "C", campaign) if campaign else None
    emit(glance.experiments(path, id), EXPERIMENTS, output, kind="experiments")
