"""What the terminal can say went wrong: a code, an exit status, and what to type next.

LabError
├── UsageError        2   the command asks for something that is not there
├── NoLabError        2   not in a lab's folder
├── ExistsError       2   would write over something
├── NoContactError    5   instruments do not answer
└── StoppedError    130   Ctrl-C, twice
"""

from __future__ import annotations

from collections.abc import Mapping


class LabError(Exception):
    """Something that a person at the terminal can put right."""

    code = "LAB-0100"
    exit_status = 1

    def __init__(self, message: str, *, hint: str = "", where: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where


class UsageError(LabError):
    """The command asks for something that is not there."""

    code = "LAB-0101"
    exit_status = 2


class NoLabError(LabError):
    """Not in a lab's folder."""

    code = "LAB-0102"
    exit_status = 2

    def __init__(self, message: str) -> None:
        super().__init__(
            message, hint="cd into a lab, add --lab DIR, or make one: labctl init my-lab --lab electrolyte"
        )


class ExistsError(LabError):
    """Would write over something."""

    code = "LAB-0103"
    exit_status = 2


class NoContactError(LabError):
    """Instruments do not answer."""

    code = "LAB-0501"
    exit_status = 5

    def __init__(self, silent: Mapping[str, str]) -> None:
        names = ", ".join(silent)
        verb = "does" if len(silent) == 1 else "do"
        super().__init__(
            f"{names} {verb} not answer; nothing was started",
            where=tuple(f"{name}: {why}" for name, why in silent.items()),
            hint="check power and cable, then: labctl doctor",
        )


class StoppedError(LabError):
    """Stopped by Ctrl-C."""

    code = "LAB-0130"
    exit_status = 130
