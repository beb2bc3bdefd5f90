"""What people type while a lab that may die any moment works: wishes about campaigns, holds, stops, answers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from materials_db import records as db

if TYPE_CHECKING:
    from labctl.wiring import Lab
    from tests.crash.lab import CrashLab

TECHNICIAN = "Ada"
#: What is typed. OTHER stands for the second campaign, which may be ended; INSTRUMENT for one of the lab's.
WORDS: tuple[tuple[str, ...], ...] = (
    ("campaign", "pause", "C-0001"), ("campaign", "pause", "OTHER"), ("campaign", "resume", "C-0001", "--quiet"),
    ("campaign", "abort", "OTHER"), ("campaign", "stop", "OTHER"), ("campaign", "priority", "OTHER", "5"),
    ("instrument", "hold", "INSTRUMENT", "--reason", "looked at"), ("instrument", "drain", "INSTRUMENT", "--reason", "service"),
    ("instrument", "release", "INSTRUMENT"), ("stop", "--all"), ("stop", "--release"),
)  # fmt: skip


@dataclass(frozen=True)
class Typed:
    """Somebody types a command; worker and command die a while after it, or go on."""

    seconds: float
    words: tuple[str, ...]
    dies_after: float | None = None

    def strike(self, lab: CrashLab) -> bool:
        from tests.crash.lab import FINISH_S, end

        worker = lab.attend()
        worker.join(self.seconds)
        struck = worker.exitcode is None
        typed = lab.type(*self.words)
        typed.join(FINISH_S if self.dies_after is None else self.dies_after)
        if self.dies_after is not None:
            lab.kill()
        end(typed)
        return struck


def some_words(rng: random.Random, instruments: tuple[str, ...]) -> tuple[str, ...]:
    """A command."""
    named = {"OTHER": "C-0002", "INSTRUMENT": rng.choice(instruments)}
    return tuple(named.get(word, word) for word in rng.choice(WORDS))


def set_right(lab: CrashLab) -> None:
    """What people do before they go home: nothing is stopped, held or paused any more, and no question is open."""
    from labctl import asking, campaigning, stopping, wiring

    opened = wiring.open_lab(lab.folder)
    try:
        stopping.allow(lab.folder)
        with opened.store.transaction() as tx:
            held = {hold.instrument for hold in tx.find(db.Hold, state="active")}
            resting = [c.id for c in tx.find(db.Campaign, state="paused")]
            resting += [c.id for c in tx.find(db.Campaign, state="running", wanted="pause")]
            asked = [t for t in tx.find(db.Task, state="open") if t.question != "step"]
        for name in held:
            asking.release(opened, name, TECHNICIAN)
        for id in resting:
            campaigning.wish(opened, id, "run")
        for task in asked:
            answer(lab, opened, task)
    finally:
        opened.store.close()


def answer(lab: CrashLab, opened: Lab, task: db.Task) -> None:
    """A technician looks what happened where neither record nor machine could tell, and gives up what is parked."""
    from labctl import asking

    if task.question == "parked":
        asking.respond(opened, task.id, done=False, by=TECHNICIAN, samples=task.samples, note="given up")
        return
    with opened.store.transaction() as tx:
        job = tx.get(db.Job, task.job_id)
    happened = (job.tray or job.id) in lab.simulator.acts()
    asking.respond(opened, task.id, done=True, by=TECHNICIAN, samples=task.samples, happened=happened)
