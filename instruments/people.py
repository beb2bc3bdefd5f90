"""What a step that needs hands asks of a person, and what comes back.

The board on which questions hang is not the instruments' business: it is handed in, and
keeps them wherever the technicians look (`campaigns.tasks`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from pydantic import AwareDatetime, Field

from instruments.contract import Params


class Entry(Params):
    """A number that the person reads off and types in."""

    name: str  #: becomes the reading's quantity
    unit: str
    low: float
    high: float


class Question(Params):
    """What to do, with which samples."""

    job_id: str
    instrument: str
    title: str
    text: str
    samples: tuple[str, ...]
    entries: tuple[Entry, ...] = ()


class Answer(Params):
    """What the person says."""

    by: str = Field(min_length=1)
    at: AwareDatetime
    done: bool  #: False: it went wrong, and the samples are lost
    note: str = ""
    values: dict[str, float] = Field({})  #: by entry
    lost: dict[str, str] = Field({})  #: samples among several that did not survive, and why


class Board(Protocol):
    """Where people find what they are asked."""

    async def ask(self, question: Question, at: datetime) -> None:
        """Put a question up. Once per job, however often it is called."""

    async def asked_at(self, job_id: str) -> datetime | None:
        """When the question of this job was put up; None when it never was."""

    async def answer(self, job_id: str) -> Answer | None:
        """The answer, once there is one."""

    async def withdrawn(self, job_id: str) -> bool:
        """Whether the question was taken down unanswered."""

    async def reply(self, job_id: str, answer: Answer) -> None:
        """Write an answer down, unless there is one already."""

    async def withdraw(self, job_id: str, at: datetime) -> None:
        """Take the question down; nothing happens where it was answered."""
