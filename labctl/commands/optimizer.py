"""`labctl optimizer`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labctl.options import Format, LabOption, OutputOption, database, group, open_lab

if TYPE_CHECKING:
    from campaigns.quality import Quality
    from labctl.explaining import Explained

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
    quality: Annotated[bool, typer.Option("--quality", help="Also say how good the model is.")] = False,
    output: OutputOption = Format.table,
) -> None:
    """What to make next, from a campaign file and a table of results. Needs no lab and keeps nothing."""
    from labctl.columns import suggestion_columns, suggestion_rows
    from labctl.display import say_notes, show_quality
    from labctl.emit import emit
    from labctl.explaining import plain_outlook
    from labctl.suggesting import suggest as ask

    found = ask(file, history, n, quality=quality)
    say_notes(found.notes)
    rows = suggestion_rows(found.plan, found.proposals)
    about = {**as_json(found.quality), **({"outlook": plain_outlook(found.outlook)} if found.outlook else {})}
    emit(rows, suggestion_columns(found.plan), output, kind="proposals", id="number", about=about)
    if output is Format.table:
        show_quality(found.quality, found.plan.objective.unit, found.outlook)


@app.command(epilog="Example: labctl optimizer replay data.csv --campaign campaigns/mine.toml --budget 50 --seeds 20")
def replay(
    data: Annotated[Path, typer.Argument(metavar="DATA.csv", help="What was measured: a row per experiment.")],
    campaign: Annotated[Path, typer.Option("--campaign", metavar="FILE", help="The campaign file.")],
    budget: Annotated[int, typer.Option("--budget", min=1, max=100_000, help="Experiments of each campaign.")] = 50,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=10_000, help="Campaigns of each method.")] = 20,
    first_seed: Annotated[int, typer.Option("--first-seed", min=0, help="Seed of the first.")] = 0,
    start: Annotated[
        Start, typer.Option("--start", help="First experiments: each method's own, or the same random rows for all.")
    ] = Start.designed,
    initial: Annotated[int, typer.Option("--initial", min=1, help="How many random rows.")] = 8,
    batch: Annotated[int, typer.Option("--batch", min=1, max=1000, help="Experiments that are proposed together.")] = 1,
    against: Annotated[
        str, typer.Option("--against", help="Methods to compare with: random, plain, or none.")
    ] = "random,plain",
    quality: Annotated[bool, typer.Option("--quality/--no-quality", help="Also say how good the model is.")] = True,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE.png", help="Also write a figure.")] = None,
    output: OutputOption = Format.table,
) -> None:
    """Say how fast this optimizer would have found the best in data that you already have."""
    from labctl import replaying
    from labctl.columns import replay_columns
    from labctl.display import censored, say_notes, show_quality, show_replay
    from labctl.emit import emit

    asked = replaying.Asked(
        budget=budget,
        seeds=range(first_seed, first_seed + seeds),
        designed=start is Start.designed,
        initial=initial,
        batch=batch,
        against=tuple(m.strip() for m in against.split(",") if m.strip() not in ("", "none")),
        figure=plot,
    )
    done = replaying.replay_table(data, campaign, asked, quality=quality, say=say_notes)
    people = output is Format.table
    rows = [censored(r) for r in done.rows] if people else done.rows
    about = {"data": done.about, **as_json(done.quality)}
    emit(rows, replay_columns(done.about), output, kind="replay", id="method", about=about)
    if people:
        show_replay(done.rows, done.heading, done.about)
        show_quality(done.quality, done.about["unit"])


@app.command(epilog="Example: labctl optimizer explain C-0001 S-00012")
def explain(
    campaign: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="C-0001, last, or a campaign file.")],
    sample: Annotated[
        str | None,
        typer.Argument(metavar="[SAMPLE]", help="S-00012, E-12 or X-12; else the proposal that would come next."),
    ] = None,
    history: Annotated[
        Path | None, typer.Option("--history", help="With a campaign file: CSV of what was measured.")
    ] = None,
    row: Annotated[int | None, typer.Option("--row", min=1, help="With --history: explain this row of it.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE.png", help="Also write all slices.")] = None,
    lab: LabOption = None,
    output: OutputOption = Format.table,
) -> None:
    """Say why a candidate was proposed: prediction, doubt, gain, neighbours, limits, what matters."""
    from labctl import explaining
    from labctl.columns import EXPLANATIONS
    from labctl.display import show_explanation
    from labctl.emit import emit
    from labctl.replaying import plottable

    if plot is not None:
        plottable(plot)
    found = explained(campaign, sample, history, row, lab)
    about = explaining.as_row(found)
    if plot is not None:
        from labctl.report.figures import slices

        slices(explaining.drawn(found), f"{about['quantity']} [{about['unit']}]", about["measured"]).savefig(
            plot, dpi=150
        )
    if output is not Format.table:
        emit([about], EXPLANATIONS, output, kind="explanations", id="subject")
    else:
        show_explanation(explaining.in_words(found), about)


def explained(campaign: str, sample: str | None, history: Path | None, row: int | None, lab: Path | None) -> Explained:
    """From a lab, or from a campaign file and a table. Raises UsageError where both are asked for."""
    from labctl import explaining
    from labctl.errors import UsageError
    from materials_db import glance

    if campaign.endswith(".toml"):
        if sample is not None:
            raise UsageError(f"a campaign file has no sample {sample!r}", hint="--history data.csv --row 12")
        if row is not None and history is None:
            raise UsageError("--row needs a table", hint="--history data.csv")
        return explaining.of_table(Path(campaign), history, row)
    if history is not None or row is not None:
        raise UsageError(
            "--history and --row go with a campaign file, not with a campaign of a lab",
            hint="labctl optimizer explain FILE.toml --history data.csv",
        )
    path = database(lab)
    id = glance.resolve(path, "C", campaign)
    return explaining.of_sample(open_lab(lab), id, sample_of(path, sample) if sample else None)


def sample_of(path: Path | str, text: str) -> str:
    """A sample's id; its experiment and candidate have the same number."""
    from materials_db import glance

    letter = text[0].upper()
    if letter not in "EX":
        return glance.resolve(path, "S", text)
    key = "id" if letter == "E" else "candidate"
    id = glance.resolve(path, letter, text)
    return next(str(row["sample"]) for row in glance.experiments(path) if row[key] == id)


@app.command(epilog="Example: labctl optimizer columns data.csv --objective conductivity > campaign.toml")
def columns(
    data: Annotated[Path, typer.Argument(metavar="DATA.csv", help="A table with a header.")],
    objective: Annotated[
        str | None, typer.Option("--objective", help="The column to optimize; else the last one with numbers.")
    ] = None,
    minimize: Annotated[bool, typer.Option("--minimize", help="The smaller, the better.")] = False,
) -> None:
    """Write a campaign file to start from, guessed from the columns of a table."""
    from labctl.display import say_notes
    from labctl.starting import campaign_of

    started = campaign_of(data, objective, minimize=minimize)
    say_notes(started.remarks)
    print(started.text, end="")


def as_json(quality: Quality | None) -> dict[str, Any]:
    """Quality of the model as a field of the JSON document."""
    return {"quality": quality.json()} if quality else {}
