"""`labctl queue`."""

from __future__ import annotations

from typing import Annotated

import typer

from labctl.options import Format, LabOption, OutputOption, database, group, lab_folder

app = group("What waits for which instrument, and why.")


@app.callback()
def options() -> None:
    """What waits for which instrument, and why."""


@app.command("list", epilog="Example: labctl queue list -o json")
def list_(
    lab: LabOption = None,
    output: OutputOption = Format.table,
    all_: Annotated[
        bool, typer.Option("--all", help="Also jobs whose turn has not come: the step before is not done.")
    ] = False,
) -> None:
    """Jobs that run or wait, and why."""
    from labctl import stop_flag
    from labctl.columns import QUEUE, QUEUE_OF_ONE_SITE
    from labctl.emit import emit
    from materials_db import waiting

    folder, place = lab_folder(lab), database(lab)
    rows = waiting.queue(place, planned=all_)
    if stop_flag.stopped(folder, place):
        rows = [{**row, "reason": stop_flag.NOTHING_BEGINS} for row in rows]
    columns = QUEUE if len(set(waiting.site_of(place).values())) > 1 else QUEUE_OF_ONE_SITE
    emit(rows, columns, output, kind="jobs", id="run", none="no job runs or waits")
