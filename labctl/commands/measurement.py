"""`labctl measurement`."""

from __future__ import annotations

from typing import Annotated

import typer

from labctl.options import Format, LabOption, OutputOption, database, group

app = group("Measured values with their uncertainty.")


@app.callback()
def options() -> None:
    """Measured values with their uncertainty."""


@app.command("list", epilog="Example: labctl measurement list --campaign last -o csv")
def list_(
    campaign: Annotated[
        str | None, typer.Option("--campaign", "-c", help="Only of this campaign: C-0001, 1, last.")
    ] = None,
    lab: LabOption = None,
    output: OutputOption = Format.table,
) -> None:
    """Measured values."""
    from labctl.columns import MEASUREMENTS
    from labctl.emit import emit
    from materials_db import glance

    path = database(lab)
    id = glance.resolve(path, "C", campaign) if campaign else None
    emit(glance.measurements(path, id), MEASUREMENTS, output, kind="measurements")
