"""`labctl sample`."""

from __future__ import annotations

from typing import Annotated

import typer

from labctl.options import Format, LabOption, OutputOption, database, group

app = group("The objects that exist: composition, jobs, measurements.")


@app.command("list", epilog="Example: labctl sample list")
def list_(lab: LabOption = None, output: OutputOption = Format.table) -> None:
    """All samples."""
    from labctl.columns import SAMPLES
    from labctl.emit import emit
    from materials_db import glance

    emit(glance.samples(database(lab)), SAMPLES, output, kind="samples")


@app.command(epilog="Example: labctl sample show S-00012")
def show(
    sample: Annotated[str, typer.Argument(metavar="SAMPLE", help="S-00012, or 12, or last.")],
    lab: LabOption = None,
    output: OutputOption = Format.table,
) -> None:
    """One sample: what it is made of, what was done to it, what was measured."""
    from labctl.columns import SAMPLES
    from labctl.display import show_sample
    from labctl.emit import emit
    from materials_db import glance

    path = database(lab)
    row = glance.sample(path, glance.resolve(path, "S", sample))
    if output is not Format.table:
        emit([row], SAMPLES, output, kind="samples")
    else:
        show_sample(row)
