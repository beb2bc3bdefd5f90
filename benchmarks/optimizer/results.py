"""What was measured, one line a run, so that a stopped benchmark goes on where it was.

A run of labctl counts only for the optimizer it was made with: lines of another state of the
code stay in the file and are passed over.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.optimizer.harness import CHECKOUT

MODULES = ("drawing", "observations", "parameters", "pareto", "pool", "rows", "space")
PARTS = ("campaigns/optimizers", *(f"campaigns/{name}.py" for name in MODULES))  #: what decides a proposal


@dataclass(frozen=True, order=True)
class Run:
    """One run: a peer on one problem with one seed."""

    figure: str
    peer: str
    problem: str
    seed: int

    @property
    def ours(self) -> bool:
        """Whether labctl itself was measured."""
        return self.peer.startswith("labctl")


@cache
def code() -> str:
    """The state of the optimizer's code, in eight letters."""
    digest = hashlib.sha256()
    for part in PARTS:
        path = CHECKOUT / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


class Results:
    """The file of all runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[Run, dict[str, Any]] = {run: row for run, row in self._read() if self._valid(run, row)}

    def _read(self) -> Iterator[tuple[Run, dict[str, Any]]]:
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                row = json.loads(line)
                yield Run(row["figure"], row["peer"], row["problem"], row["seed"]), row

    def _valid(self, run: Run, row: dict[str, Any]) -> bool:
        return not run.ours or row["code"] == code()

    def add(self, run: Run, measured: dict[str, Any]) -> None:
        """Keep one run, on disk as well."""
        row = {**vars(run), "code": code() if run.ours else "", **measured}
        self.rows[run] = row
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def of(self, figure: str) -> dict[tuple[str, str], dict[int, dict[str, Any]]]:
        """Rows of one figure by peer and problem, then by seed."""
        found: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
        for run, row in sorted(self.rows.items(), key=lambda item: item[0]):
            if run.figure == figure:
                found.setdefault((run.peer, run.problem), {})[run.seed] = row
        return found
