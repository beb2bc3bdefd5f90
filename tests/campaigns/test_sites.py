"""A sample stays at the site that claimed it; what nobody has begun goes where it can be done."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from campaigns.bench import Bench, segment_id
from campaigns.engines.inline import InlineEngine
from campaigns.loop import workflows
from campaigns.toml_file import FileFaults
from campaigns.turns import Turns
from instruments.host import Host
from labctl import wiring
from labctl.campaigning import validate
from labctl.commands.queue import list_ as list_queue
from labctl.display import show_sample, show_trace
from labctl.options import Format
from materials_db import glance, sites, waiting
from materials_db import records as db
from materials_db.sql.store import SqlStore
from materials_db.trace import trace
from tests import records
from tests.campaigns.test_people import say, steps_with, with_bench
from tests.virtual_lab import TEMPLATE, VirtualLab, campaign, live

LABS: list[VirtualLab] = []
TWINS = {"doser-2": "doser-1", "thermostat-2": "thermostat-1", "analyser-2": "analyser-1"}


@pytest.fixture(autouse=True)
def _close_labs() -> Iterator[None]:
    yield
    while LABS:
        LABS.pop().close()


def two_sites(**more: str) -> VirtualLab:
    LABS.append(VirtualLab(twins={**TWINS, **more}))
    LABS[-1].site_of = {name: "bench-B" if name.endswith("2") else "bench-A" for name in LABS[-1].file.instruments}
    return LABS[-1]


async def run(lab: VirtualLab, each_look: Any = lambda: None, **changes: Any) -> str:
    bench = await lab.bench()
    engine = InlineEngine(workflows(bench), lab.store, lab.record)
    await engine.open()
    id = lab.launch(campaign(**{"optimizer": {"name": "random", "in_flight": 4}, **changes}))
    with lab.store.transaction() as tx:
        segment = segment_id(tx, id)
    await engine.submit("campaign", segment, id, [])
    while await engine.under_way(""):
        await bench.look()
        each_look()
        await lab.clock.sleep(300)
    await engine.close()
    errors = [ended.error for ended in lab.record.ended.values() if ended.error]
    assert not errors, errors
    return id


def places(lab: VirtualLab) -> dict[str, list[str]]:
    """Sites at which each experiment's steps were done, in order."""
    found: dict[str, list[str]] = {}
    with lab.store.transaction() as tx:
        for job in tx.find(db.Job, state="done", order="ended_at"):
            name = tx.get(db.Instrument, str(job.instrument_id)).name
            found.setdefault(job.experiment_id, []).append(lab.site_of[name])
    return found


def hold(lab: VirtualLab, *names: str) -> None:
    """Somebody takes these instruments out."""
    at = lab.clock.now()
    with lab.store.transaction() as tx:
        for name in names:
            id = f"H-{tx.next_number('H'):04d}"
            tx.add(
                db.Hold(id=id, instrument=name, mode="hold", reason="power cut", placed_by="Ada", placed_at=at),
                at=at,
                actor="Ada",
            )


def release(lab: VirtualLab, *names: str) -> None:
    """Somebody gives them back to work."""
    at = lab.clock.now()
    with lab.store.transaction() as tx:
        for held in tx.find(db.Hold, instrument=list(names), state="active"):
            tx.move(db.Hold, held.id, at=at, actor="Ada", state="released", released_by="Ada", released_at=at)


def measured_on(lab: VirtualLab, *, attempt: int) -> list[tuple[str, str]]:
    """Instrument and state of each such try of a measurement."""
    with lab.store.transaction() as tx:
        jobs = tx.find(db.Job, step="measure", attempt=attempt, order="started_at")
        return [(tx.get(db.Instrument, str(j.instrument_id)).name, j.state) for j in jobs]


def test_a_sample_never_changes_its_site() -> None:
    async def work() -> None:
        lab = two_sites()
        await run(lab, budget={"experiments": 16})
        each = [set(sites) for sites in places(lab).values()]
        assert all(len(sites) == 1 for sites in each)
        by = Counter(next(iter(sites)) for sites in each)
        assert min(by["bench-A"], by["bench-B"]) >= 4
        with lab.store.transaction() as tx:
            assert {e.site for e in tx.find(db.Experiment)} == {"bench-A", "bench-B"}

    live(work())


