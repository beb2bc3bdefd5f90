"""Quick commands import nothing that takes time. The modules are tested, not the milliseconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "sqlmodel",
    "sqlalchemy",
    "pandas",
    "numpy",
    "scipy",
    "sklearn",
    "matplotlib",
    "pymatgen",
    "pint",
    "dbos",
    "bayes_opt",
    "alembic",
    "plotext",
    "pymodbus",
}
DUMP = """
import sys
from labctl.app import main
sys.argv = ["labctl", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
print("IMPORTED", *sorted({m.split(".")[0] for m in sys.modules}), file=sys.stderr)
"""


def imported(*args: str, **environment: str) -> set[str]:
    """Top-level modules that a command imports."""
    done = subprocess.run(
        [sys.executable, "-c", DUMP, *args],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    return set(done.stderr.rsplit("IMPORTED", 1)[1].split())


@pytest.mark.usefixtures("small_lab")
@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["campaign", "--help"],
        ["campaign", "run", "--help"],
        ["queue", "list"],
        ["campaign", "list"],
        ["candidate", "list"],
        ["version"],
        ["--version"],
        ["stop", "--all"],
    ],
    ids=" ".join,
)
def test_a_quick_command_imports_no_scientific_module(words: list[str]) -> None:
    assert imported(*words) & HEAVY == set()


@pytest.mark.usefixtures("small_lab")
def test_a_list_begins_no_event_loop() -> None:
    assert imported("queue", "list") & {"asyncio", "logging"} == set()


def test_help_imports_not_even_pydantic() -> None:
    assert "pydantic" not in imported("--help")


@pytest.mark.parametrize("line", ["labctl ", "labctl campaign ", "labctl campaign run --"])
def test_completion_imports_no_scientific_module(line: str) -> None:
    environment = {"_LABCTL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    assert imported(**environment) & HEAVY == set()


def test_every_module_of_the_terminal_can_be_imported_alone() -> None:
    folder = Path(__file__).parents[2] / "labctl" / "commands"
    for path in folder.glob("*.py"):
        subprocess.run([sys.executable, "-c", f"import labctl.commands.{path.stem}"], check=True)
