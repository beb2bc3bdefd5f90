"""What follows when a job fails, by the class of its fault: `[failures]` of a campaign or of its lab.

=========  =============================================================================
retry      try the step again, where that is safe: nothing was begun, or nothing changes
other      the same, on another instrument that can do it, where there is one
park       the sample waits for a person; everything else goes on
ask        the same, and the instrument takes no new work until a person releases it
fail       the sample is given up; the optimizer learns of it where the material was at fault
stop       the sample is given up and the campaign ends
=========  =============================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from campaigns.sections import Section
from instruments.contract import Fault

Action = Literal["retry", "other", "park", "ask", "fail", "stop"]
ATTEMPTS = 3  #: at most so many tries of one step for one sample


class FailuresSection(Section):
    """[failures]: what is not said is left to the lab file, and then to `DEFAULT`."""

    attempts: int | None = Field(None, ge=1, le=20, strict=True)
    transport: Action | None = None
    timeout: Action | None = None
    bad_reply: Action | None = None
    rejected: Action | None = None
    out_of_limits: Action | None = None
    interlock: Action | None = None
    consumable: Action | None = None
    jam: Action | None = None
    sample_lost: Action | None = None
    measurement_invalid: Action | None = None
    drift: Action | None = None
    operator: Action | None = None
    unknown: Action | None = None


DEFAULT: dict[Fault, Action] = {
    Fault.TRANSPORT: "retry",
    Fault.TIMEOUT: "retry",
    Fault.BAD_REPLY: "retry",
    Fault.REJECTED: "fail",
    Fault.OUT_OF_LIMITS: "fail",
    Fault.INTERLOCK: "retry",
    Fault.CONSUMABLE: "ask",
    Fault.JAM: "retry",
    Fault.SAMPLE_LOST: "fail",
    Fault.MEASUREMENT_INVALID: "retry",
    Fault.DRIFT: "other",
    Fault.OPERATOR: "fail",
    Fault.UNKNOWN: "retry",
}


class Policy:
    """The action for each fault.

    Parameters
    ----------
    sections
        `[failures]` as JSON, the one that decides first.
    """

    def __init__(self, *sections: Mapping[str, Any]) -> None:
        self.sections = sections

    def action(self, fault: Fault | None) -> Action:
        """What follows from this fault; a failure without one is like an unknown fault."""
        fault = fault or Fault.UNKNOWN
        said: Action | None = next((s[fault.value] for s in self.sections if s.get(fault.value)), None)
        return said or DEFAULT[fault]

    @property
    def attempts(self) -> int:
        """Most tries of one step for one sample."""
        return next((int(s["attempts"]) for s in self.sections if s.get("attempts")), ATTEMPTS)
