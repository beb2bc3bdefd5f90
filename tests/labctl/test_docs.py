"""What is written about labctl is true of it."""

from __future__ import annotations

import re
from pathlib import Path

import typer
from typer.testing import CliRunner

from labctl.app import NAMES, app

ROOT = Path(__file__).parents[2]


def commands() -> set[str]:
    """Every command as it is typed."""
    group = typer.main.get_command(app)
    found = set()
    for name in NAMES:
        command = group.get_command(None, name)  # type: ignore[attr-defined]
        verbs = getattr(command, "commands", {})
        found |= {f"labctl {name} {verb}" for verb in verbs} or {f"labctl {name}"}
    return found


def test_every_command_is_documented_and_every_documented_command_exists() -> None:
    text = (ROOT / "docs" / "commands.md").read_text()
    assert set(re.findall(r"^\| `(labctl [a-z -]+)` \|", text, re.MULTILINE)) == commands()


def test_the_readme_names_only_commands_and_files_that_exist() -> None:
    text = (ROOT / "README.md").read_text()
    known = commands()
    for noun, verb in re.findall(r"\$ labctl ([a-z]+)(?: ([a-z]+))?", text):
        assert f"labctl {noun}" in known or f"labctl {noun} {verb}" in known
    for path in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / path).exists(), path
    targets = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", targets, re.MULTILINE), target
    assert 60 <= len(text.splitlines()) <= 120


def test_help_runs_in_process_too() -> None:
    assert CliRunner().invoke(app, ["--help"]).exit_code == 0