def test_when_a_site_fails_unbegun_experiments_go_to_the_other_and_claimed_ones_wait() -> None:
    async def work() -> None:
        lab = two_sites()
        ended_at_b: list[int] = []

        def control() -> None:
            with lab.store.transaction() as tx:
                done = tx.find(db.Experiment, state="done")
                holds = tx.find(db.Hold, state="active")
                if len(done) == 3 and not tx.find(db.Hold):
                    for i, name in enumerate(["doser-1", "thermostat-1", "analyser-1"]):
                        hold = db.Hold(
                            id=f"H-{i}", instrument=name, mode="hold", reason="power cut", placed_by="Ada", placed_at=lab.clock.now()
                        )  # fmt: skip
                        tx.add(hold, at=lab.clock.now(), actor="Ada")
                if holds and len(done) >= 12:
                    ended_at_b.append(sum(e.site == "bench-B" for e in done))
                    for hold in holds:
                        tx.move(db.Hold, hold.id, at=lab.clock.now(), actor="Ada", state="released", released_by="Ada")

        await run(lab, control, budget={"experiments": 16})
        assert ended_at_b[0] >= 8
        assert all(len(set(sites)) == 1 for sites in places(lab).values())
        with lab.store.transaction() as tx:
            assert {e.state for e in tx.find(db.Experiment)} <= {"done", "failed"}

    live(work())


def test_a_shipping_step_takes_the_sample_to_the_other_site() -> None:
    async def work() -> None:
        lab = two_sites()
        with_bench(lab)
        lab.site_of |= {"bench-1": "bench-A", "doser-2": "bench-A"}
        ship = {"name": "send", "capability": "ship", "params": {"site": "bench-B"}}

        def arrived() -> None:
            with lab.store.transaction() as tx:
                waiting = tx.find(db.Task, state="open")
            for task in waiting:
                say(lab, task)

        await run(lab, arrived, budget={"experiments": 3}, recipe={"steps": steps_with(ship)})
        assert list(places(lab).values()) == [["bench-A", "bench-A", "bench-B", "bench-B"]] * 3
        await asyncio.sleep(0)

    live(work())


def test_what_drifted_is_measured_again_on_the_other_instrument_of_its_site() -> None:
    async def work() -> None:
        lab = two_sites(**{"analyser-3": "analyser-1"})
        lab.sim.world.once["analyser-1"] = ["drift"]
        await run(lab, budget={"experiments": 6})
        again = measured_on(lab, attempt=2)
        assert again
        assert set(again) == {("analyser-3", "done")}
        assert all(len(set(sites)) == 1 for sites in places(lab).values())

    live(work())


def test_what_drifted_on_the_only_instrument_of_its_site_waits_for_it_and_not_for_the_other_site() -> None:
    async def work() -> None:
        lab = two_sites()
        lab.sim.world.once["analyser-1"] = ["drift"]
        held_at: list[float] = []

        def calibrated_a_day_later() -> None:
            with lab.store.transaction() as tx:
                out = tx.find(db.Hold, state="active")
            held_at.extend([lab.clock.elapsed()] if out and not held_at else [])
            if out and lab.clock.elapsed() > held_at[0] + 86400:
                lab.sim.world.memory.note("gone off analyser-1", "")  # calibrated
                release(lab, "analyser-1")

        await run(lab, calibrated_a_day_later, budget={"experiments": 8})
        assert measured_on(lab, attempt=2) == [("analyser-1", "failed")]
        assert measured_on(lab, attempt=3) == [("analyser-1", "done")]
        assert all(len(set(sites)) == 1 for sites in places(lab).values())

    live(work())


def sites_of_all(lab: VirtualLab) -> set[str | None]:
    with lab.store.transaction() as tx:
        return {e.site for e in tx.find(db.Experiment)}


def test_unbegun_experiments_go_where_nothing_that_they_will_need_is_on_hold() -> None:
    async def work() -> None:
        lab = two_sites()
        hold(lab, "analyser-1")
        await run(lab, budget={"experiments": 6})
        assert sites_of_all(lab) == {"bench-B"}

    live(work())


