"""`labctl init`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@app.command(epilog="Example: labctl init my-lab --lab electrolyte")
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the new lab; made if it is not there.")],
    lab: Annotated[str, typer.Option("--lab", help="Which kind of lab.")] = "electrolyte",
) -> None:
    """Make a lab: its folder with commented files to start from."""
    from labctl.errors import short_path
    from labctl.initialise import initialise

    written = initialise(folder, lab)
    for path in written:
        print(f"wrote {short_path(path)}")
    campaign = next(path.relative_to(folder) for path in written if path.parent.name == "campaigns")
    print(f"next: cd {quote(str(folder))} && labctl campaign run {campaign}")
