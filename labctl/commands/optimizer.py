"""`labctl optimizer`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labctl.options import Format, OutputOption, group

app = group("Ask for proposals without any lab.")


@app.callback()
def options() -> None:
    """Ask for proposals without any lab."""


@app.command(epilog="Example: labctl optimizer suggest campaigns/conductivity.toml --history data.csv -n 4")
def suggest(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The campaign file.")],
    history: Annotated[
        Path | None,
        typer.Option("--history", help="CSV of what was measured: a column per component, setting and the objective."),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many proposals.")] = 1,
    output: OutputOption = Format.table,
) -> None:
    """What to make next, from a campaign file and a table of results. Needs no lab and keeps nothing."""
    from labctl.display import suggestion_columns, suggestion_rows
    from labctl.emit import emit
    from labctl.suggesting import suggest as ask

    plan, proposals = ask(file, history, n)
    rows = suggestion_rows(plan, proposals)
    emit(rows, suggestion_columns(plan), output, kind="proposals", id="number")
