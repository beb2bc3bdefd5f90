"""Two hosts on one PostgreSQL database: whatever happens to either, nothing is made twice and nothing is lost."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from materials_db.looking import libpq
from tests import postgres
from tests.acceptance.lab import LabFolder, kill
from tests.acceptance.test_kill import check_nothing_twice_nothing_lost

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(400)]
EXPERIMENTS = 8
GIVE_UP_S = 250  #: far more than any of it takes on a loaded machine


@pytest.fixture
def url(postgres_url: str) -> str:
    return postgres.fresh_database(postgres_url)


@pytest.fixture
def lab(tmp_path: Path, url: str) -> Iterator[LabFolder]:
    """The doser is driven by host main, the thermostat and the analyser by host far."""
    made = LabFolder.make(tmp_path / "lab", experiments=EXPERIMENTS, speed=3600, database=url)
    path = made.folder / "labctl.toml"
    text = path.read_text()
    for name in ("thermostat-1", "analyser-1"):
        text = text.replace(f"[instruments.{name}]\n", f'[instruments.{name}]\nhost = "far"\n')
    path.write_text(text)
    yield made
    made.close()


def until(lab: LabFolder, process: subprocess.Popen[bytes], found: Callable[[], Any]) -> None:
    """Look until it is so; the process must live meanwhile. What never comes is reported with how the lab stands."""
    deadline = time.monotonic() + GIVE_UP_S
    while not found():
        assert process.poll() is None, (lab.folder / "worker.out").read_text()
        assert time.monotonic() < deadline, how_it_stands(lab)


def how_it_stands(lab: LabFolder) -> str:
    """What a person would look at when nothing goes on."""
    views = [lab(*words).stdout for words in (["worker", "list"], ["queue", "list"], ["experiment", "list"])]
    return "\n".join([*views, (lab.folder / ".labctl" / "labctl.log").read_text(), engine_says(lab)])


def engine_says(lab: LabFolder) -> str:
    """Workflows that have not ended well."""
    url = next(line for line in (lab.folder / "labctl.toml").read_text().splitlines() if line.startswith("database"))
    with psycopg.connect(libpq(url.split('"')[1])) as connection:
        rows = connection.execute(
            "SELECT workflow_uuid, status, executor_id, queue_name FROM dbos.workflow_status WHERE status <> 'SUCCESS'"
        )
        return "\n".join(map(str, rows))


def workers(lab: LabFolder) -> dict[str, dict[str, Any]]:
    return {row["host"]: row for row in lab.json("worker", "list")}


def begin(lab: LabFolder, host: str) -> subprocess.Popen[bytes]:
    """A worker of that host that has begun."""
    process = lab.start("worker", "run", "--host", host)
    until(lab, process, lambda: workers(lab)[host]["pid"] == process.pid)
    return process


def done(lab: LabFolder) -> int:
    return sum(e["state"] == "done" for e in lab.json("experiment", "list"))


def ended_well(lab: LabFolder) -> None:
    assert lab.json("campaign", "list")[0]["state"] == "done"
    check_nothing_twice_nothing_lost(lab, EXPERIMENTS)


def forget_locks(url: str, pid: int) -> None:
    """The server loses sight of a process, as it does of a machine that does not answer."""
    with psycopg.connect(libpq(url), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE %s",
            [f"labctl % pid {pid} on %"],
        )


def test_a_campaign_runs_over_two_hosts_and_a_killed_one_goes_on_where_it_stood(lab: LabFolder) -> None:
    far = begin(lab, "far")
    campaign = lab.start("campaign", "run", "campaigns/conductivity.toml")
    for number in (1, 3):
        until(lab, campaign, lambda n=number: done(lab) >= n)
        kill(far)
        far = begin(lab, "far")
    assert campaign.wait(timeout=170) == 0
    ended_well(lab)
    far.send_signal(signal.SIGTERM)
    assert far.wait(timeout=30) == 0


def test_machines_that_share_nothing_but_the_database(lab: LabFolder, tmp_path: Path) -> None:
    """Each machine has a folder of its own; only the simulated machines, which both have cables to, are in one."""
    there = LabFolder(tmp_path / "another machine" / "lab")
    (there.folder / ".labctl").mkdir(parents=True)
    shutil.copy(lab.folder / "labctl.toml", there.folder)
    (lab.folder / ".labctl" / "simulator").mkdir(parents=True)
    (there.folder / ".labctl" / "simulator").symlink_to(lab.folder / ".labctl" / "simulator")
    far = begin(there, "far")
    campaign = lab.start("campaign", "run", "campaigns/conductivity.toml")
    assert campaign.wait(timeout=170) == 0
    ended_well(lab)
    far.send_signal(signal.SIGTERM)
    assert far.wait(timeout=30) == 0
    for place in (lab, there):
        assert {row["state"] for row in place.json("db", "check")} == {"ok"}
        place("trace", "last", "--raw-files", "raw")
    written = [{path.name: path.read_bytes() for path in (p.folder / "raw").iterdir()} for p in (lab, there)]
    assert written[0] == written[1]
    assert {name.split("-")[0] for name in written[0]} == {"balance", "temperature", "impedance"}


def test_control_of_a_killed_worker_passes_to_a_live_one_and_its_host_is_waited_for(lab: LabFolder) -> None:
    first, second = begin(lab, "far"), begin(lab, "main")
    assert workers(lab)["far"]["control"]
    lab.start("campaign", "run", "campaigns/conductivity.toml")
    until(lab, second, lambda: done(lab) >= 2)
    kill(first)
    until(lab, second, lambda: workers(lab)["main"]["control"])
    assert workers(lab)["far"]["state"] == "not running"
    begin(lab, "far")
    until(lab, second, lambda: lab.json("campaign", "list")[0]["state"] == "done")
    assert not workers(lab)["far"]["control"]
    ended_well(lab)


def test_a_worker_that_was_stopped_and_comes_back_is_no_second_master(lab: LabFolder, url: str) -> None:
    stopped, other = begin(lab, "far"), begin(lab, "main")
    lab.start("campaign", "run", "campaigns/conductivity.toml")
    until(lab, other, lambda: done(lab) >= 2)
    os.kill(stopped.pid, signal.SIGSTOP)
    forget_locks(url, stopped.pid)
    until(lab, other, lambda: workers(lab)["main"]["control"])
    second = lab("worker", "run", "--host", "far", check=6)
    assert f"host far has a worker: pid {stopped.pid}" in second.stderr
    os.kill(stopped.pid, signal.SIGCONT)
    until(lab, other, lambda: lab.json("campaign", "list")[0]["state"] == "done")
    assert workers(lab)["main"]["control"]
    ended_well(lab)


def test_a_worker_of_another_labctl_is_refused(lab: LabFolder, url: str) -> None:
    begin(lab, "far")
    with psycopg.connect(libpq(url), autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION old() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.version = '0.0.9'; RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE TRIGGER old BEFORE UPDATE ON worker FOR EACH ROW WHEN (NEW.host = 'far') EXECUTE FUNCTION old()"
        )
        connection.execute("UPDATE worker SET pid = pid")
    refused = lab("worker", "run", "--host", "main", check=6)
    assert "host far is worked by labctl 0.0.9, this is labctl 0.1.0; nothing was started" in refused.stderr
    refused = lab("campaign", "run", "campaigns/conductivity.toml", check=6)
    assert "0.0.9" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_lab_file_that_gives_an_instrument_to_two_hosts_is_refused(lab: LabFolder, tmp_path: Path) -> None:
    begin(lab, "far")
    there = LabFolder(tmp_path / "another machine" / "lab")
    (there.folder / "campaigns").mkdir(parents=True)
    text = (lab.folder / "labctl.toml").read_text()
    (there.folder / "labctl.toml").write_text(
        text.replace('[instruments.analyser-1]\nhost = "far"', "[instruments.analyser-1]")
    )
    shutil.copy(lab.folder / "campaigns" / "conductivity.toml", there.folder / "campaigns")
    for words in (["worker", "run", "--host", "main"], ["campaign", "run", "campaigns/conductivity.toml"]):
        refused = there(*words, check=6)
        assert "analyser-1: host main's here, but driven by host far" in refused.stderr
        assert "same labctl.toml" in refused.stderr
    assert lab.json("campaign", "list") == []


def test_a_host_without_instruments_is_named_with_those_that_have_some(lab: LabFolder) -> None:
    refused = lab("worker", "run", "--host", "fare", check=2)
    assert "no instrument of labctl.toml belongs to host 'fare'" in refused.stderr
    assert "main, far" in refused.stderr


def test_jobs_that_another_machines_journal_knows_are_not_begun_here(lab: LabFolder) -> None:
    lab.edit("labctl.toml", {"speed": "60"})
    far = begin(lab, "far")
    campaign = lab.start("campaign", "run", "campaigns/conductivity.toml")
    until(lab, campaign, lambda: workers(lab)["far"]["holds"])
    kill(far)
    kill(campaign)
    journals = lab.folder / ".labctl" / "journal"
    journals.rename(lab.folder / "journals of the other machine")
    refused = lab("worker", "run", "--host", "far", check=6)
    assert "whose journal knows what runs on" in refused.stderr
    (journals / "identity").unlink()
    journals.rmdir()
    (lab.folder / "journals of the other machine").rename(journals)
    begin(lab, "far")
    assert lab.json("campaign", "list")[0]["state"] == "running"


def test_what_a_lost_journal_knew_is_asked_of_people_and_the_campaign_goes_on(lab: LabFolder) -> None:
    lab.edit("labctl.toml", {"speed": "60"})
    far = begin(lab, "far")
    campaign = lab.start("campaign", "run", "campaigns/conductivity.toml")
    until(lab, campaign, lambda: workers(lab)["far"]["holds"])
    kill(far)
    kept = lab("worker", "run", "--host", "far", "--journal-lost", check=2)
    assert "the journals of host far are here" in kept.stderr
    kill(campaign)
    made = lab.simulator.acts()
    shutil.rmtree(lab.folder / ".labctl" / "journal")
    refused = lab("worker", "run", "--host", "far", check=6)
    assert "--host far --journal-lost" in refused.stderr
    LabFolder(lab.folder).edit("labctl.toml", {"speed": "3600"})
    far, main = (lab.start("worker", "run", "--host", host, "--journal-lost") for host in ("far", "main"))
    until(lab, main, lambda: lab.json("task", "list"))
    (question, *_) = lab.json("task", "list")
    prompt = lab("task", "show", question["id"]).stdout
    assert re.search(r"the journal of host (far|main) was lost, says \w+", " ".join(prompt.split()))
    before = done(lab)
    until(lab, main, lambda: done(lab) > before)
    assert all(times == 1 for job, times in lab.simulator.acts().items() if job in made)


def test_on_a_file_a_worker_serves_all_and_a_second_is_told_who_works(tmp_path: Path) -> None:
    lab = LabFolder.make(tmp_path / "lab", experiments=2)
    worker = begin(lab, "main")
    second = lab("worker", "run", check=6)
    assert f"host main has a worker: pid {worker.pid}" in second.stderr
    lab("campaign", "run", "campaigns/conductivity.toml")
    assert lab.json("campaign", "list")[0]["state"] == "done"
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=30) == 0
    lab.close()
