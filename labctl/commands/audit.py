"""`labctl audit`."""

from __future__ import annotations

from typing import Annotated

import typer

from labctl.options import Format, LabOption, OutputOption, group, open_lab

app = group("The log of everything that was written.")


@app.command(epilog="Example: labctl audit verify")
def verify(lab: LabOption = None) -> None:
    """Check that no line of the log was changed, removed or put in another order."""
    with open_lab(lab).store.transaction() as tx:
        count = tx.verify_events()
    print(f"{count} lines, chain unbroken")


@app.command("list", epilog="Example: labctl audit list --subject S-00012")
def list_(
    subject: Annotated[str | None, typer.Option("--subject", help="Only about this id.")] = None,
    last: Annotated[int, typer.Option("--last", min=1, help="Only the newest so many.")] = 50,
    lab: LabOption = None,
    output: OutputOption = Format.table,
) -> None:
    """Lines of the log, oldest first."""
    from labctl.columns import EVENTS
    from labctl.emit import emit

    with open_lab(lab).store.transaction() as tx:
        events = tx.events(subject=subject)[-last:]
    emit([e.model_dump(mode="json") for e in events], EVENTS, output, kind="events", id="seq")
