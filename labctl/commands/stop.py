"""`labctl stop`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from labctl.options import LabOption, lab_folder


def stop(
    all_: Annotated[bool, typer.Option("--all", help="Every machine of this lab, now.")] = False,
    release: Annotated[bool, typer.Option("--release", help="Let the lab work again.")] = False,
    lab: LabOption = None,
) -> None:
    """Stop every machine now, also when the database or the worker is dead. Not a safety device."""
    from labctl import stopping

    if all_ == release:
        from labctl.errors import UsageError

        raise UsageError("say what to do", hint="labctl stop --all, or afterwards: labctl stop --release")
    folder = lab_folder(lab)
    if release:
        print("the lab may work again" if stopping.allow(folder) else "the lab was not stopped")
        return
    stopping.forbid(folder)
    told, fault = stopping.tell(stopping.outline(folder))
    for name, words in told.items():
        print(f"{name}: {words}")
    print("stopped; nothing new is started until: labctl stop --release")
    if fault:
        words = f"the database could not be told ({fault}): workers on other machines may go on; then again"
        print(f"{words}: labctl stop --all", file=sys.stderr)
    if fault or any(words != "stopped" and "not running" not in words for words in told.values()):
        raise typer.Exit(5)


app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
app.command(epilog="Example: labctl stop --all")(stop)
