"""Following a campaign: a live table on a terminal, one line per result in a pipe. It only reads the database."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from labctl.cleaning import clean
from labctl.emit import quiet_pipe, value_and_u
from labctl.errors import LabError, StoppedError
from materials_db import glance, waiting
from materials_db.errors import ConflictError, UnreachableError
from materials_db.looking import Place

if TYPE_CHECKING:
    from labctl.session import Session

Row = dict[str, Any]
LOOK_S = 0.25  #: wall seconds between two looks
SHOWN = 8  #: newest experiments in the live table
AGAIN_S = 10.0  #: within so many wall seconds a second Ctrl-C stops at once
AWAY = "The database does not answer. The work waits for it."
RESTING = ("done", "stopped", "failed", "paused")


def follow(session: Session, *, quiet: bool = False) -> None:
    """Watch until the campaign rests; then say how it ended.

    Raises
    ------
    StoppedError
        Ctrl-C was pressed twice, or who read our lines has gone. The campaign can be resumed.
    """
    path, id = session.lab.glance_path, session.campaign_id
    with Interrupts() as interrupts:
        ticker = Ticker(session, interrupts)
        try:
            if quiet:
                for _ in ticker:
                    pass
            elif sys.stdout.isatty():
                follow_on_terminal(path, id, ticker)
            else:
                follow_in_pipe(path, id, ticker)
        except KeyboardInterrupt:
            session.leave()
            interrupts.ignore()
            raise StoppedError(f"stopped now; {id} can go on", hint=f"labctl campaign resume {id}") from None
        except BrokenPipeError:
            quiet_pipe()
            if glance.progress(path, id)["state"] not in RESTING:
                session.leave()
                raise StoppedError(f"nobody reads on; {id} can go on", hint=f"labctl campaign resume {id}") from None
    finish(session, quiet=quiet)


class Interrupts:
    """Ctrl-C as something to look at between two looks, not something that strikes in the middle of a database read.

    Raised wherever it happens to be pressed, it stopped campaigns that were only to pause.
    """

    def __init__(self) -> None:
        self._pressed = 0
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handler
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, *_: object) -> None:
        self._pressed += 1

    def taken(self) -> int:
        """How often it was pressed since the last time somebody asked."""
        pressed, self._pressed = self._pressed, 0
        return pressed

    def ignore(self) -> None:
        """We are leaving: one more Ctrl-C must not spoil the way out with a traceback."""
        if self._before is not None:
            self._before = signal.SIG_IGN


class Ticker:
    """Looks at the campaign again and again, taking over the work if its worker has died."""

    def __init__(self, session: Session, interrupts: Interrupts) -> None:
        self.session = session
        self.interrupts = interrupts
        self.note = ""
        self._asked: datetime | None = None
        self._row: Row = {}

    def __iter__(self) -> Iterator[Row]:
        from instruments.clock import WallClock

        path, id = self.session.lab.glance_path, self.session.campaign_id
        clock = WallClock()
        while (row := self._look(path, id))["state"] not in RESTING:
            yield row
            self._attend()
            self.session.wait(LOOK_S)
            for _ in range(self.interrupts.taken()):
                self._pause(clock.now())
        yield row

    def _look(self, path: Place, id: str) -> Row:
        """Where the campaign stands; where it last stood while the database does not answer."""
        try:
            self._row = glance.progress(path, id)
            self.note = "" if self.note == AWAY else self.note
        except UnreachableError:
            if not self._row:
                raise
            self._tell(AWAY)
        return self._row

    def _attend(self) -> None:
        """Take over if nobody works; with the database away there is nothing to take over."""
        with suppress(UnreachableError):
            self.session.attend()

    def _tell(self, note: str) -> None:
        """Below the table; in a pipe once, on a line of its own."""
        if self.note != note and not sys.stdout.isatty():
            print(note, flush=True)
        self.note = note

    def _pause(self, now: datetime) -> None:
        """First Ctrl-C: pause at the next safe point. Second within ten seconds: stop now."""
        from labctl import campaigning

        id = self.session.campaign_id
        if self._asked is not None and (now - self._asked).total_seconds() < AGAIN_S:
            raise KeyboardInterrupt
        self._asked = now
        try:
            campaigning.wish(self.session.lab, id, "pause")
            words = campaigning.pausing(self.session.lab, id)
        except ConflictError:
            return  # it has ended by itself in this moment
        except UnreachableError:
            self._tell("The database does not answer: nothing can be written down. Ctrl-C again within 10 s stops now.")
            return
        self._tell(f"{words} Ctrl-C again within 10 s stops now. Later: labctl campaign resume {id}")


def follow_in_pipe(path: Place, id: str, ticker: Ticker) -> None:
    """One line for every experiment that ended."""
    told: set[str] = set()
    print(f"{id} is running; labctl campaign show {id} tells more", flush=True)
    for row in ticker:
        with suppress(UnreachableError):  # what was not told now is told at a later look
            tell_short(row, told)
            tell_ended(path, id, told)
            tell_asked(path, id, told)
            tell_out(path, told)


def tell_ended(path: Place, id: str, told: set[str]) -> None:
    """A line for each experiment that ended and was not told of before."""
    for row in glance.experiments(path, id, last=64):
        if row["state"] in glance_final() and row["id"] not in told:
            told.add(row["id"])
            print(line(row), flush=True)


def tell_asked(path: Place, id: str, told: set[str]) -> None:
    """A line for each question to a person that was not told of before."""
    for task in glance.tasks(path):
        if id in task["campaigns"] and task["id"] not in told:
            told.add(task["id"])
            print(clean(f"waiting for a person: {task['title']}; labctl task show {task['id']}"), flush=True)


def tell_short(row: Row, told: set[str]) -> None:
    """A line for what the next experiment waits for, if it was not told of before."""
    if (words := short(row)) and words not in told:
        told.add(words)
        print(clean(words), flush=True)


def short(row: Row) -> str:
    """What the next experiment of a campaign waits for, in one line."""
    waits = row["state"] == "running" and row["wanted"] == "run" and row["reason"]
    return f"the next experiment waits: {row['reason']}" if waits else ""


def tell_out(path: Place, told: set[str]) -> None:
    """A line for each instrument that was taken out and was not told of before."""
    for row in glance.holds(path):
        if row["id"] not in told:
            told.add(row["id"])
            print(clean(out_of_work(row)), flush=True)


def out_of_work(row: Row) -> str:
    """An instrument on hold, in one line."""
    return f"{row['instrument']} is out, by {row['placed_by']}: {row['reason']}"


def asked(path: Place, id: str) -> str:
    """What people are waited for, in one line."""
    open_ = [task["id"] for task in glance.tasks(path) if id in task["campaigns"]]
    return f"waiting for a person: {', '.join(open_)}; labctl task list" if open_ else ""


def glance_final() -> tuple[str, ...]:
    """States in which an experiment has ended."""
    return ("done", "failed", "aborted", "held")


def line(row: Row) -> str:
    """One experiment on one line."""
    found = value_and_u(row["value"], row["u"], row["unit"] or "") if row["value"] is not None else row["outcome"]
    return clean(f"{row['number']:>4}  {row['sample']}  {row['composition']}  {row['state']}  {found}")


def follow_on_terminal(path: Place, id: str, ticker: Ticker) -> None:
    """A live table."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    known: tuple[Row, list[Row]] | None = None
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for row in ticker:
            said = ""
            with suppress(UnreachableError):  # what was known last stands
                known = glance.campaign(path, id), glance.experiments(path, id, last=SHOWN)
                said = asked(path, id) or short(row) or trouble(path)
            if known is not None:
                live.update(screen(row, *known, ticker.note or said), refresh=True)


