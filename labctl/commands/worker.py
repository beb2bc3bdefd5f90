"""`labctl worker`."""

from __future__ import annotations

from typing import Annotated

import typer

from labctl.options import Format, LabOption, OutputOption, group, lab_folder, open_lab

app = group("The processes that drive the instruments of each host.")


@app.command(epilog="Example: labctl worker run --host furnace-room")
def run(
    host: Annotated[str, typer.Option("--host", help="As the instruments of labctl.toml name it.")] = "main",
    journal_lost: Annotated[
        bool, typer.Option("--journal-lost", help="Its journals are gone for good: ask people what became of its jobs.")
    ] = False,
    lab: LabOption = None,
) -> None:
    """Drive the instruments of one host until Ctrl-C; what is under way goes on at the next start."""
    from labctl import worker

    def ready(names: list[str]) -> None:
        print(f"host {host} drives {', '.join(names)}; Ctrl-C stops", flush=True)

    worker.serve(lab_folder(lab), host, ready, journal_lost=journal_lost)


@app.command("list", epilog="Example: labctl worker list")
def list_(lab: LabOption = None, output: OutputOption = Format.table) -> None:
    """Every host: who drives it, whether it lives, and what it holds."""
    from labctl import fleet
    from labctl.columns import WORKERS
    from labctl.emit import emit

    emit(fleet.rows(open_lab(lab)), WORKERS, output, kind="workers", id="host")
