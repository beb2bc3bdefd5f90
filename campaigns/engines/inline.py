"""The engine of tests and forecasts: everything in one event loop, the record in memory.

It keeps the promises of the durable engine against a crash of the code (an exception that
passes through, a loop that is thrown away): open a new engine over the same `Record` and
the workflows go on. It does not survive the death of its process.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field

from campaigns.engine import Act, Ended, EngineError, Json, Workflows, Write
from materials_db.store import MaterialsStore


@dataclass
class Record:
    """What the engine remembers: the answer of every step, and every workflow begun."""

    answers: dict[tuple[str, int], tuple[str, Ended]] = field(default_factory=dict)
    begun: dict[str, tuple[str, list[Json]]] = field(default_factory=dict)
    ended: dict[str, Ended] = field(default_factory=dict)


class InlineEngine:
    """See module."""

    def __init__(self, workflows: Workflows, store: MaterialsStore, record: Record | None = None) -> None:
        self.workflows = workflows
        self.store = store
        self.memory = record if record is not None else Record()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._change = asyncio.Event()
        self.trouble: Exception | None = None  # memory has none

    async def open(self) -> None:
        for id in [i for i in self.memory.begun if i not in self.memory.ended]:
            self._start(id)

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def submit(self, workflow: str, id: str, *args: Json) -> None:
        if id not in self.memory.begun:
            self.memory.begun[id] = (workflow, list(plain(args)))
            self._start(id)

    async def ended(self, id: str) -> Ended | None:
        return self.memory.ended.get(id)

    async def take_over(self) -> None:
        """There is no other worker."""

    async def find_lost(self) -> bool:
        """Nothing is lost in memory."""
        return False

    async def under_way(self, prefix: str) -> list[str]:
        return [i for i in self.memory.begun if i.startswith(prefix) and i not in self.memory.ended]

    async def first(self, ids: Sequence[str]) -> str:
        """Wait for one of these to end."""
        while not (ended := [i for i in ids if i in self.memory.ended]):
            change = self._change
            await change.wait()
        return ended[0]

    def _start(self, id: str) -> None:
        self._tasks[id] = asyncio.get_running_loop().create_task(self._live(id), name=id)

    async def _live(self, id: str) -> None:
        workflow, args = self.memory.begun[id]
        self.memory.ended[id] = await outcome(self.workflows[workflow](InlineSteps(self, id), *args))
        self._tasks.pop(id, None)
        self._change.set()
        self._change = asyncio.Event()


class InlineSteps:
    """The steps of one workflow, numbered in the order in which it asks for them."""

    def __init__(self, engine: InlineEngine, id: str) -> None:
        self.engine = engine
        self.id = id
        self._number = 0

    def _recorded(self, name: str) -> tuple[tuple[str, int], tuple[str, Ended] | None]:
        self._number += 1
        key = (self.id, self._number)
        known = self.engine.memory.answers.get(key)
        if known is not None and known[0] != name:
            raise EngineError(f"step {self._number} of {self.id} is {name!r}, but {known[0]!r} is on record")
        return key, known

    async def run(self, name: str, act: Act, *args: Json) -> Json:
        key, known = self._recorded(name)
        if known is None:
            known = self.engine.memory.answers[key] = (name, await outcome(act(*args)))
        return answer_of(known[1])

    async def record(self, name: str, write: Write, *args: Json) -> Json:
        key, known = self._recorded(name)
        if known is None:
            known = self.engine.memory.answers[key] = (name, await outcome(self._within(write, args)))
        return answer_of(known[1])

    async def _within(self, write: Write, args: Sequence[Json]) -> Json:
        with self.engine.store.transaction() as transaction:
            return write(transaction, *args)

    async def begin(self, workflow: str, id: str, *args: Json) -> None:
        await self.engine.submit(workflow, id, *args)

    async def ask(self, host: str, workflow: str, id: str, *args: Json) -> Json:
        key, known = self._recorded(f"ask {host}")
        if known is None:
            await self.engine.submit(workflow, id, *args)
            await self.engine.first([id])
            known = self.engine.memory.answers[key] = (f"ask {host}", self.engine.memory.ended[id])
        return answer_of(known[1])

    async def first(self, ids: Sequence[str]) -> str:
        key, known = self._recorded("first")
        if known is None:
            known = self.engine.memory.answers[key] = ("first", await outcome(self.engine.first(ids)))
        return str(answer_of(known[1]))


async def outcome(work: Awaitable[Json]) -> Ended:
    """How a step or a workflow ended."""
    try:
        return Ended(answer=plain(await work))
    except EngineError as error:
        return Ended(error=str(error))
    except Exception as surprise:  # noqa: BLE001 - the engine's edge: an error ends it, as it does on DBOS
        return Ended(error=f"{type(surprise).__name__}: {surprise}")


def answer_of(ended: Ended) -> Json:
    """The answer; raises EngineError where there is none."""
    if ended.error is not None:
        raise EngineError(ended.error)
    return ended.answer


def plain(value: Json) -> Json:
    """The value as it comes back from a durable record: through JSON, or a TypeError."""
    return json.loads(json.dumps(value, allow_nan=False))
