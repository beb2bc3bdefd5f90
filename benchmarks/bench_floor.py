"""How busy the bottleneck is when campaigns share a floor with trays: production code under a virtual clock.

Method: the alloy lab (doser, melter, two tray furnaces, a bench, two testers; no faults) with 1, 4 and
16 campaigns of 24 experiments at once, random search, 16 in flight each. Lower bound of the makespan, of
each kind of machine: the shortest way of any sample to it, the work of all samples on it (equivalent
machines taken together, trays counted once), the shortest way from it to the end; the largest of these.
"share" is bound over makespan; "busy" is the bottleneck's own, from its first job to its last. The serial
loop makes one experiment after the other, each alone on its tray, with the same durations.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from campaigns.bench import segment_id
from campaigns.engines.inline import InlineEngine
from campaigns.loop import workflows
from campaigns.optimizers.on_trays import OnTrays
from campaigns.optimizers.random_search import RandomSearch
from materials_db import records as db
from tests.virtual_lab import VirtualLab, campaign, live

FILE = "alloy/campaigns/hardness.toml"
EXPERIMENTS, IN_FLIGHT = 24, 16


async def carried_out(campaigns: int, **optimizer: Any) -> VirtualLab:
    """So many campaigns at once, to their ends."""
    lab = VirtualLab(kind="alloy", optimizer=lambda plan: OnTrays(RandomSearch(), plan.shared))
    lab.look_s = 600.0
    bench = await lab.bench()
    engine = InlineEngine(workflows(bench), lab.store, lab.record)
    await engine.open()
    for seed in range(campaigns):
        spec = campaign(FILE, budget={"experiments": EXPERIMENTS}, optimizer=optimizer, campaign={"seed": seed})
        id = lab.launch(spec)
        with lab.store.transaction() as tx:
            segment = segment_id(tx, id)
        await engine.submit("campaign", segment, id, [])
    while await engine.under_way(""):
        await lab.clock.sleep(600)
    await engine.close()
    return lab


def figures(lab: VirtualLab) -> tuple[float, float, float, str, float]:
    """Makespan, its lower bound, the bottleneck's busy share from its first job to its last, its name, the serial loop."""
    acts: dict[str, tuple[str, float, float]] = {}  #: act -> driver, begin, end
    ways: dict[str, list[tuple[str, float]]] = defaultdict(list)  #: experiment -> driver and duration of each step
    serial = 0.0
    with lab.store.transaction() as tx:
        for job in tx.find(db.Job, order="run"):
            if job.started_at and job.ended_at:
                begin, end = job.started_at.timestamp(), job.ended_at.timestamp()
                acts[job.tray or job.id] = (tx.get(db.Instrument, str(job.instrument_id)).driver, begin, end)
                ways[job.experiment_id].append((acts[job.tray or job.id][0], end - begin))
                serial += end - begin
    busy: dict[str, float] = defaultdict(float)
    for driver, begin, end in acts.values():
        busy[driver] += end - begin
    machines = [section.driver for section in lab.file.instruments.values()]
    bounds = {d: s / machines.count(d) + shortest(ways, d) for d, s in busy.items()}
    bottleneck = max(bounds, key=lambda d: bounds[d])
    makespan = max(end for *_, end in acts.values()) - min(begin for _, begin, _ in acts.values())
    own = [(begin, end) for driver, begin, end in acts.values() if driver == bottleneck]
    span = (max(end for _, end in own) - min(begin for begin, _ in own)) * machines.count(bottleneck)
    lab.close()
    return makespan / 3600, bounds[bottleneck] / 3600, busy[bottleneck] / span, bottleneck, serial / 3600


def shortest(ways: dict[str, list[tuple[str, float]]], driver: str) -> float:
    """Seconds that the first sample needs before a machine, and the last after it, at least."""
    whole = [way for way in ways.values() if any(d == driver for d, _ in way)]
    places = [[i for i, (d, _) in enumerate(way) if d == driver] for way in whole]
    before = min(sum(s for _, s in way[: at[0]]) for way, at in zip(whole, places, strict=True))
    after = min(sum(s for _, s in way[at[-1] + 1 :]) for way, at in zip(whole, places, strict=True))
    return before + after


def main() -> None:
    """Print the table."""
    print(
        f"{'campaigns':>9} {'makespan h':>10} {'bound h':>8} {'share':>6} {'busy':>6}  {'bottleneck':<14} {'serial loop h':>13}"
    )
    for campaigns in (1, 4, 16):
        makespan, bound, busy, name, serial = figures(live(carried_out(campaigns, name="random", in_flight=IN_FLIGHT)))
        print(
            f"{campaigns:>9} {makespan:>10.1f} {bound:>8.1f} {bound / makespan:>6.1%} {busy:>6.1%}  {name:<14} {serial:>13.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