def test_where_every_site_lacks_something_an_experiment_begins_at_any() -> None:
    steps = [{"name": "mix", "instruments": ["d-1", "d-2"]}, {"name": "measure", "instruments": ["a-1", "a-2"]}]
    site_of = {"d-1": "A", "d-2": "B", "a-1": "A", "a-2": "B"}
    assert sites.preferred(["d-1", "d-2"], steps, site_of, {}) == ["d-1", "d-2"]
    assert sites.preferred(["d-1", "d-2"], steps, site_of, {"a-1"}) == ["d-2"]
    assert sites.preferred(["d-1", "d-2"], steps, site_of, {"a-1", "a-2"}) == ["d-1", "d-2"]


def test_a_hold_that_comes_and_goes_while_an_experiment_waits_changes_where_it_may_begin() -> None:
    async def work() -> None:
        closed: dict[str, bool] = {}
        turns = Turns({"d-1": "E-1", "d-2": "E-2"})
        waiting = asyncio.ensure_future(turns.take(lambda: ["d-2"] if "a-1" in turns.closed else ["d-1"], "E-3"))
        await asyncio.sleep(0)
        turns.close({"a-1": False})
        turns.release(["d-1"], "E-1")
        await asyncio.sleep(0)
        assert not waiting.done()
        turns.close(closed)
        assert await waiting == "d-1"

    live(work())


def test_a_site_that_breaks_down_while_experiments_wait_for_its_first_instrument_gets_no_more_of_them() -> None:
    async def work() -> None:
        lab = two_sites()
        at_a: list[int] = []  #: experiments that site A has claimed, at every look while its analyser is out

        def control() -> None:
            with lab.store.transaction() as tx:
                done = len(tx.find(db.Experiment, state="done"))
                claimed = len(tx.find(db.Experiment, site="bench-A"))
                out = tx.find(db.Hold, state="active")
            if out:
                at_a.append(claimed)
            if done >= 2 and not at_a and not out:
                hold(lab, "analyser-1")
            if done >= 8:
                release(lab, "analyser-1")

        await run(lab, control, budget={"experiments": 12}, optimizer={"name": "random", "in_flight": 6})
        assert len(at_a) > 10
        assert len(set(at_a)) == 1
        assert sites_of_all(lab) == {"bench-A", "bench-B"}

    live(work())


def polished_first(lab: VirtualLab) -> tuple[VirtualLab, list[dict[str, Any]]]:
    """The lab with a bench at each site, and a recipe that begins with a step there, on trays."""
    for name in ("bench-1", "bench-2"):
        with_bench(lab, "simulated", name)
        lab.site_of[name] = "bench-B" if name.endswith("2") else "bench-A"
    first, by_hand, *rest = steps_with({"name": "polish", "capability": "polish"})
    return lab, [by_hand, first, *rest]


def test_a_tray_begins_where_nothing_that_its_samples_will_need_is_on_hold() -> None:
    async def work() -> None:
        lab, steps = polished_first(two_sites())
        hold(lab, "analyser-1")
        await run(lab, budget={"experiments": 8}, recipe={"steps": steps})
        assert sites_of_all(lab) == {"bench-B"}

    live(work())


