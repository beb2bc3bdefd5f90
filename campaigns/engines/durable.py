"""The engine that survives: DBOS on the lab's own database.

The rules that it keeps are in docs/decisions/0002-engine.md. In short: one live process per
database (the caller holds the lock), a pinned application version so that an upgrade does
not orphan running campaigns, JSON instead of pickle in the record, and app rows and step
records in one commit.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from contextvars import Context
from typing import Any, TypeVar

from dbos import DBOS, Serializer, SetWorkflowID, SQLAlchemyDatasource

from campaigns.engine import Act, Ended, EngineError, Json, Workflows, Write
from campaigns.errors import trouble
from materials_db.looking import is_damage
from materials_db.store import Transaction

T = TypeVar("T")
APP = "labctl"
VERSION = "labctl-workflows-1"  #: raised only when recorded workflows can no longer be replayed
UNENDED = ["PENDING", "ENQUEUED", "DELAYED"]
CONTROL = "control"  #: the queue of campaigns and experiments
CONTROLLED = ["campaign", "experiment"]  #: workflows that any worker may carry on; jobs belong to their host
#: Whoever writes a step asks over a second connection whether the workflow is still its own. Each of the threads, and of those
#: that DBOS has beside them, must find one: else all wait for the lock of the one that does not, until SQLite gives up (30 s).
THREADS, CONNECTIONS = 16, 16 + 8
WARMEST = {"pool_use_lifo": True}  #: the connection that was used last: else the caches of all of them fill
HOST_POLL_S, ALONE_POLL_S = 0.4, 2.0  #: wall seconds between looks at the queue of a host; where no other is to ask
CONTROL_POLLS = 10  #: so many times `poll_s` between looks for campaigns and experiments to begin
ELSEWHERE_S = 1.0  #: wall seconds between looks at workflows that this process does not carry
RECORDED_S = 60.0  #: wall seconds after which the end of a workflow is surely on record


class JsonSerializer(Serializer):
    """JSON only: what is in the database is data, never code.

    Two kinds of error never go on record, so that the next `open` tries the step again: that disk or database
    failed or its file is damaged, and whatever a step under way says once the engine is `closed` and its instruments are let go.
    """

    closed = False
    trouble: Exception | None = None  #: what disk or database said first

    def serialize(self, data: Any) -> str:
        if isinstance(data, BaseException) and self.unrecorded(data):
            raise data
        if isinstance(data, BaseException):
            data = {"error": said(data)}
        return json.dumps(data, allow_nan=False)

    def unrecorded(self, error: BaseException) -> bool:
        """Whether it stays off the record, so that the step is tried again."""
        return self.closed or self._is_trouble(error)

    def _is_trouble(self, error: BaseException) -> bool:
        if isinstance(error, Exception) and (isinstance(error, trouble()) or is_damage(error)):
            self.trouble = self.trouble or error
            return True
        # What it could not write DBOS tries to write once more, as a plain Exception that repeats it.
        repeats = f"{type(self.trouble).__name__}: "
        return self.trouble is not None and type(error) is Exception and str(error).startswith(repeats)

    def deserialize(self, serialized_data: str) -> Any:
        data = json.loads(serialized_data)
        failed = isinstance(data, dict) and data.keys() == {"error"}
        return EngineError(data["error"]) if failed else data

    def name(self) -> str:
        return "labctl_json"


class DurableEngine:
    """Runs workflows on DBOS.

    Parameters
    ----------
    workflows
        By name; the names are in the record, so they never change.
    url
        Database, as SQLAlchemy writes it.
    bind
        Makes a `Transaction` of the SQLAlchemy session that DBOS will commit afterwards.
    executor_id
        Stable name of this worker; at most one live process may use it.
    host
        Where several workers share the database: which of them this is. Jobs that others ask of
        it come on a queue of its own; campaigns and experiments on one of this process, which
        nobody listens to after its death, so that a restart cannot run what another took over.
    alone
        Whether no other host is known that might ask jobs of it.
    poll_s
        Wall seconds between looks at an answer that is about to come; `CONTROL_POLLS` times as many between
        looks for campaigns and experiments to begin.
    """

    def __init__(
        self,
        workflows: Workflows,
        url: str,
        *,
        bind: Callable[[Any], AbstractContextManager[Transaction]],
        executor_id: str = "labctl",
        host: str = "",
        alone: bool = False,
        poll_s: float = 0.05,
    ) -> None:
        self.workflows = workflows
        self.url = url
        self.bind = bind
        self.executor_id = executor_id
        self.host = host
        self.control = f"{CONTROL}.{host}.{uuid.uuid4().hex[:8]}" if host else CONTROL
        self.host_poll_s = ALONE_POLL_S if alone else HOST_POLL_S
        self.poll_s = poll_s
        self.registered: dict[str, Any] = {}
        self.datasource: Any = None
        self.serializer = JsonSerializer()
        self._carried: Counter[str] = Counter()  #: how often this process carries each workflow
        self._ended: set[str] = set()  #: that this process has just carried to their end
        self._changed = asyncio.Event()  #: set once when either changes, then replaced
        self._missed: set[str] = set()  #: that it should carry by the record, and did not when we last looked

    async def open(self) -> None:
        """Migrate the engine's tables, recover what is pending, begin to work."""
        quiet_logger()
        DBOS.destroy(destroy_registry=True)
        DBOS(
            config={
                "name": APP,
                "system_database_url": self.url,
                "executor_id": self.executor_id,
                "application_version": VERSION,
                "serializer": self.serializer,
                "log_level": "CRITICAL",
                "notification_listener_polling_interval_sec": 0.2,
                "max_executor_threads": THREADS,
                "sys_db_pool_size": CONNECTIONS,
                "db_engine_kwargs": WARMEST,
            }
        )
        for name, workflow in self.workflows.items():
            self.registered[name] = self._register(name, workflow)
        self.datasource = SQLAlchemyDatasource.create(self.url, engine_kwargs=WARMEST, serializer=self.serializer)
        DBOS.listen_queues([self.control, host_queue(self.host)] if self.host else [self.control])
        DBOS.launch()
        await DBOS.register_queue_async(self.control, polling_interval_sec=CONTROL_POLLS * self.poll_s)
        if self.host:
            await self._renew_queues()

    async def _renew_queues(self) -> None:
        """Our host's queue, and away with those of our processes that have died."""
        await DBOS.register_queue_async(host_queue(self.host), polling_interval_sec=self.host_poll_s)
        for queue in await DBOS.list_queues_async():
            if queue.name.startswith(f"{CONTROL}.{self.host}.") and queue.name != self.control:
                await DBOS.delete_queue_async(queue.name)

    async def take_over(self) -> None:
        alive = await DBOS.list_workflows_async(name=CONTROLLED, status=UNENDED, load_input=False)
        for status in alive:
            if status.queue_name != self.control:
                await DBOS.resume_workflow_async(status.workflow_id, queue_name=self.control)

    async def find_lost(self) -> bool:
        mine = await DBOS.list_workflows_async(status=["PENDING"], executor_id=self.executor_id, load_input=False)
        missing = {status.workflow_id: status.queue_name for status in mine if status.workflow_id not in self._carried}
        for id in missing.keys() & self._missed:  # missed twice: no longer on its way into this process
            await DBOS.resume_workflow_async(id, queue_name=missing[id])
        self._missed = set(missing)
        return bool(missing)

    def _register(self, name: str, workflow: Any) -> Any:
        async def run(*args: Json) -> Json:
            id = str(DBOS.workflow_id)
            self._carried[id] += 1  # more than once for a moment, where an earlier try has not noticed yet
            self._tell()
            try:
                return await workflow(DurableSteps(self), *args)
            finally:
                self._carried[id] -= 1
                self._carried += Counter()  # forget those at none
                self._ended.add(id)
                asyncio.get_running_loop().call_later(RECORDED_S, self._ended.discard, id)
                self._tell()

        run.__name__ = run.__qualname__ = name
        return DBOS.workflow(name=name, max_recovery_attempts=None)(run)

    def _tell(self) -> None:
        """Wake whoever waits for an end."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def any_ends(self, ids: Sequence[str]) -> None:
        """Return when one of them has ended, or is about to be on record as ended.

        Of those that this process carries it hears by itself: a thousand that wait cost nothing.
        """
        while not self._ended.intersection(ids):
            changed = self._changed
            elsewhere = [id for id in ids if id not in self._carried]
            if elsewhere and await self._any_ended(elsewhere):
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), ELSEWHERE_S)

    async def _any_ended(self, ids: list[str]) -> bool:
        """What the record says; asked outside the workflow, whose own record would otherwise tell of the question."""
        look = DBOS.list_workflows_async(workflow_ids=ids, load_input=False, load_output=False)
        found = await asyncio.get_running_loop().create_task(look, context=Context())
        return any(status.status not in UNENDED for status in found)

    async def close(self) -> None:
        """Stop now; DBOS leaves what runs PENDING, and the next `open` recovers it."""
        loop = asyncio.get_running_loop()
        self.serializer.closed = True
        await asyncio.to_thread(DBOS.destroy)
        if self.datasource is not None:  # None where `open` itself failed
            self.datasource.engine.dispose()
        # DBOS lends its own pool to the loop and shuts it down with itself.
        loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="labctl"))

    @property
    def trouble(self) -> Exception | None:
        """What disk or database said when a step could not go on."""
        return self.serializer.trouble

    async def or_wait(self, work: Awaitable[T]) -> T:
        """Its answer. Where disk or database fail there is none: the workflow rests, and the next `open` tries again.

        Raises
        ------
        EngineError
            It failed in a way that nobody expected.
        """
        try:
            return await work
        except Exception as error:
            if not self.serializer.unrecorded(error):
                raise EngineError(said(error)) from error
        answer: T = await asyncio.get_running_loop().create_future()
        return answer

    async def submit(self, workflow: str, id: str, *args: Json) -> None:
        with SetWorkflowID(id):
            await DBOS.enqueue_workflow_async(self.control, self.registered[workflow], *args)

    async def ended(self, id: str) -> Ended | None:
        status = await DBOS.get_workflow_status_async(id)
        if status is None or status.status in UNENDED:
            return None
        if status.status == "SUCCESS":
            return Ended(answer=status.output)
        return Ended(error=str(status.error or status.status))

    async def under_way(self, prefix: str) -> list[str]:
        if here := [id for id in self._carried if id.startswith(prefix)]:
            return here
        alive = await DBOS.list_workflows_async(workflow_id_prefix=prefix, status=UNENDED, load_input=False)
        return [status.workflow_id for status in alive]


class DurableSteps:
    """The steps of the workflow that is running in this context."""

    def __init__(self, engine: DurableEngine) -> None:
        self.engine = engine

    async def run(self, name: str, act: Act, *args: Json) -> Json:
        async def perform() -> Json:  # DBOS spells out each step that a stop cancels: of a method its whole object
            return await act(*args)

        return await self.engine.or_wait(DBOS.run_step_async({"name": name}, perform))

    async def record(self, name: str, write: Write, *args: Json) -> Json:
        datasource = self.engine.datasource
        bind = self.engine.bind

        def commit() -> Json:
            with bind(datasource.sql_session()) as tx:
                return write(tx, *args)

        return await self.engine.or_wait(asyncio.to_thread(datasource.run_tx_step, {"name": name}, commit))

    async def begin(self, workflow: str, id: str, *args: Json) -> None:
        await self.engine.or_wait(self.engine.submit(workflow, id, *args))

    async def ask(self, host: str, workflow: str, id: str, *args: Json) -> Json:
        return await self.engine.or_wait(self._ask(host, workflow, id, args))

    async def _ask(self, host: str, workflow: str, id: str, args: Sequence[Json]) -> Json:
        with SetWorkflowID(id):
            handle = await DBOS.enqueue_workflow_async(host_queue(host), self.engine.registered[workflow], *args)
        return await handle.get_result(polling_interval_sec=self.engine.poll_s)

    async def first(self, ids: Sequence[str]) -> str:
        return await self.engine.or_wait(self._first(ids))

    async def _first(self, ids: Sequence[str]) -> str:
        await self.engine.any_ends(ids)
        handles: list[Any] = [await DBOS.retrieve_workflow_async(i, existing_workflow=False) for i in ids]
        handle = await DBOS.wait_first_async(handles, polling_interval_sec=self.engine.poll_s)
        return str(handle.workflow_id)


def said(error: BaseException) -> str:
    """An error in words; its kind matters where it is not ours."""
    return str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"


def host_queue(host: str) -> str:
    """The queue that only the worker of that host listens to."""
    return f"host.{host}"


def quiet_logger() -> None:
    """Send what DBOS logs to our log alone; without a handler of ours it writes to stderr."""
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.propagate = False


__all__ = ["DurableEngine", "EngineError", "JsonSerializer"]
