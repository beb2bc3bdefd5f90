"""`labctl queue`."""

from __future__ import annotations

from labctl.options import Format, LabOption, OutputOption, database, group

app = group("What waits for which instrument, and why.")


@app.callback()
def options() -> None:
    """What waits for which instrument, and why."""


@app.command("list", epilog="Example: labctl queue list -o json")
def list_(lab: LabOption = None, output: OutputOption = Format.table) -> None:
    """Jobs that have not ended."""
    from labctl.display import QUEUE
    from labctl.emit import emit
    from materials_db import glance

    emit(glance.queue(database(lab)), QUEUE, output, kind="jobs", id="run")