def test_the_trace_of_a_sample_tells_the_site_that_claimed_it(capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> None:
        lab = two_sites()
        hold(lab, "analyser-1")
        await run(lab, budget={"experiments": 2})
        with lab.store.transaction() as tx:
            found = trace(tx, tx.find(db.Sample)[0].id)
        assert found.json()["sample"]["site"] == "bench-B"
        show_trace(found)
        assert "6000 mg at bench-B, simulated" in capsys.readouterr().out

    live(work())


def on_file(lab: VirtualLab, folder: Path) -> VirtualLab:
    """The lab with a database that commands can read, and with its sites in the lab file."""
    lab.store = SqlStore.open(f"sqlite:///{folder}/lab.sqlite", folder / "raw")
    (folder / "labctl.toml").write_text('[lab]\ndatabase = "sqlite:///lab.sqlite"\n')
    known = lab.file.instruments
    there = {name: section.model_copy(update={"site": lab.site_of.get(name)}) for name, section in known.items()}
    lab.file = lab.file.model_copy(update={"instruments": there})
    return lab


def test_the_queue_says_what_a_sample_waits_for_at_its_site(tmp_path: Path) -> None:
    async def work() -> None:
        lab = on_file(two_sites(), tmp_path)
        told: dict[str, tuple[str, str, str]] = {}

        def control() -> None:
            for row in waiting.queue(tmp_path / "lab.sqlite", planned=False):
                if row["step"] == "measure" and row["state"] == "queued" and not told:
                    told[row["sample"]] = row["instrument"], row["reason"], row["site"]
            with lab.store.transaction() as tx:
                begun, holds = tx.find(db.Experiment, site="bench-A"), tx.find(db.Hold)
            if begun and not holds:
                hold(lab, "analyser-1")
            if told:
                release(lab, "analyser-1")

        await run(lab, control, budget={"experiments": 4})
        assert set(told.values()) == {("analyser-1", "analyser-1 on hold by Ada: power cut", "bench-A")}
        for sample in told:
            assert glance.sample(tmp_path / "lab.sqlite", sample)["site"] == "bench-A"
        lab.store.close()

    live(work())


@pytest.mark.parametrize("several", [True, False])
def test_the_queue_has_a_column_for_the_site_where_there_are_several(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], several: bool
) -> None:
    async def work() -> None:
        lab = two_sites()
        lab.site_of = lab.site_of if several else {}
        on_file(lab, tmp_path)
        title: list[str] = []

        def first_look() -> None:
            if not title:
                list_queue(lab=tmp_path, output=Format.csv)
                title.extend(capsys.readouterr().out.splitlines())

        await run(lab, first_look, budget={"experiments": 1})
        lab.store.close()
        assert ("site" in title[0].split(",")) == several

    live(work())


def test_the_queue_says_of_an_unbegun_experiment_what_it_waits_for_where_it_may_begin() -> None:
    steps = [{"name": "mix", "instruments": ["d-1", "d-2"]}, {"name": "measure", "instruments": ["a-1", "a-2"]}]
    site_of = {"d-1": "A", "d-2": "B", "a-1": "A", "a-2": "B"}
    floor = waiting.Floor(
        held={"d-2": "E-2"}, until={}, holds={"a-1": "hold by Ada: power cut"}, wanted={}, tasks={}, silent={}, site_of=site_of,
        today="2026-01-05", nobody="",
    )  # fmt: skip
    row = {
        "job": "E-1/mix",
        "step": "mix",
        "state": "queued",
        "site": None,
        "campaign": "C-1",
        "message": "",
        "tray": None,
    }
    row |= {
        "experiment": "E-1",
        "instrument": None,
        "experiment_state": "planned",
        "plan": json.dumps({"steps": steps}),
    }
    assert waiting.with_reason(dict(row), floor)["reason"] == "d-2 busy with E-2"
    answered = {**row, "state": "waiting_human", "instrument": "d-1", "due_at": None}
    assert waiting.with_reason(answered, floor)["reason"].startswith("a person has answered")
    assert waiting.with_reason({**row, "site": "C"}, floor)["reason"] == "no instrument at C can do this"


TEMPLATE_FILE = (TEMPLATE / "campaigns" / "conductivity.toml").read_text()
STEP = '[[recipe.steps]]\nname = "send"\ncapability = "ship"\nparams = { site = "SITE" }\n\n'
EQUILIBRATE = '[[recipe.steps]]\nname = "equilibrate"'


def refused(folder: Path, text: str, **site: str) -> list[tuple[str, str]]:
    """What `labctl campaign validate` says of a file in a lab with a bench, some instruments of which stand elsewhere."""
    file = wiring.LabFile.load(TEMPLATE / "labctl.toml")
    bench = file.instruments["doser-1"].model_copy(update={"driver": "human", "person": "simulated", "limits": {}})
    known = {**file.instruments, "bench-1": bench}
    moved = {n: s.model_copy(update={"site": site.get(n.replace("-", "_"))}) for n, s in known.items()}
    (folder / "c.toml").write_text(text)
    try:
        validate(wiring.Lab(TEMPLATE, file.model_copy(update={"instruments": moved})), folder / "c.toml")
    except FileFaults as error:
        return [(fault.code, f"{fault.key}: {fault.message}; {fault.hint}") for fault in error.faults]
    return []


