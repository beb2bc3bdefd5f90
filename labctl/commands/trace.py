"""`labctl trace`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labctl.options import Format, LabOption, OutputOption, database, open_lab

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@app.command(epilog="Example: labctl trace S-00012")
def trace(
    sample: Annotated[str, typer.Argument(metavar="SAMPLE", help="S-00012, or 12, or last.")],
    raw_files: Annotated[
        Path | None,
        typer.Option("--raw-files", metavar="DIR", help="Also write the raw files behind it into a folder."),
    ] = None,
    lab: LabOption = None,
    output: OutputOption = Format.table,
) -> None:
    """The whole line behind a sample: measurement, raw file, job, instrument, calibration, lot, proposal, campaign."""
    from labctl import raw_files as raw
    from labctl.columns import TRACES
    from labctl.display import show_trace
    from labctl.emit import emit
    from materials_db import glance
    from materials_db.trace import trace as follow

    id = glance.resolve(database(lab), "S", sample)
    with open_lab(lab).store.transaction() as tx:
        found = follow(tx, id)
        written = raw.write(tx, found, raw_files) if raw_files else []
    if output is Format.table:
        show_trace(found)
        for path in written:
            print(path)
    elif output is Format.csv:
        emit(found.rows(), TRACES, output, kind="traces")
    else:
        emit([{"id": id, **found.json()}], TRACES, output, kind="traces")
