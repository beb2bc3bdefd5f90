"""What technicians say from the terminal: answers to tasks, holds on instruments."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from labctl import wiring
from labctl.errors import UsageError
from labctl.stop_flag import STOPPED
from materials_db import records as db
from materials_db.errors import ConflictError

if TYPE_CHECKING:
    from labctl.wiring import Lab
    from materials_db.store import Transaction


def respond(
    lab: Lab,
    task_id: str,
    *,
    done: bool,
    by: str | None,
    note: str = "",
    samples: Sequence[str] = (),
    values: Mapping[str, float] | None = None,
    happened: bool | None = None,
    lost: Mapping[str, str] | None = None,
) -> str:
    """Answer a task; what follows from it, in words. Raises TaskError, ConflictError."""
    from campaigns import tasks
    from instruments.people import Answer

    answer = Answer(
        by=named(by),
        at=lab.clock().now(),
        done=done,
        note=note if done else given("--reason", note),
        values=dict(values or {}),
        lost=dict(lost or {}),
    )
    with lab.store.transaction() as tx:
        return tasks.respond(tx, task_id, answer, samples=samples, happened=happened)


def named(by: str | None) -> str:
    """Who says so: whoever is logged in, where no name is given. Raises UsageError."""
    return wiring.actor() if by is None else given("--by", by)


def given(option: str, text: str) -> str:
    """What goes on record and must say something. Raises UsageError."""
    if not text.strip():
        raise UsageError(f"{option} is empty; nothing was written", hint=f'for example: {option} "Ada saw it"')
    return text.strip()


def numbers(pairs: Sequence[str]) -> dict[str, float]:
    """``roughness=0.4`` as a number by its name. Raises UsageError."""
    found: dict[str, float] = {}
    for pair in pairs:
        name, _, text = (part.strip() for part in pair.partition("="))
        if name in found:
            raise UsageError(f"--value {name} is given twice; nothing was written", hint="say it once")
        found[name] = number(pair, text)
    return found


def number(pair: str, text: str) -> float:
    """One number as it was typed. Raises UsageError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"--value {pair!r} is no NAME=NUMBER", hint="for example: --value roughness=0.4")
    return value


def reasons(pairs: Sequence[str]) -> dict[str, str]:
    """``S-00003=cracked`` as a reason by its sample. Raises UsageError."""
    from campaigns.tasks import labelled

    split = [pair.partition("=") for pair in pairs]
    if bad := [sample for sample, _, why in split if not why.strip()]:
        raise UsageError(f"--lost {bad[0]!r} does not say why", hint='for example: --lost S-00003="cracked"')
    return {labelled(sample): why.strip() for sample, _, why in split}


def scanned(count: int) -> list[str]:
    """So many samples as they are typed or scanned at a terminal; none where nobody sits at one, or who sits there has none."""
    typed: list[str] = []
    while sys.stdin.isatty() and len(typed) < count:
        print("scan or type the sample: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline().replace(",", " ").split()
        if not line:
            break
        typed += line
    return typed


def hold(lab: Lab, name: str, mode: Literal["hold", "drain"], reason: str, by: str | None) -> db.Hold:
    """Let an instrument take no new work. Raises ConflictError when it is held already."""
    reason, at, who = given("--reason", reason), lab.clock().now(), named(by)
    with lab.store.transaction() as tx:
        for known in active(tx, lab, name):
            raise ConflictError(
                f"{name} is held already, by {known.placed_by}: {known.reason}; first: labctl instrument release {name}"
            )
        number = tx.next_number("H")
        made = db.Hold(id=f"H-{number:04d}", instrument=name, mode=mode, reason=reason, placed_by=who, placed_at=at)
        tx.add(made, at=at, actor=who)
    return made


def release(lab: Lab, name: str, by: str | None) -> None:
    """Let an instrument take work again. Raises ConflictError when nothing holds it."""
    at, who = lab.clock().now(), named(by)
    with lab.store.transaction() as tx:
        held = active(tx, lab, name)
        if not held:
            raise ConflictError(f"{name} is not held; what is: labctl instrument list")
        holds = [known for known in held if known.reason != STOPPED]
        if not holds:
            raise ConflictError(f"{name} is stopped with the whole lab; first: labctl stop --release")
        for known in holds:
            tx.move(
                db.Hold, known.id, at=at, actor=who, was=["active"], state="released", released_by=who, released_at=at
            )


def active(tx: Transaction, lab: Lab, name: str) -> list[db.Hold]:
    """Holds on an instrument of this lab. Raises NotFoundError when there is none of that name."""
    lab.named(name)
    return tx.find(db.Hold, instrument=name, state="active")
