"""`labctl db`."""

from __future__ import annotations

from typing import Annotated

import typer

from labctl.options import Format, LabOption, OutputOption, group, open_lab

app = group("The database: is it sound; move it to a server.")


@app.command(epilog="Example: labctl db check")
def check(lab: LabOption = None, output: OutputOption = Format.table) -> None:
    """Check the file, the log's chain, every row against the log, every link between rows, and every raw file."""
    from labctl import moving
    from labctl.columns import FINDINGS
    from labctl.emit import emit

    rows = moving.check(open_lab(lab))
    emit(rows, FINDINGS, output, kind="findings", id="check")
    if any(row["state"] == "wrong" for row in rows):
        raise typer.Exit(1)


@app.command("move-to", epilog="Example: labctl db move-to postgresql+psycopg://lab@dbhost/lab --switch")
def move_to(
    url: Annotated[str, typer.Argument(metavar="URL", help="An empty PostgreSQL database, without a password.")],
    switch: Annotated[bool, typer.Option("--switch", help="Let labctl.toml say so afterwards.")] = False,
    lab: LabOption = None,
) -> None:
    """Copy the lab's data and raw files to a server, all or nothing; what is here stays as it is."""
    from labctl import moving

    opened = open_lab(lab)
    counts = moving.move_to(opened, url, switch=switch)
    print(f"{sum(counts.values())} rows, {counts['event']} of them lines of the log, are there; the chain is unbroken")
    if switch:
        print(f"labctl.toml says so now; the old file stays as it is: {opened.glance_path}")
    else:
        print(f'now write into labctl.toml, section [lab]:  database = "{url}"')
