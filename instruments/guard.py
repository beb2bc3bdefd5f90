"""A driver that can neither hang, break nor drain its host: what it does wrong becomes a fault of its own instrument.

It runs in the host's event loop, so a driver that blocks without awaiting still blocks its
host: such libraries belong into a thread (`asyncio.to_thread`). One that opens connections and
closes none would in the end leave none for the others: nothing new is begun with it.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import sys
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

from instruments.contract import Fault
from instruments.errors import InstrumentError, TransportError

LONGEST_S = 120.0  #: seconds for one call of a driver; runs go on at the device, calls are short
MOST_OPEN = 32  #: connections of one driver: a process often has 1,024 descriptors for all of them and its databases
#: Asked before something new begins; a run under way is followed to its end.
BEFORE_WORK = ("identity", "health", "mark")
#: The connections of the driver in whose call we are.
OPENED: ContextVar[WeakSet[socket.socket] | None] = ContextVar("OPENED", default=None)


class DriverBroken(TransportError):
    """The driver itself failed: it did not come back, or raised what no driver should."""

    fault = Fault.UNKNOWN


class Guard:
    """The same methods as the driver's; see module."""

    def __init__(self, driver: Any, longest_s: float = LONGEST_S) -> None:
        self._driver, self._longest_s = driver, longest_s
        self._sockets = WeakSet[socket.socket]()

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._driver, name)
        return self._guarded(name, member) if inspect.iscoroutinefunction(member) else member

    def _guarded(self, name: str, method: Any) -> Any:
        async def call(*args: Any) -> Any:
            if name in BEFORE_WORK:
                self._refuse_leak()
            before = OPENED.set(self._sockets)
            try:
                async with asyncio.timeout(self._longest_s):
                    return await method(*args)
            except TimeoutError:
                raise DriverBroken(f"the driver did not come back from {name} within {self._longest_s:g} s") from None
            except (InstrumentError, ValueError):
                raise
            except (Exception, SystemExit) as error:
                raise DriverBroken(f"the driver broke in {name}: {type(error).__name__}: {error}") from error
            finally:
                OPENED.reset(before)

        return call

    def _refuse_leak(self) -> None:
        count = sum(opened.fileno() >= 0 for opened in self._sockets)
        if count > MOST_OPEN:
            raise DriverBroken(
                f"the driver holds {count} connections open, at most {MOST_OPEN} are allowed; nothing new begins until the"
                " worker is started anew"
            )


def count_socket(event: str, args: tuple[Any, ...]) -> None:
    """Count a new socket with the driver in whose call, or in whose tasks and threads, it is made."""
    if event == "socket.__new__" and (mine := OPENED.get()) is not None and isinstance(args[0], socket.socket):
        mine.add(args[0])


sys.addaudithook(count_socket)
