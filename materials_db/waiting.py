"""The queue of jobs, and the one thing that each of them waits for; as quick as `glance`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from materials_db import order, sites
from materials_db.looking import Place, Row, ask

HOST_SILENT = timedelta(seconds=20)  #: wall time without a sign of life after which a host gets no new work
HELD = "SELECT instrument, mode || ' by ' || placed_by || ': ' || reason AS words FROM hold WHERE state = 'active'"
FORMING = re.compile(r"tray forming 1/(\d+), until (.+)")


def forming(room: int, latest: datetime) -> str:
    """What is on record of a sample that waits for others; `count_trays` adds who waits with it."""
    return f"tray forming 1/{room}, until {latest.astimezone(UTC):%Y-%m-%d %H:%M} at the latest"


def asked_of(host: str) -> str:
    """What is on record of a job that another host is to do."""
    return f"asked of host {host}"


def queue(path: Place, *, planned: bool = True) -> list[Row]:
    """Jobs that have not ended, in the order in which they will be served, and why they wait.

    Without `planned` those are left out whose step before is not done. After them come
    campaigns that cannot plan their next experiment yet.
    """
    rows = ask(
        path,
        "SELECT j.id AS job, j.run, j.sample_id AS sample, j.experiment_id AS experiment, e.campaign_id AS campaign, j.step,"
        " j.capability, j.params, j.state, j.queued_at, j.started_at, j.due_at, j.message, j.tray, i.name AS instrument,"
        " (SELECT max(b.ended_at) FROM job b WHERE b.experiment_id = j.experiment_id) AS ready_at,"
        " e.plan, e.state AS experiment_state, e.site, k.priority, k.due_at AS campaign_due"
        " FROM job j JOIN experiment e ON e.id = j.experiment_id JOIN campaign k ON k.id = e.campaign_id"
        " LEFT JOIN instrument i ON i.id = j.instrument_id"
        " WHERE j.state IN ('planned', 'queued', 'intent', 'running', 'waiting_human', 'in_doubt')"
        " OR j.id IN (SELECT job_id FROM task WHERE state = 'open')"
        " ORDER BY j.queued_at, j.run",
    )
    newest = ask(path, "SELECT at FROM event ORDER BY seq DESC LIMIT 1")
    now = str(newest[0]["at"]) if newest else ""
    count_trays(rows, now[:10])
    leases = ask(path, "SELECT instrument, holder FROM lease WHERE holder IS NOT NULL")
    paused = ask(path, "SELECT id, wanted FROM campaign WHERE state = 'paused' OR wanted = 'stop'")
    asked = ask(path, "SELECT job_id, id FROM task WHERE state = 'open'")
    busy = {r["tray"] or r["experiment"]: r["due_at"] for r in rows if r["state"] == "running"}
    floor = Floor(
        held={r["instrument"]: r["holder"] for r in leases},
        until=busy,
        holds={r["instrument"]: r["words"] for r in ask(path, HELD)},
        wanted={r["id"]: r["wanted"] for r in paused},
        tasks=questions(rows, {r["job_id"]: r["id"] for r in asked}),
        silent=silent(ask(path, "SELECT host, beat_at, instruments FROM worker")),
        site_of=site_of(path),
        today=now[:10],
        nobody=nobody(path),
    )
    rows = [row for row in in_order(path, rows, now) if planned or row["state"] != "planned"]
    return [with_reason(row, floor) for row in rows] + next_ones(path)


def in_order(path: Place, rows: list[Row], now: str) -> list[Row]:
    """First what runs, then what waits for a turn in the order in which it has it, then what waits for the step before."""
    several = len({row["campaign"] for row in rows if row["state"] == "queued"}) > 1
    used_s = shares_s(path) if several else {}
    latest = [key_of(row) for row in rows if row["started_at"]]
    for row in rows:
        since = max(row["queued_at"], row.pop("ready_at") or "")
        waited_s = (moment(now) - moment(since)).total_seconds() if now else 0.0
        due = moment(row["campaign_due"]).timestamp() if row["campaign_due"] else math.inf
        begun = behind(row) + (row["state"] == "queued" and key_of(row) in latest)
        row["rank"] = order.rank(row["priority"], waited_s, due, used_s.get(row["campaign"], 0.0), begun)
        del row["campaign_due"]
    found = sorted(rows, key=lambda r: (r["started_at"] is None, r["state"] != "queued", r["rank"]))
    return [{key: value for key, value in row.items() if key != "rank"} for row in found]


def behind(row: Row) -> int:
    """Steps that a sample has behind it."""
    names = [step["name"] for step in json.loads(row["plan"])["steps"]]
    return names.index(row["step"]) if row["step"] in names else 0


def key_of(row: Row) -> tuple[str, str, object]:
    """What samples that were proposed for one tray share at a step; of another experiment nothing."""
    return row["campaign"], row["step"], json.loads(row["plan"]).get("tray") or row["experiment"]


def shares_s(path: Place) -> dict[str, float]:
    """Instrument time that each campaign under way has had, lab seconds; of a tray its share."""
    jobs = ask(
        path,
        "SELECT e.campaign_id AS campaign, j.started_at, j.ended_at, j.tray FROM job j JOIN experiment e ON e.id = j.experiment_id"
        " JOIN campaign k ON k.id = e.campaign_id WHERE k.state IN ('running', 'paused')"
        " AND j.started_at IS NOT NULL AND j.ended_at IS NOT NULL",
    )
    return order.shares_s((j["campaign"], j["tray"], moment(j["started_at"]), moment(j["ended_at"])) for j in jobs)


def moment(stamp: str) -> datetime:
    """A moment as the database writes it."""
    return datetime.fromisoformat(stamp)


def stuck(path: Place) -> list[Row]:
    """Running jobs that say what they wait for, by sample."""
    return ask(
        path,
        "SELECT sample_id AS sample, message FROM job WHERE state = 'running' AND message <> '' ORDER BY started_at, run",
    )


def next_ones(path: Place) -> list[Row]:
    """Campaigns whose next experiment cannot be planned for want of stock or budget, as one row each."""
    rows = ask(
        path,
        "SELECT id AS campaign, priority, reason FROM campaign WHERE state = 'running' AND wanted = 'run' AND reason <> ''"
        " ORDER BY -priority, id",
    )
    return [{**NO_JOB, "run": row["campaign"], "step": "next experiment", "state": "waiting", **row} for row in rows]


NO_JOB: Row = dict.fromkeys(
    ("job", "sample", "experiment", "capability", "queued_at", "started_at", "due_at", "message", "tray", "site")
) | {"instrument": ""}


def site_of(path: Place) -> dict[str, str]:
    """Where each instrument stands, as it was registered last."""
    return {r["name"]: r["site"] for r in ask(path, "SELECT name, site FROM instrument ORDER BY registered_at")}


def count_trays(rows: Sequence[Row], today: str) -> None:
    """Say of each sample that waits for a tray how many wait with it, and until when the first of them does."""
    together: dict[str, list[Row]] = {}
    for row in rows:
        shared = f"{row['capability']} {row.pop('params')}"
        if row["state"] == "queued" and FORMING.fullmatch(row["message"] or ""):
            together.setdefault(shared, []).append(row)
    for mates in together.values():
        found = [match.groups() for row in mates if (match := FORMING.fullmatch(row["message"]))]
        room, latest = int(found[0][0]), min(until for _, until in found)
        until = f"{clock_time(latest, today)}{latest[16:]}"
        for row in mates:
            row["message"] = f"tray forming {min(len(mates), room)}/{room}, until {until}"


def questions(rows: Sequence[Row], asked: dict[str, str]) -> dict[str, str]:
    """The open question about each job; a step on several samples is kept with the first, and is that of their tray."""
    in_hand = [r for r in rows if r["tray"] and r["state"] == "waiting_human" and r["job"] in asked]
    return {**asked, **{r["tray"]: asked[r["job"]] for r in in_hand}}


def silent(workers: Sequence[Row]) -> dict[str, str]:
    """Hosts that have gone silent while another gave a sign of life, in words: by what a job says, and by instrument."""
    beats = {row["host"]: datetime.fromisoformat(row["beat_at"]) for row in workers}
    newest = max(beats.values(), default=None)
    found: dict[str, str] = {}
    for row in workers:
        if newest is not None and newest - beats[row["host"]] > HOST_SILENT:
            words = f"host {row['host']} is silent since {beats[row['host']]:%H:%M}"
            found |= dict.fromkeys([asked_of(row["host"]), *json.loads(row["instruments"])], words)
    return found


class Floor(NamedTuple):
    """What a job may have to wait for."""

    held: dict[str, str]  #: instrument -> who has it
    until: dict[str, str | None]  #: who -> about when the running job will be over
    holds: dict[str, str]  #: instrument -> who holds it and why
    wanted: dict[
        str, str
    ]  #: campaign that rests or is to stop -> what is wanted of it; one that pauses finishes what it has begun
    tasks: dict[str, str]  #: job, or tray of samples that a person has in hand -> the open question about it
    silent: dict[str, str]  #: what a job says that a silent host is to do, and instruments there -> what keeps them
    site_of: dict[str, str]  #: instrument -> where it stands, as it was registered last
    today: str  #: the day of the newest entry in the log
    nobody: str  #: since when no worker has given a sign of life


def with_reason(row: Row, floor: Floor) -> Row:
    """Why this job is not done yet."""
    able = able_to(row, json.loads(row.pop("plan"))["steps"], floor)
    row["instrument"] = row["instrument"] or "|".join(able)
    row["reason"] = reason(row, able, floor, held=row.pop("experiment_state") == "held")
    return row


def able_to(row: Row, steps: Sequence[Row], floor: Floor) -> list[str]:
    """Instruments that may do a job: those at the site of its sample, or where it may begin as holds stand."""
    step: Row = next((s for s in steps if s["name"] == row["step"]), {"instruments": []})
    able: list[str] = step["instruments"]
    if row["state"] != "queued" or len(set(floor.site_of.values())) < 2:
        return able
    where = {i: floor.site_of.get(i, row["site"]) for s in steps for i in s["instruments"]}
    able = sites.allowed(step, steps, row["site"], where)
    return able if row["site"] else sites.preferred(able, steps, where, {*floor.holds, *floor.silent})


def reason(row: Row, able: list[str], floor: Floor, *, held: bool = False) -> str:
    """The one thing that it waits for now."""
    if task := floor.tasks.get(row["job"]) or floor.tasks.get(row["tray"]):
        return f"waiting for a person: labctl task show {task}"
    forms = str(row["message"] or "").startswith("tray forming")
    if floor.nobody and row["state"] != "planned" and row["campaign"] not in floor.wanted:
        return f"no worker since {floor.nobody}: labctl campaign resume {row['campaign']}"
    if row["message"] and not forms:
        return floor.silent.get(row["message"], str(row["message"]))
    if row["state"] == "planned":
        return "held until a person answers: labctl task list" if held else "waiting for the step before"
    if row["state"] == "waiting_human":
        return "a person has answered; it goes on as soon as its host looks"
    if row["state"] != "queued":
        return f"until about {clock_time(row['due_at'], floor.today)}" if row["due_at"] else ""
    if row["campaign"] in floor.wanted:
        return f"campaign: {floor.wanted[row['campaign']]} wanted"
    if not able:
        return f"no instrument at {row['site']} can do this" if row["site"] else "no site can do the whole recipe"
    waits = [words for name in able if (words := obstacle(name, row, floor))]
    if len(waits) == len(able):
        return "; ".join(waits)
    return str(row["message"]) if forms else "next"


def obstacle(name: str, row: Row, floor: Floor) -> str:
    """Why an instrument does not serve a job; empty when nothing stands against it."""
    if name in floor.holds:
        return f"{name} on {floor.holds[name]}"
    if name in floor.silent:
        return floor.silent[name]
    holder = floor.held.get(name)
    if holder is not None and holder not in (row["experiment"], row["tray"]):
        until = floor.until.get(holder)
        return f"{name} busy with {holder}" + (f" until about {clock_time(until, floor.today)}" if until else "")
    return ""


def clock_time(stamp: str, today: str) -> str:
    """Hour and minute of a moment, UTC, after the day where that is not today."""
    return stamp[11:16] if stamp[:10] == today else f"{moment(stamp[:16]):%d %b %H:%M}"


def nobody(path: Place) -> str:
    """Since when no worker has given a sign of life; empty while one does, and where none has ever been."""
    beats = [moment(row["beat_at"]) for row in ask(path, "SELECT beat_at FROM worker")]
    asked = ask(path, "SELECT CURRENT_TIMESTAMP AS now") if beats else []
    for row in asked:
        now = moment(str(row["now"]))  # a file says it without its zone, which is UTC
        if (now if now.tzinfo else now.replace(tzinfo=UTC)) - max(beats) > HOST_SILENT:
            return f"{max(beats):%d %b %H:%M}"
    return ""
