"""What is asked of machines beside the work of the floor: one that hangs holds up nobody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)


class Errands:
    """Questions and orders that run on their own, each once at a time, by name."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Future[Any]] = {}

    def begin(self, name: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Do this on its own, unless it is being done."""
        if name in self._running:
            return
        task = self._running[name] = asyncio.ensure_future(work())
        task.add_done_callback(lambda done: self._ended(name, done))

    async def rest(self) -> None:
        """Let go of all that is under way."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _ended(self, name: str, done: asyncio.Future[Any]) -> None:
        del self._running[name]
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("%s: %s", name, error)
