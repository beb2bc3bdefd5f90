"""`labctl optimizer`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from labctl.options import Format, OutputOption, group

app = group("Ask for proposals without any lab.")


class Start(StrEnum):
    """Which experiments come first in a replay."""

    designed = "designed"
    random = "random"


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

    plan, proposals, notes = ask(file, history, n)
    say_notes(notes)
    rows = suggestion_rows(plan, proposals)
    emit(rows, suggestion_columns(plan), output, kind="proposals", id="number")


@app.command(
    epilog="Example: labctl optimizer replay data.csv --campaign campaigns/conductivity.toml --budget 50 --seeds 20"
)
def replay(
    data: Annotated[Path, typer.Argument(metavar="DATA.csv", help="What was measured: a row per experiment.")],
    campaign: Annotated[Path, typer.Option("--campaign", help="The campaign file.")],
    budget: Annotated[int, typer.Option("--budget", min=1, max=100_000, help="Experiments of each campaign.")] = 50,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=10_000, help="Campaigns of each method.")] = 20,
    first_seed: Annotated[int, typer.Option("--first-seed", min=0, help="Seed of the first.")] = 0,
    start: Annotated[
        Start,
        typer.Option("--start", help="First experiments: designed by each method, or the same random rows for all."),
    ] = Start.designed,
    initial: Annotated[int, typer.Option("--initial", min=1, help="How many random rows.")] = 8,
    batch: Annotated[int, typer.Option("--batch", min=1, max=1000, help="Experiments that are proposed together.")] = 1,
    against: Annotated[
        str, typer.Option("--against", help="Methods to compare with: random, plain, or none.")
    ] = "random,plain",
    output: OutputOption = Format.table,
) -> None:
    """Say how fast this optimizer would have found the best in data that you already have."""
    from labctl import replaying
    from labctl.display import REPLAYS
    from labctl.emit import emit

    asked = replaying.Asked(
        budget=budget,
        seeds=range(first_seed, first_seed + seeds),
        designed=start is Start.designed,
        initial=initial,
        batch=batch,
        against=tuple(m.strip() for m in against.split(",") if m.strip() not in ("", "none")),
    )
    plan, known = replaying.read_known(data, campaign)
    say_notes(known.notes)
    rows = replaying.replay_all(plan, known, asked)
    emit(rows, REPLAYS, output, kind="replay", id="method", about={"data": replaying.about(known, data, asked)})


def say_notes(notes: Sequence[str]) -> None:
    """How a table was understood, for people."""
    from labctl.emit import clean

    for note in notes:
        print(clean(f"note: {note}"), file=sys.stderr)
