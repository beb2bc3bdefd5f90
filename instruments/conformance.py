"""The promises that every instrument keeps, as one suite: for ours, for simulated ones, for third parties'.

It runs real jobs. `make` gives a fresh host over the same journal and the same device each
time it is called, as a restart would.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from instruments.contract import Capability, Found, JobRequest, JobResult, JobState, Reading, Salvages, SampleAt
from instruments.host import Host
from instruments.limits import bounded


@dataclass(frozen=True)
class Promise:
    """One promise, and whether it was kept."""

    name: str
    kept: bool
    detail: str = ""


@dataclass
class Judge:
    """Collects promises."""

    promises: list[Promise] = field(default_factory=list)

    def expect(self, name: str, kept: bool, detail: str = "") -> None:
        """Note one promise."""
        self.promises.append(Promise(name, kept, "" if kept else detail))


async def check(
    make: Callable[[], Host], *, others: Callable[[str], Awaitable[None]] | None = None, tag: str = "conformance"
) -> list[Promise]:
    """Hold an instrument to its promises.

    Parameters
    ----------
    make
        A host over the instrument; every call is a restart of the host.
    others
        Brings a sample of that id to where the instrument can work on it; asked for each sample of a tray.
    tag
        Begins the ids of the jobs and samples that the suite uses.
    """
    judge, host = Judge(), make()
    try:
        await describe(judge, host)
        request = type(host.driver).example_request(f"{tag}/1", f"{tag}-1")
        await refusals(judge, host, request)
        if others is not None:
            await others(request.samples[0].sample_id)
        host = await job(judge, host, make, request)
        if isinstance(host.driver, Salvages):
            await broken_off(judge, host, request, tag, others)
        if capability_of(host, request).batch[1] > 1:
            host = await tray(judge, host, make, request, tag, others)
    finally:
        await host.close()
    return judge.promises


async def describe(judge: Judge, host: Host) -> None:
    """It says who it is and what it can do within which limits."""
    health = await host.health()
    judge.expect("says who it is", bool(health.identity), health.message or "no identity")
    judge.expect("offers something", bool(host.describe()), "no capability")
    for capability in host.describe():
        schema = capability.params_model.model_json_schema()["properties"]
        bare = [name for name in bounded(capability.params_model) if "unit" not in schema[name]]
        judge.expect(f"{capability.name}: every limit has a unit", not bare, f"without: {', '.join(bare)}")
        closed = capability.params_model.model_config.get("extra") == "forbid"
        judge.expect(f"{capability.name}: refuses unknown parameters", closed, "extra parameters are let through")


async def refusals(judge: Judge, host: Host, request: JobRequest) -> None:
    """What must be turned down before anything reaches the wire."""
    unknown = await host.status("never heard of")
    judge.expect("does not know what it was never told", unknown.state is JobState.NEVER_SEEN, unknown.state)
    extra = request.model_copy(update={"job_id": f"{request.job_id} extra", "params": {**request.params, "no_such": 1}})
    judge.expect("refuses an unknown parameter", await refuses(host, extra), "it was accepted")
    capability = capability_of(host, request)
    for name, (low, high) in bounded(capability.params_model).items():
        for value in (low - abs(low) - 1, high + abs(high) + 1, float("nan")):
            bad = request.model_copy(
                update={"job_id": f"{request.job_id} {name} {value}", "params": {**request.params, name: value}}
            )
            judge.expect(f"refuses {name} = {value:g}", await refuses(host, bad), "it was accepted")


async def refuses(host: Host, request: JobRequest) -> bool:
    """Whether the job was turned down with nothing begun."""
    return (await host.submit(request)).state is JobState.REJECTED and request.job_id not in await host.list_open()


async def job(judge: Judge, host: Host, make: Callable[[], Host], request: JobRequest) -> Host:
    """One job from submit to release, through a restart of the host."""
    mark = await host.driver.mark()
    first = await host.submit(request)
    again = await host.submit(request)
    judge.expect("takes a job", first.state in (JobState.RUNNING, JobState.DONE), f"{first.state}: {first.message}")
    judge.expect("the same job again is the same run", again.run_id == first.run_id, f"{first.run_id}, {again.run_id}")
    other = request.model_copy(update={"capability": f"{request.capability} "})
    clash = await host.submit(other)
    judge.expect("refuses the same id with other content", clash.state is JobState.REJECTED, clash.state)
    await host.close()
    host = make()
    after = await host.status(request.job_id)
    judge.expect(
        "remembers the job after a restart", after.run_id == first.run_id, f"{after.state}, run {after.run_id}"
    )
    status, result = await host.perform(request)
    judge.expect("finishes the job", status.state is JobState.DONE, f"{status.state}: {status.message}")
    judge.expect("began it once", await host.driver.mark() != mark and after.run_id == status.run_id, "another run")
    if result is None:
        return host
    told(judge, host, request, result)
    judge.expect("gives the result again", await host.result(request.job_id) == result, "another result")
    judge.expect("lists the job until it is released", request.job_id in await host.list_open(), "not listed")
    await host.release(request.job_id)
    judge.expect("forgets what was released", request.job_id not in await host.list_open(), "still listed")
    return host


def told(judge: Judge, host: Host, request: JobRequest, result: JobResult) -> None:
    """What the result says is what was asked for and announced."""
    capability, readings = capability_of(host, request), result.readings
    samples = {s.sample_id for s in request.samples}
    judge.expect(
        "readings are of the sample asked for", {r.sample_id for r in readings} <= samples, "of another sample"
    )
    judge.expect("readings have units", all(r.unit for r in readings), "one has none")
    stray = [r.quantity for r in readings if not r.quantity.startswith(capability.produces)]
    judge.expect("readings are what it says it produces", not stray, f"also {', '.join(stray)}")
    judge.expect("readings are in the units it says", not other_units(capability, readings), "in another unit")


async def broken_off(
    judge: Judge, host: Host, request: JobRequest, tag: str, others: Callable[[str], Awaitable[None]] | None
) -> None:
    """A job that is called off half-way: what it had given by then is handed over, and is no value."""
    sample = SampleAt(sample_id=f"{tag}-b")
    request = request.model_copy(update={"job_id": f"{tag}/broken off", "samples": (sample,)})
    if others is not None:
        await others(sample.sample_id)
    await host.submit(request)
    status = await host.abort(request.job_id, "a test")
    judge.expect("breaks a job off", status.state.final, f"{status.state}: {status.message}")
    if status.state is not JobState.ABORTED or status.run_id is None:
        return  # it had ended by itself
    said = "" if "could not be fetched" not in status.message else status.message
    judge.expect("hands over what an aborted run had given", not said, said)
    first, again = [await host.driver.salvage(request, status.run_id) for _ in range(2)]  # type: ignore[attr-defined]
    judge.expect("hands it over again", first == again, "something else")
    _, result = await host.perform(request)
    judge.expect("draws no value from it", result is None or not result.readings, "it gives readings")


async def tray(
    judge: Judge,
    host: Host,
    make: Callable[[], Host],
    request: JobRequest,
    tag: str,
    others: Callable[[str], Awaitable[None]] | None,
) -> Host:
    """One job on several samples, killed between START and its record: found again, one act, each sample told of."""
    low, high = capability_of(host, request).batch
    samples = tuple(SampleAt(sample_id=f"{tag}-t{i}") for i in range(1, max(low, min(high, 3)) + 1))
    request = request.model_copy(update={"job_id": f"{tag}/tray", "samples": samples})
    crowd = tuple(SampleAt(sample_id=f"{tag}-c{i}") for i in range(high + 1))
    crowded = request.model_copy(update={"job_id": f"{tag}/crowd", "samples": crowd})
    judge.expect("refuses more samples than its tray holds", await refuses(host, crowded), "it was accepted")
    if others is not None:
        for sample in samples:
            await others(sample.sample_id)
    mark = await host.driver.mark()
    host.journal.intent(request, mark, host.clock.now())
    began = await host.driver.start(request, host.params(request))
    await host.close()
    host = make()
    status, result = await host.perform(request)
    judge.expect("finds a tray that was begun", status.run_id == began.run_id, f"{status.state}: {status.message}")
    after = await host.driver.find(request, host.params(request), mark)
    judge.expect("a tray is one act", isinstance(after, Found) and after.run.run_id == began.run_id, str(after))
    if result is None:
        judge.expect("finishes a tray", False, f"{status.state}: {status.message}")
        return host
    told(judge, host, request, result)
    accounted = {r.sample_id for r in result.readings} | set(result.failures)
    judge.expect("tells of each sample of a tray", accounted == {s.sample_id for s in samples}, f"only {accounted}")
    return host


def capability_of(host: Host, request: JobRequest) -> Capability:
    """The capability that a request asks for."""
    return next(c for c in host.describe() if c.name == request.capability)


def other_units(capability: Capability, readings: Sequence[Reading]) -> list[Reading]:
    """Readings in another unit than the capability announces; campaigns trust the announcement."""
    return [r for r in readings for q, unit in capability.units.items() if r.quantity.startswith(q) and r.unit != unit]
