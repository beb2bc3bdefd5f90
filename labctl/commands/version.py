"""`labctl version`."""

from __future__ import annotations

import typer

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@app.command(epilog="Example: labctl version")
def version() -> None:
    """Which labctl this is."""
    from importlib.metadata import version as of

    print(f"labctl {of('labctl')}")