def test_a_recipe_that_no_site_can_carry_out_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, TEMPLATE_FILE) == []
    assert refused(tmp_path, TEMPLATE_FILE, bench_1="annex") == []
    words = (
        "recipe.steps[2].capability: step 'measure' can be done at annex, but the steps before it leave the sample at bench-A;"
        ' put a step before it that sends the sample there: capability = "ship", params = { site = "annex" }'
    )
    assert refused(tmp_path, TEMPLATE_FILE, analyser_1="annex") == [("LAB-0238", words)]


def test_a_recipe_that_ships_its_samples_to_where_they_go_on_is_good(tmp_path: Path) -> None:
    sent = TEMPLATE_FILE.replace(EQUILIBRATE, STEP.replace("SITE", "annex") + EQUILIBRATE)
    assert refused(tmp_path, sent, thermostat_1="annex", analyser_1="annex") == []


def test_a_recipe_that_ships_its_samples_to_where_they_cannot_go_on_is_refused(tmp_path: Path) -> None:
    sent = TEMPLATE_FILE.replace(EQUILIBRATE, STEP.replace("SITE", "annex") + EQUILIBRATE)
    ((code, words),) = refused(tmp_path, sent, analyser_1="annex")
    assert code == "LAB-0238"
    assert words.startswith("recipe.steps[2].capability: step 'equilibrate' can be done at bench-A, but")
    assert "leave the sample at annex" in words


