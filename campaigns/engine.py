"""The seam to durable execution: the same step gives the same answer, also after a crash.

A workflow is a plain async function whose first argument is `Steps`. Everything that it
does to the world goes through them, in an order that depends only on their answers: after
a crash the function is called again, recorded steps answer from the record, and it goes on
where it stood. A step whose answer was not yet recorded is tried again, so every act must
be harmless to repeat; for matter, `instruments.host` sees to that.

Two engines pass one suite: `campaigns.engines.inline` for tests and forecasts, and
`campaigns.engines.durable` on a database.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Json = Any  #: dict, list, str, int, float, bool or None, all the way down
Act = Callable[..., Awaitable[Json]]
Write = Callable[..., Json]  #: first argument is the `Transaction`
Workflow = Callable[..., Awaitable[Json]]  #: first argument is the `Steps`


@dataclass(frozen=True)
class Ended:
    """How a workflow ended: with an answer, or with an error that nobody expected."""

    answer: Json = None
    error: str | None = None


class EngineError(Exception):
    """A step, or a workflow that was asked for, failed in a way that nobody expected; or the record does not fit the code."""


class Steps(Protocol):
    """What a workflow may do."""

    async def run(self, name: str, act: Act, *args: Json) -> Json:
        """Call `act(*args)` once and record its answer, or the EngineError it fails with. Repeated if the crash came first."""

    async def record(self, name: str, write: Write, *args: Json) -> Json:
        """Call `write(transaction, *args)`; its rows and the step's record commit together."""

    async def begin(self, workflow: str, id: str, *args: Json) -> None:
        """Start another workflow that lives on its own. The same id starts only once."""

    async def ask(self, host: str, workflow: str, id: str, *args: Json) -> Json:
        """Have that host run a workflow, and wait for its answer. The same id runs only once, and only there."""

    async def first(self, ids: Sequence[str]) -> str:
        """Wait until one of these workflows has ended; its id."""


class Engine(Protocol):
    """Runs workflows."""

    @property
    def trouble(self) -> Exception | None:
        """What disk or database said when a step could not go on; then `close`, and `open` another."""

    async def open(self) -> None:
        """Begin to work, first with what an earlier process left unfinished."""

    async def close(self) -> None:
        """Stop at once. What was under way goes on at the next `open`."""

    async def submit(self, workflow: str, id: str, *args: Json) -> None:
        """Start a workflow. The same id starts only once."""

    async def ended(self, id: str) -> Ended | None:
        """How that workflow ended; None while it has not, or was never begun."""

    async def take_over(self) -> None:
        """Carry on the campaigns and experiments of workers that are proven to be dead."""

    async def find_lost(self) -> bool:
        """Begin again what this process has claimed and does not carry: the answer was lost with a connection.

        Called every few seconds; takes up only what was missing the last time as well. Whether something is missing.
        """

    async def under_way(self, prefix: str) -> list[str]:
        """Ids that begin so, of workflows that were begun and have not ended."""


Workflows = Mapping[str, Workflow]
