"""A bench where a person works: jobs are prompts, results are what the person says.

What the person did is known only from the answer, so a question is put up once per job and
stays until it is answered; a restart of labctl finds it where it was.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from typing import Any

from instruments.clock import Clock
from instruments.contract import (
    Capability,
    Fault,
    Found,
    InstrumentConfig,
    JobRequest,
    JobResult,
    Mode,
    NotStarted,
    Params,
    RawFile,
    Reading,
    Run,
    RunState,
    SampleAt,
    SampleFailure,
    Unknowable,
    quantity,
)
from instruments.errors import UnknownDriver
from instruments.limits import narrowed
from instruments.people import Answer, Board, Entry, Question

WAITS = "waiting for a person: labctl task list"
TOGETHER = 16  #: most samples of one prompt
MEDIAN_S, SPREAD = 600.0, 0.5  #: a simulated technician: lognormal, median ten minutes


class Polish(Params):
    """Parameters of ``polish``."""

    finish_um: float = quantity("um", 0.02, 30, key="finish", default=1.0)  #: grain of the last cloth
    load_n: float = quantity("N", 1, 100, key="load", default=20.0)


class BenchStep(Params):
    """Parameters of ``bench_step``: anything that a person can be asked to do."""

    instruction: str
    time_s: float = quantity("s", 1, 7 * 86400, key="time", default=600.0)  #: about how long it takes
    read: str = ""  #: a quantity to be read off and typed in
    unit: str = "1"
    low: float = -1e12
    high: float = 1e12


class Ship(Params):
    """Parameters of ``ship``."""

    site: str  #: where the sample goes
    time_s: float = quantity("s", 1, 60 * 86400, key="time", default=86400.0)  #: about how long it is under way


class Human:
    """See module.

    Parameters
    ----------
    simulated_person
        Answer every question after some minutes of lab time, as a technician would.
    """

    verified_on_hardware = True  # a person needs no protocol

    def __init__(self, name: str, board: Board, clock: Clock, *, simulated_person: bool = False) -> None:
        self.name, self.board, self.clock, self.simulated_person = name, board, clock, simulated_person

    @classmethod
    def capabilities(cls, limits: Mapping[str, Any]) -> list[Capability]:
        """What a person at a bench can be asked for."""
        manners: dict[str, Any] = {"recover": "query_by_job_id", "abort": "immediate"}
        return narrowed(
            [
                Capability(
                    name="polish",
                    params_model=Polish,
                    batch=(1, TOGETHER),
                    summary="grind and polish by hand to a mirror",
                    typical_s=900.0,
                    **manners,
                ),
                Capability(
                    name="bench_step",
                    params_model=BenchStep,
                    summary="do by hand what the campaign file says",
                    produces=("",),
                    typical_s=600.0,
                    **manners,
                ),
                Capability(
                    name="ship",
                    params_model=Ship,
                    batch=(1, TOGETHER),
                    summary="send the sample to another site, where it arrives before this is answered",
                    typical_s=86400.0,
                    **manners,
                ),
            ],
            limits,
        )

    @classmethod
    def example_request(cls, job_id: str, sample_id: str) -> JobRequest:
        """A small job for the conformance suite."""
        return JobRequest(job_id=job_id, capability="polish", params={}, samples=(SampleAt(sample_id=sample_id),))

    async def identity(self) -> str:
        """Whose bench it is."""
        return f"bench {self.name}" + (", simulated technician" if self.simulated_person else "")

    async def health(self) -> tuple[Mode, str, dict[str, float]]:
        """A person can always be asked."""
        return Mode.READY, "", {}

    async def mark(self) -> str:
        """Nothing to remember: questions are kept by their job."""
        return ""

    async def start(self, request: JobRequest, params: Params) -> Run:
        """Put the question up."""
        await self.board.ask(question(self.name, request, params), self.clock.now())
        return await self.poll(request.job_id)

    async def poll(self, run_id: str) -> Run:
        """Whether there is an answer; a run is called by its job."""
        left_s = await self._pretend(run_id) if self.simulated_person else 0.0
        answer = await self.board.answer(run_id)
        if answer is None and await self.board.withdrawn(run_id):
            return Run(run_id=run_id, state=RunState.ABORTED, message="the question was taken down")
        if answer is None:
            return Run(run_id=run_id, state=RunState.WAITING_HUMAN, message=WAITS, remaining_s=left_s)
        words = f"{answer.by}: {answer.note}" if answer.note else f"by {answer.by}"
        if answer.done:
            return Run(run_id=run_id, state=RunState.DONE, message=words, ended_at=answer.at)
        return Run(run_id=run_id, state=RunState.FAILED, fault=Fault.SAMPLE_LOST, message=words, ended_at=answer.at)

    async def _pretend(self, job_id: str) -> float:
        """The simulated technician has done it, if its time is over; else the lab seconds left."""
        if (asked := await self.board.asked_at(job_id)) is None:
            return 0.0
        takes_s = MEDIAN_S * math.exp(random.Random(f"{self.name}/{job_id}").gauss(0.0, SPREAD))
        left_s = takes_s - (self.clock.now() - asked).total_seconds()
        if left_s <= 0:
            await self.board.reply(job_id, Answer(by="simulated technician", at=self.clock.now(), done=True))
        return left_s

    async def fetch(self, request: JobRequest, params: Params, run_id: str) -> JobResult:
        """What the person typed in, for each sample; and which were lost."""
        answer = await self.board.answer(run_id)
        assert answer is not None
        lost = {
            s: SampleFailure(fault=Fault.SAMPLE_LOST, message=f"{answer.by}: {why}") for s, why in answer.lost.items()
        }
        units = {e.name: e.unit for e in question(self.name, request, params).entries}
        readings = [
            Reading(
                sample_id=s.sample_id, quantity=name, value=value, unit=units[name], method="read off", taken_at=answer.at
            )
            for s in request.samples
            for name, value in answer.values.items()
        ]  # fmt: skip
        raw = json.dumps(answer.model_dump(mode="json"), indent=1).encode()
        return JobResult(
            job_id=request.job_id,
            readings=tuple(readings),
            raw_files=(RawFile(name="answer.json", media_type="application/json", content=raw),),
            failures=lost,
            as_run={"by": answer.by, "note": answer.note, **params.model_dump(mode="json")},
        )

    async def find(self, request: JobRequest, params: Params, mark: str) -> Found | NotStarted | Unknowable:
        """The board knows."""
        asked = await self.board.asked_at(request.job_id)
        return NotStarted() if asked is None else Found(await self.poll(request.job_id))

    async def abort(self, run_id: str) -> None:
        """Take the question down."""
        if run_id:
            await self.board.withdraw(run_id, self.clock.now())

    async def close(self) -> None:
        """Nothing to let go of."""


def question(name: str, request: JobRequest, params: Params) -> Question:
    """The prompt of a job."""
    samples = tuple(s.sample_id for s in request.samples)
    if isinstance(params, Polish):
        title = f"polish {', '.join(samples)} to {params.finish_um:g} um"
        text = (
            f"Grind flat, then polish with {params.load_n:g} N to {params.finish_um:g} um."
            " No scratch may be seen at 100x. Rinse with ethanol, dry, label with the sample's id."
        )
        return Question(job_id=request.job_id, instrument=name, title=title, text=text, samples=samples)
    if isinstance(params, Ship):
        title = f"send {', '.join(samples)} to {params.site}"
        text = f"Pack {', '.join(samples)} and send it to {params.site}. Answer when it has arrived there and the label was read."
        return Question(job_id=request.job_id, instrument=name, title=title, text=text, samples=samples)
    assert isinstance(params, BenchStep)
    entries = (Entry(name=params.read, unit=params.unit, low=params.low, high=params.high),) if params.read else ()
    return Question(
        job_id=request.job_id,
        instrument=name,
        title=f"{params.instruction[:60]} ({', '.join(samples)})",
        text=params.instruction,
        samples=samples,
        entries=entries,
    )


def make(config: InstrumentConfig, board: Board, clock: Clock) -> Human:
    """Entry point ``human``."""
    person = config.options.get("person", "real")
    if person not in ("real", "simulated") or (person == "simulated" and not config.simulated):
        raise UnknownDriver(
            f"{config.instrument_id}: person is 'real', or 'simulated' in a simulated lab; not {person!r}"
        )
    return Human(config.instrument_id, board, clock, simulated_person=person == "simulated")
