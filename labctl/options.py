"""Options that many commands take, spelled the same everywhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from labctl.wiring import Lab


class Format(StrEnum):
    """How rows are written."""

    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"
    name = "name"


LabOption = Annotated[
    Path | None, typer.Option("--lab", metavar="DIR", help="The lab's folder; else the nearest labctl.toml upward.")
]
OutputOption = Annotated[
    Format, typer.Option("--output", "-o", help="Table (tab-separated in a pipe), json, jsonl, csv, or only names.")
]
CampaignArgument = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="C-0001, or 1, or last.")]


def lab_folder(explicit: Path | None) -> Path:
    """The lab's folder. Raises NoLabError."""
    from labctl.finding import find_lab

    return find_lab(Path.cwd(), explicit)


def open_lab(explicit: Path | None) -> Lab:
    """The lab with its file read and checked."""
    from labctl.wiring import open_lab as open_

    return open_(lab_folder(explicit))


def database(explicit: Path | None) -> Path | str:
    """Where the lab's data are, without reading more of the lab file than that address."""
    from labctl.finding import database_place

    return database_place(lab_folder(explicit))


def group(help: str) -> typer.Typer:
    """A noun with its verbs."""
    return typer.Typer(
        help=help,
        rich_markup_mode=None,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
