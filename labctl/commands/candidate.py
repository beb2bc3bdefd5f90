"""`labctl candidate`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from labctl.options import Format, LabOption, OutputOption, database, group

app = group("What was found, best first; take it elsewhere.")
TopOption = Annotated[int | None, typer.Option("--top", min=1, help="Only the best so many.")]
CampaignOption = Annotated[str | None, typer.Option("--campaign", "-c", help="Only of this campaign: C-0001, 1, last.")]


class ExportFormat(StrEnum):
    """Formats for other programs."""

    csv = "csv"
    json = "json"
    jsonl = "jsonl"


@app.command("list", epilog="Example: labctl candidate list --top 5")
def list_(
    top: TopOption = None, campaign: CampaignOption = None, lab: LabOption = None, output: OutputOption = Format.table
) -> None:
    """Candidates that were measured, best first."""
    from labctl.columns import candidate_columns
    from labctl.emit import emit

    rows = found(lab, campaign, top)
    emit(rows, candidate_columns(rows), output, kind="candidates")


@app.command(epilog="Example: labctl candidate export --format csv > best.csv")
def export(
    format: Annotated[ExportFormat, typer.Option("--format", help="csv, json or jsonl.")] = ExportFormat.csv,
    top: TopOption = None,
    campaign: CampaignOption = None,
    lab: LabOption = None,
) -> None:
    """Candidates with every component in a column of its own, for other programs."""
    from labctl.columns import export_columns, export_rows
    from labctl.emit import emit

    rows = export_rows(found(lab, campaign, top))
    emit(rows, export_columns(rows), Format(format.value), kind="candidates")


def found(lab: Path | None, campaign: str | None, top: int | None) -> list[dict[str, Any]]:
    """Rows of candidates."""
    from materials_db import glance

    path = database(lab)
    return glance.candidates(path, glance.resolve(path, "C", campaign) if campaign else None, top=top)
