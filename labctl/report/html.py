"""`labctl campaign report`: one HTML file that tells a campaign to somebody who has nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from labctl.cleaning import clean
from labctl.emit import value_and_u
from labctl.report import figures
from labctl.report.data import Line, ReportData, gather
from materials_db.store import Transaction


def write_report(
    tx: Transaction,
    campaign_id: str,
    folder: Path,
    outliers: Mapping[int, float] | None = None,
    left: str = "",
) -> Path:
    """Write the report of one campaign; its path. `left` says what may still be gained.

    The file needs nothing from outside: style and figures are in it. The same data give
    the same bytes.
    """
    data = gather(tx, campaign_id, outliers)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{data.campaign.id}.html"
    path.write_text(render(data, left), encoding="utf-8")
    return path


def render(data: ReportData, left: str = "") -> str:
    """The page."""
    from jinja2 import Environment, select_autoescape

    environment = Environment(
        autoescape=select_autoescape(default=True, default_for_string=True), trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"clean": clean, "moment": lambda t: f"{t:%Y-%m-%d %H:%M}" if t else "-"}
    template = environment.from_string(files("labctl.report").joinpath("page.html").read_text(encoding="utf-8"))
    return template.render(**context(data), left=left)


def context(data: ReportData) -> dict[str, Any]:
    """Everything that the page shows."""
    predicted, mapped, front = figures.predicted(data), figures.map_of(data), figures.front(data)
    return {
        "d": data,
        "c": data.campaign,
        "best": data.best,
        "best_value": expanded(data.best, data.unit) if data.best else "",
        "rows": [row(data, line) for line in data.lines],
        "names": [*data.components, *data.process],
        "convergence": figures.convergence(data),
        "predicted": predicted[0] if predicted else None,
        "predicted_words": predicted[1] if predicted else "",
        "map": mapped[0] if mapped else None,
        "map_words": mapped[1] if mapped else "",
        "time_line": figures.time_line(data),
        "front": front[0] if front else None,
        "front_words": front[1] if front else "",
        "further": [f"{name} [{data.merit.units[name]}]" for name in data.merit.quantities[1:]],
        "distance": distance(data),
        "lost": sum(line.value is None for line in data.lines),
    }


def expanded(line: Line, unit: str) -> str:
    """A value with its expanded uncertainty, k = 2."""
    return value_and_u(line.value, 2 * (line.u or 0.0), unit)


def distance(data: ReportData) -> str:
    """How far the best is from what is aimed at; empty where nothing is."""
    away = data.merit.distance(data.best.value) if data.best and data.best.value is not None else None
    return "" if away is None else f"{away:.3g} {data.unit} from {data.merit.aimed_at} {data.unit}"


def remarks(line: Line) -> str:
    """Why an experiment was made or lost, and what is to be known about its result."""
    said = [line.experiment.outcome or line.candidate.origin_of_proposal]
    said += [f"breaks a limit: {words}" for words in line.broken]
    said += ["on the Pareto front"] if line.on_front else []
    said += [f"outlier? {line.outlier:+.1f} sd from what all others say"] if line.outlier is not None else []
    return "; ".join(said)


def row(data: ReportData, line: Line) -> dict[str, Any]:
    """One experiment in the table."""
    return {
        "number": line.number,
        "sample": line.sample.id,
        "cells": [cell(line, name) for name in [*data.components, *data.process]],
        "value": value_and_u(line.value, line.u) if line.value is not None else "",
        "state": line.experiment.state,
        "further": [value_and_u(*line.values[q]) if q in line.values else "" for q in data.merit.quantities[1:]],
        "why": remarks(line),
        "best": data.best is not None and line.sample.id == data.best.sample.id,
    }


def cell(line: Line, name: str) -> dict[str, str]:
    """Requested and weighed share of one component, or a setting."""
    if name in line.candidate.process:
        return {"asked": str(line.candidate.process[name]), "weighed": ""}
    weighed = line.weighed.get(name)
    return {"asked": f"{line.requested.get(name, 0.0):.4g}", "weighed": f"{weighed:.4f}" if weighed is not None else ""}
