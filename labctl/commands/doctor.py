"""`labctl doctor`."""

from __future__ import annotations

import typer

from labctl.options import Format, LabOption, OutputOption

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@app.command(epilog="Example: labctl doctor")
def doctor(lab: LabOption = None, output: OutputOption = Format.table) -> None:
    """Check this lab and say what to do about what is wrong. Changes nothing."""
    from labctl.checking import examine
    from labctl.columns import FINDINGS
    from labctl.emit import emit
    from labctl.options import lab_folder

    findings = examine(lab_folder(lab))
    emit(findings, FINDINGS, output, kind="findings", id="check")
    if any(f["state"] == "wrong" for f in findings):
        raise typer.Exit(1)
