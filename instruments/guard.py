"""A driver that can neither hang nor break its host: what it does wrong becomes a fault of its own instrument.

It runs in the host's event loop, so a driver that blocks without awaiting still blocks its
host: such libraries belong into a thread (`asyncio.to_thread`).
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from instruments.contract import Fault
from instruments.errors import InstrumentError, TransportError

LONGEST_S = 120.0  #: seconds for one call of a driver; runs go on at the device, calls are short


class DriverBroken(TransportError):
    """The driver itself failed: it did not come back, or raised what no driver should."""

    fault = Fault.UNKNOWN


class Guard:
    """The same methods as the driver's; see module."""

    def __init__(self, driver: Any, longest_s: float = LONGEST_S) -> None:
        self._driver, self._longest_s = driver, longest_s

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._driver, name)
        return self._guarded(name, member) if inspect.iscoroutinefunction(member) else member

    def _guarded(self, name: str, method: Any) -> Any:
        async def call(*args: Any) -> Any:
            try:
                async with asyncio.timeout(self._longest_s):
                    return await method(*args)
            except TimeoutError:
                raise DriverBroken(f"the driver did not come back from {name} within {self._longest_s:g} s") from None
            except (InstrumentError, ValueError):
                raise
            except (Exception, SystemExit) as error:
                raise DriverBroken(f"the driver broke in {name}: {type(error).__name__}: {error}") from error

        return call