@pytest.mark.parametrize("elsewhere", [{}, {"thermostat_1": "annex", "analyser_1": "annex"}])
def test_a_recipe_that_ships_its_samples_to_no_site_is_refused(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    sent = TEMPLATE_FILE.replace(EQUILIBRATE, STEP.replace("SITE", "anex") + EQUILIBRATE)
    ((code, words),) = refused(tmp_path, sent, **elsewhere)
    assert code == "LAB-0238"
    hint = "did you mean 'annex'?" if elsewhere else "there are: bench-A"
    assert words == f"recipe.steps[1].params.site: no instrument of this lab stands at a site 'anex'; {hint}"


def test_a_site_that_lacks_an_instrument_gets_no_experiment() -> None:
    steps = [{"name": "mix", "instruments": ["d-1", "d-2"]}, {"name": "measure", "instruments": ["a-1"]}]
    site_of = {"d-1": "A", "d-2": "B", "a-1": "A"}
    assert sites.allowed(steps[0], steps, None, site_of) == ["d-1"]
    assert sites.allowed(steps[0], steps, "B", site_of) == ["d-2"]


def test_a_sample_that_no_site_has_claimed_is_at_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = SqlStore.open(f"sqlite:///{tmp_path}/lab.sqlite", tmp_path / "raw", full_sync=False)
    with store.transaction() as tx:
        tx.add(records.campaign(), *records.experiment_line(), at=records.AT, actor="test")
        show_trace(trace(tx, "S-00001"))
    store.close()
    show_sample(glance.sample(tmp_path / "lab.sqlite", "S-00001"))
    told = capsys.readouterr().out
    assert "S-00001  6000 mg at no site yet, simulated" in told
    assert "6000 mg   no site yet   simulated" in told


def narrow(lab: VirtualLab, name: str, **limits: list[float]) -> None:
    """One instrument can do less than its model."""
    known = lab.hosts[name]
    lab.hosts[name] = Host(
        name, known.driver, known.journal, lab.clock, simulated=True, poll_s=(1.0, 43200.0), limits=limits
    )


def with_settings(high_c: float) -> dict[str, Any]:
    """A campaign that varies the temperature and the speed of the mixer."""
    steps = campaign().json()["recipe"]["steps"]
    steps[0]["params"]["mix_speed"], steps[1]["params"]["temperature"] = "$speed", "$temperature"
    kelvin = {"type": "float", "unit": "degC", "min": high_c - 10, "max": high_c, "step": None}
    speed = {"type": "float", "unit": "rpm", "min": 300.0, "max": 800.0, "step": None}
    return {"recipe": {"steps": steps}, "process": {"temperature": kelvin, "speed": speed}}


def test_a_candidate_that_no_single_site_can_carry_out_is_left_out() -> None:
    async def work() -> None:
        lab = two_sites()
        narrow(lab, "thermostat-1", temperature_c=[0.0, 25.0])
        narrow(lab, "doser-2", mix_rpm=[0.0, 500.0])
        id = await run(lab, budget={"experiments": 12}, **with_settings(30.0))
        with lab.store.transaction() as tx:
            assert tx.get(db.Campaign, id).state == "done"
            made = [c.process for c in tx.find(db.Candidate)]
        assert len(made) == 12
        assert not [p for p in made if p["temperature"] > 25.0 and p["speed"] > 500.0]

    live(work())


def test_a_campaign_of_which_no_site_can_carry_out_anything_rests_and_says_why() -> None:
    async def work() -> None:
        lab = two_sites()
        narrow(lab, "thermostat-1", temperature_c=[0.0, 15.0])
        narrow(lab, "doser-2", mix_rpm=[0.0, 200.0])
        id = await run(lab, budget={"experiments": 12}, **with_settings(30.0))
        with lab.store.transaction() as tx:
            rests = tx.get(db.Campaign, id)
        assert (rests.state, rests.reason) == (
            "paused",
            "no site can carry out what is proposed: step 'equilibrate' can be done at bench-B,"
            " but the steps before it leave the sample at bench-A",
        )

    live(work())


def trays_of(lab: VirtualLab, jobs: list[str]) -> list[str | None]:
    """The tray of each of these jobs."""
    with lab.store.transaction() as tx:
        return [tx.get(db.Job, job).tray for job in jobs]


async def two_in_control(lab: VirtualLab, **changes: Any) -> tuple[list[str], Bench, Bench]:
    """Jobs of experiments that nobody has begun; a worker in control, and one that took its place unnoticed."""
    replaced = await lab.bench()
    id = lab.launch(campaign(**{"optimizer": {"name": "random", "in_flight": 4}, **changes}))
    chosen = await replaced.propose(id, [])
    with lab.store.transaction() as tx:
        jobs = [experiment["jobs"][0] for experiment in replaced.plan(tx, id, chosen["proposals"])]
    return jobs, replaced, await lab.bench()


def test_what_another_worker_began_meanwhile_is_not_begun_again_at_another_site_by_one_that_was_replaced() -> None:
    async def work() -> None:
        lab = two_sites()
        (job,), replaced, in_control = await two_in_control(lab, budget={"experiments": 1})
        turns = replaced.floor.turns
        turns.held |= {"doser-1": "E-00008", "doser-2": "E-00009"}  # what it last knew
        waiting = asyncio.ensure_future(replaced.perform(job))
        await lab.clock.sleep(1)
        begun = asyncio.ensure_future(in_control.perform(job))
        await lab.clock.sleep(30)
        turns.release(["doser-2"], "E-00009")
        answers = await asyncio.gather(begun, waiting)
        assert [answer["verdict"] for answer in answers] == ["done", "done"]
        assert lab.sim.world.memory.acts_on() == {"S-00001": {job: 1}}
        assert "doser-2" not in turns.held

    live(work())


def test_what_is_on_another_workers_tray_goes_on_no_second_one_of_a_worker_that_was_replaced() -> None:
    async def work() -> None:
        lab, steps = polished_first(two_sites())
        jobs, replaced, in_control = await two_in_control(lab, budget={"experiments": 4}, recipe={"steps": steps})
        turns = replaced.floor.turns
        turns.held |= {"bench-1": "Y-00008", "bench-2": "Y-00009"}
        waiting = asyncio.gather(*(replaced.perform(job) for job in jobs))
        await lab.clock.sleep(1)
        begun = asyncio.gather(*(in_control.perform(job) for job in jobs[:3]))
        while not trays_of(lab, jobs[:3])[0]:
            await lab.clock.sleep(10)
        turns.release(["bench-2"], "Y-00009")
        answers = [*await begun, *await waiting]
        assert [answer["verdict"] for answer in answers] == ["done"] * 7
        with lab.store.transaction() as tx:
            polished = Counter(sample for task in tx.find(db.Task) for sample in task.samples)
        assert set(polished.values()) == {1}
        assert len(set(trays_of(lab, jobs[:3]))) == 1 != len(set(trays_of(lab, jobs)))

    live(work())
