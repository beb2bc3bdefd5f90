"""The life of a campaign and of an experiment, as durable workflows.

Keep them thin: what is recorded here is replayed after a crash, so a change of the order
of steps breaks campaigns that are under way. What is decided, and how, is in `bench`.
"""

from __future__ import annotations

from campaigns.bench import Bench
from campaigns.engine import EngineError, Json, Steps, Workflow
from instruments.crashpoint import crashpoint

EPOCH = 100  #: experiments planned by one workflow before a fresh one takes over, so that replay stays short


async def run_campaign(steps: Steps, bench: Bench, campaign_id: str, flying: list[str]) -> str:
    """Propose, make and measure, ask whether to stop. `flying` are experiments under way."""
    planned = 0
    while True:
        choice = await steps.run("propose", bench.propose, campaign_id, flying)
        for workflow, jobs in choice.get("adopted", []):
            await steps.begin("experiment", workflow, workflow.split("~")[0], jobs)
            flying = [*flying, workflow]
        crashpoint("proposal recorded")
        if choice["proposals"]:
            new = await steps.record("plan", bench.plan, campaign_id, choice["proposals"])
            crashpoint("plan recorded")
            for experiment in new:
                await steps.begin("experiment", experiment["id"], experiment["id"], experiment["jobs"])
                crashpoint("experiment begun")
            flying = [*flying, *(experiment["id"] for experiment in new)]
            planned += len(new)
            if not new and not flying:
                continue  # the shelf was emptied by others: ask again, and end with the reason
        if not flying and "needs" in choice and await steps.run("wait", bench.wait, campaign_id, choice["needs"]):
            continue
        if not flying:
            state = await steps.record("close", bench.close, campaign_id, choice["end"], choice["reason"])
            crashpoint("close recorded")
            return str(state)
        if planned >= EPOCH:
            segment = await steps.record("segment", bench.next_segment, campaign_id)
            crashpoint("segment recorded")
            await steps.begin("campaign", segment, campaign_id, flying)
            crashpoint("segment begun")
            return f"goes on as {segment}"
        ended = await steps.first(flying)
        flying = [id for id in flying if id != ended]


async def run_experiment(steps: Steps, bench: Bench, experiment_id: str, jobs: list[str]) -> str:
    """Carry one candidate through its jobs. Where labctl itself fails, its sample waits for a person; others go on."""
    try:
        return await run_jobs(steps, bench, jobs)
    except EngineError as error:
        answer = await steps.record("break down", bench.break_down, experiment_id, str(error))
        await steps.run("give back", bench.give_back, experiment_id, answer)
        return str(answer["verdict"])


async def run_jobs(steps: Steps, bench: Bench, jobs: list[str]) -> str:
    """One job after the other; a step that may safely be repeated comes as a new job."""
    for job in jobs:
        answer = await run_job(steps, bench, job)
        while answer["verdict"] == "again":
            answer = await run_job(steps, bench, answer["job"])
        crashpoint("job recorded")
        if answer["verdict"] != "done":
            return str(answer["verdict"])
    return "done"


async def run_job(steps: Steps, bench: Bench, job: str) -> Json:
    """Have one job done, here or by the host that has the cable; which of the two is in the record of the first step."""
    answer = await steps.run(job, bench.perform, job)
    if answer["verdict"] == "elsewhere":
        answer = await steps.ask(answer["host"], "job", job, job, answer["instrument"], answer["fence"])
        await steps.run(f"{job} back", bench.give_back, job, answer)
    return answer


def workflows(bench: Bench) -> dict[str, Workflow]:
    """The workflows by the names under which they are on record."""

    async def campaign(steps: Steps, campaign_id: str, flying: list[str]) -> Json:
        return await run_campaign(steps, bench, campaign_id, flying)

    async def experiment(steps: Steps, experiment_id: str, jobs: list[str]) -> Json:
        return await run_experiment(steps, bench, experiment_id, jobs)

    async def job(_: Steps, job_id: str, instrument: str, fence: int) -> Json:
        return await bench.carry_out(job_id, instrument, fence)

    return {"campaign": campaign, "experiment": experiment, "job": job}
