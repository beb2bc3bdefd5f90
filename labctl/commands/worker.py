"""`labctl worker`."""

from __future__ import annotations

from typing import Annotated

import typer

from labctl.options import Format, LabOption, OutputOption, group, lab_folder, open_lab

app = group("The processes that drive the instruments of each host.")


@app.command(epilog="Example: labctl worker run --host furnace-room")
def run(
    host: Annotated[str, typer.Option("--host", help="As the instruments of labctl.toml name it.")] = "main",
    lab: LabOption = None,
) -> None:
    """Drive the instruments of one host until Ctrl-C; what is under way goes on at the next start."""
    from labctl import worker

    worker.serve(
        lab_folder(lab), host, lambda names: print(f"host {host} drives {', '.join(names)}; Ctrl-C stops", flush=True)
    )


@app.command("list", epilog="Example: labctl worker list")
def list_(lab: LabOption = None, output: OutputOption = Format.table) -> None:
    """Every host: who drives it, whether it lives, and what it holds."""
    from labctl import fleet
    from labctl.columns import WORKERS
    from labctl.emit import emit

    emit(fleet.rows(open_lab(lab)), WORKERS, output, kind="workers", id="host")
