"""`labctl task`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labctl.options import Format, LabOption, OutputOption, database, group, open_lab

app = group("What waits for a person: bench steps, and questions that only eyes can answer.")
TaskArgument = Annotated[str, typer.Argument(metavar="TASK", help="T-00001, or 1, or last.")]
ByOption = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who answers; else whoever is logged in.")]
NoteOption = Annotated[str, typer.Option("--note", help="Anything worth keeping.")]
SampleOption = Annotated[
    list[str] | None,
    typer.Option(
        "--sample",
        metavar="ID",
        help="The sample in hand, typed or scanned from its label; asked for at a terminal, refused if it is another.",
    ),
]


@app.command("list", epilog="Example: labctl task list")
def list_(
    lab: LabOption = None,
    output: OutputOption = Format.table,
    all_: Annotated[bool, typer.Option("--all", help="Answered ones too.")] = False,
) -> None:
    """Open tasks, oldest first."""
    from labctl.columns import TASKS
    from labctl.emit import emit
    from materials_db import glance

    none = "no tasks yet" if all_ else "no task is open; answered ones: labctl task list --all"
    emit(glance.tasks(database(lab), every=all_), TASKS, output, kind="tasks", none=none)


@app.command(epilog="Example: labctl task show T-00001")
def show(task: TaskArgument, lab: LabOption = None, output: OutputOption = Format.table) -> None:
    """One task: what to do, what to look at, what to type."""
    from labctl.columns import TASKS
    from labctl.display import show_task
    from labctl.emit import emit
    from materials_db import glance

    path = database(lab)
    id = glance.resolve(path, "T", task)
    row = next(r for r in glance.tasks(path, every=True) if r["id"] == id)
    if output is Format.table:
        show_task(row)
    else:
        emit([row], TASKS, output, kind="tasks")


@app.command(epilog="Example: labctl task done T-00001 --sample S-00012 --by Ada")
def done(
    task: TaskArgument,
    sample: SampleOption = None,
    value: Annotated[
        list[str] | None, typer.Option("--value", metavar="NAME=NUMBER", help="What you read off.")
    ] = None,
    lost: Annotated[
        list[str] | None, typer.Option("--lost", metavar="ID=WHY", help="One of several samples that did not survive.")
    ] = None,
    happened: Annotated[bool, typer.Option("--happened", help="To a question in doubt: the act took place.")] = False,
    not_started: Annotated[
        bool, typer.Option("--not-started", help="To a question in doubt: the act never began.")
    ] = False,
    note: NoteOption = "",
    by: ByOption = None,
    lab: LabOption = None,
) -> None:
    """It is done, or this is what happened."""
    from labctl import asking
    from labctl.errors import UsageError
    from materials_db import glance

    path = database(lab)
    id = glance.resolve(path, "T", task)
    if happened and not_started:
        raise UsageError("--happened and --not-started are two answers; nothing was written", hint="give one of them")
    took_place = True if happened else False if not_started else None
    values, reasons = asking.numbers(value or ()), asking.reasons(lost or ())
    follows = asking.respond(
        open_lab(lab), id, done=True, by=by, note=note, samples=in_hand(path, id, sample),
        values=values, happened=took_place, lost=reasons,
    )  # fmt: skip
    print(f"{id} is answered; {follows}")


@app.command(epilog='Example: labctl task fail T-00001 --sample S-00012 --reason "cracked when clamped"')
def fail(
    task: TaskArgument,
    reason: Annotated[str, typer.Option("--reason", help="What went wrong; goes on record.")],
    sample: SampleOption = None,
    by: ByOption = None,
    lab: LabOption = None,
) -> None:
    """It went wrong: the sample is given up."""
    from labctl import asking
    from materials_db import glance

    path = database(lab)
    id = glance.resolve(path, "T", task)
    follows = asking.respond(open_lab(lab), id, done=False, by=by, note=reason, samples=in_hand(path, id, sample))
    print(f"{id} is answered; {follows}")


def in_hand(path: Path | str, id: str, given: list[str] | None) -> list[str]:
    """The samples that were named; at a terminal they are asked for, if the task is still open."""
    from labctl import asking
    from materials_db import glance

    row = next((r for r in glance.tasks(path) if r["id"] == id), None)
    return given or (asking.scanned(len(row["samples"])) if row else [])
