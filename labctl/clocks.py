"""Whether this machine's clock can be believed: stamps are what people find their results by.

The order of what happened does not hang on clocks, it is counted. But a machine that is an
hour off would write wrong hours for good, and look dead, or alive, to all others.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from labctl.errors import LabError

if TYPE_CHECKING:
    from datetime import datetime

    from materials_db.store import Transaction

OFF = timedelta(seconds=30)  #: machines that ask a time server agree within a fraction of a second


class ClockError(LabError):
    """Our clock and the database server's tell different times."""

    code = "LAB-0604"
    exit_status = 6


def refuse_wrong(tx: Transaction) -> None:
    """Raise ClockError where a server has another time than this machine."""
    if fault := against_server(tx):
        raise ClockError(
            f"{fault}; nothing was started",
            hint="set whichever is wrong (timedatectl set-ntp true), then start again",
        )


def against_server(tx: Transaction) -> str:
    """How this machine's clock differs from the database server's, in words; empty when it does not."""
    before, there, here = now(), tx.now(), now()
    if before - OFF < there < here + OFF:
        return ""
    return f"this machine's clock says {words(here)}, the database server's {words(there)}"


def against_record(tx: Transaction) -> str:
    """How the clock differs from what workers have written, in words; empty when it does not."""
    here, last = tx.now(), max((worker.beat_at for worker in tx.workers()), default=None)
    if last is None or here > last - OFF:
        return ""
    return f"the clock says {words(here)}, but a worker of this lab wrote at {words(last)}: one of the two is wrong"


def now() -> datetime:
    """Time by the machine we are on."""
    from instruments.clock import WallClock

    return WallClock().now()


def words(moment: datetime) -> str:
    """A moment as people write it."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