def trouble(path: Place) -> str:
    """What a running job waits for, if its device does not answer; else which instruments are out."""
    if told := waiting.stuck(path):
        return f"{told[0]['sample']}: {told[0]['message']}"
    return "\n".join(out_of_work(row) for row in glance.holds(path))


def screen(progress: Row, campaign: Row, experiments: list[Row], note: str) -> Any:
    """What the terminal shows while a campaign runs."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    for title, width, right in (
        ("#", 3, True),
        ("sample", 7, False),
        ("composition", 20, False),
        ("value", 17, False),
        ("state", 7, False),
    ):
        # Ids and values are never cut; where it is narrow, compositions and states are.
        table.add_column(
            title, justify="right" if right else "left", no_wrap=True, overflow="ellipsis", min_width=width
        )
    for row in experiments:
        best = row["sample"] == campaign["best_sample"]
        found = value_and_u(row["value"], row["u"]) + (" *" if best else "") if row["value"] is not None else ""
        table.add_row(
            *(Text(clean(t)) for t in (str(row["number"]), row["sample"], row["composition"], found, standing(row)))
        )
    total, done = progress["budget"], progress["ended"]
    below = Table.grid()
    if total:
        below.add_row(ProgressBar(total=total, completed=done, width=40))
    for line_ in [*summary_lines(progress, campaign), note]:
        below.add_row(Text(clean(line_), style="yellow" if line_ == note else ""))
    head = Text(
        clean(f"{campaign['id']} {campaign['name']}   {campaign['objective']} [{campaign['unit']}]"), style="bold"
    )
    return Group(head, table, below)


def standing(row: Row) -> str:
    """Where an experiment stands, in a word or two."""
    if row["state"] not in ("planned", "running"):
        return str(row["state"])
    step = str(row["step"] or row["state"])
    return "queued" if step.endswith("queued") else step.split(" on ")[0]


def summary_lines(progress: Row, campaign: Row) -> list[str]:
    """Done of all, best so far, when it may end."""
    total = f" of {progress['budget']}" if progress["budget"] else ""
    best = value_and_u(campaign["best"], campaign["best_u"], campaign["unit"])
    number = f" (#{campaign['best_number']})" if campaign["best_number"] else ""
    if campaign["best_distance"] is not None:
        number += f", {campaign['best_distance']:.3g} {campaign['unit']} from {campaign['aimed_at']}"
    left = eta(progress)
    return [f"{progress['ended']}{total} done   best {best}{number}", f"ETA {left} lab time" if left else ""]


def eta(progress: Row) -> str:
    """When the budget of experiments will be used up, lab time, from the pace so far."""
    if not progress["budget"] or not progress["ended"] or not progress["last_ended"]:
        return ""
    begun, last = parse(progress["created_at"]), parse(progress["last_ended"])
    pace = (last - begun) / progress["ended"]
    end: datetime = last + pace * (progress["budget"] - progress["ended"])
    return end.strftime("%a %d %b %H:%M")


def parse(text: str) -> datetime:
    """A moment as the database writes it."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def finish(session: Session, *, quiet: bool) -> None:
    """Say how it ended; the worker goes on for campaigns of other terminals."""
    from labctl.display import next_move, show_campaign

    path, id = session.lab.glance_path, session.campaign_id
    row = glance.campaign(path, id)
    if not quiet:
        show_campaign(row, glance.experiments(path, id), glance.candidates(path, id))
    session.finish(quiet=quiet)
    if row["state"] == "failed":
        raise LabError(f"{id} failed: {row['reason']}", hint="see .labctl/labctl.log")
    if move := next_move(row):
        raise LabError(f"{id} paused: {row['reason']}", hint=move)
    if row["state"] == "paused" and "in a row" in row["reason"]:
        raise LabError(f"{id} paused: {row['reason']}", hint=f"labctl doctor, then: labctl campaign resume {id}")
