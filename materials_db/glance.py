"""Quick looks at a lab's database for the terminal: read-only, on SQLite or PostgreSQL, nothing heavy imported.

Rows are plain dictionaries.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from typing import Any

from materials_db.errors import NotFoundError
from materials_db.looking import Place, Row, ask
from materials_db.merit import Merit, in_unit

ALL = 10**9  #: more rows than any lab has
KINDS = {
    "C": "campaign",
    "E": "experiment",
    "S": "sample",
    "X": "candidate",
    "L": "lot",
    "K": "calibration",
    "M": "measurement",
    "T": "task",
}


def resolve(path: Place, letter: str, text: str) -> str:
    """The id that a person means: ``last``, ``C-1`` for ``C-0001``, any unique beginning.

    Raises
    ------
    NotFoundError
        Naming near ids; or the several that begin so.
    """
    kind = KINDS[letter]
    known = [row["id"] for row in ask(path, f"SELECT id FROM {kind} ORDER BY id")]
    if text in known:
        return text
    if text.lower() in ("last", "-"):
        if not known:
            raise NotFoundError(f"there is no {kind} yet; the first comes with: labctl campaign run FILE")
        return str(known[-1])
    found = numbered(letter, text, known) or [id for id in known if id.upper().startswith(text.upper()) and text]
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise NotFoundError(
            f"{text!r} could be {', '.join(found[:4])}{' ...' if len(found) > 4 else ''}; write more of it", kind
        )
    near = difflib.get_close_matches(text.upper(), known[-200:], n=3)
    raise NotFoundError(f"there is no {kind} {text!r}" + (f"; near it: {', '.join(near)}" if near else ""), kind)


def numbered(letter: str, text: str, known: list[str]) -> list[str]:
    """Ids with that number, leading zeros left aside."""
    match = re.fullmatch(rf"(?:{letter}-?)?0*(\d+)", text, re.IGNORECASE)
    return [id for id in known if match and id.split("-")[-1].lstrip("0") == match.group(1).lstrip("0")]


def campaigns(path: Place, id: str | None = None) -> list[Row]:
    """All campaigns, newest last, with what they have found; or one of them."""
    rows = ask(
        path,
        "SELECT c.id, c.name, c.state, c.wanted, c.reason, c.created_at, c.ended_at, c.created_by, c.origin, c.seed, c.spec,"
        " c.priority, c.due_at,"
        " count(e.id) AS experiments, count(CASE WHEN e.state = 'done' THEN 1 END) AS done,"
        " count(CASE WHEN e.state IN ('failed', 'aborted', 'held') THEN 1 END) AS lost"
        " FROM campaign c LEFT JOIN experiment e ON e.campaign_id = c.id"
        " WHERE CAST(? AS TEXT) IS NULL OR c.id = ? GROUP BY c.id ORDER BY c.id",
        id,
        id,
    )
    return [with_best(path, row) for row in rows]


def campaign(path: Place, id: str) -> Row:
    """One campaign."""
    return campaigns(path, id)[0]


def namesakes(path: Place, id: str) -> list[str]:
    """Campaigns at work that have the same name: of an earlier state of its file, or of another start."""
    query = "SELECT b.id FROM campaign a JOIN campaign b ON b.name = a.name AND b.id <> a.id WHERE a.id = ? AND b.state = 'running'"
    return [row["id"] for row in ask(path, f"{query} ORDER BY b.id", id)]


def with_best(path: Place, row: Row) -> Row:
    """Add what is wanted in words, the budget and the best so far; limits must be kept."""
    spec = json.loads(row.pop("spec"))
    merit = Merit.of(spec)
    best = best_of(path, row["id"], merit)
    return {
        **row,
        "standing": standing(row),
        "objective": merit.words,
        "quantity": merit.aims[0].quantity,
        "direction": merit.aims[0].direction,
        "unit": merit.aims[0].unit,
        "units": [aim.unit for aim in merit.aims],
        "goal": merit.goal,
        "target": merit.target,
        "band": list(merit.band) if merit.band else None,
        "aimed_at": merit.aimed_at,
        "limits": [x.words for x in merit.limits],
        "budget": spec["budget"].get("experiments"),
        "best": best.get("value"),
        "best_u": best.get("u"),
        "best_sample": best.get("sample"),
        "best_number": best.get("number"),
        "best_distance": merit.distance(best["value"]) if best else None,
    }


def best_of(path: Place, campaign_id: str, merit: Merit) -> Row:
    """The best single measurement of the deciding property, of a sample that keeps all limits."""
    aim = merit.aims[0]
    of_it = f"{GOOD} WHERE e.campaign_id = ? AND m.quantity = ?"
    if merit.limits or merit.goal == "target":
        found = ask(path, of_it, campaign_id, aim.quantity)
    else:  # the first in the wanted unit, and all in others: the database cannot compare those
        order = f"ORDER BY m.value {'DESC' if aim.direction == 'maximize' else 'ASC'} LIMIT 1"
        found = ask(path, f"{of_it} AND m.unit = ? {order}", campaign_id, aim.quantity, aim.unit)
        found += ask(path, f"{of_it} AND m.unit <> ?", campaign_id, aim.quantity, aim.unit)
    found = [told_in(row, aim.unit) for row in found]
    if merit.limits:
        values = measured(path, campaign_id, merit.units)
        plain = {sample: {q: m["value"] for q, m in known.items()} for sample, known in values.items()}
        found = [row for row in found if merit.counts(plain.get(row["sample"], {}))]
    return max(found, key=lambda row: (merit.worth(row["value"]), -row["number"]), default={})


def standing(row: Row) -> str:
    """A campaign's state in words, with what people have asked for and it has not come to yet."""
    on_its_way = row["state"] == "running" and row["wanted"] != "run"
    return f"running, {row['wanted']} wanted" if on_its_way else str(row["state"])


GOOD = (  #: measurements that were neither bad nor replaced
    "SELECT m.quantity, m.value, m.u, m.unit, m.sample_id AS sample, e.number FROM measurement m"
    " JOIN sample s ON s.id = m.sample_id JOIN experiment e ON e.id = s.experiment_id AND m.quality <> 'invalid'"
    " AND m.id NOT IN (SELECT supersedes_id FROM measurement WHERE supersedes_id IS NOT NULL)"
)


def told_in(row: Row, unit: str | None) -> Row:
    """A measurement in the unit that is wanted."""
    if row["value"] is None or row["unit"] == unit or not unit:
        return row
    value, u = in_unit(row["value"], row["u"], row["unit"], unit)
    return {**row, "value": value, "u": u, "unit": unit}


def measured(path: Place, campaign_id: str, units: dict[str, str]) -> dict[str, dict[str, Row]]:
    """By sample and quantity, the newest good measurement, in these units."""
    found: dict[str, dict[str, Row]] = {}
    for row in ask(path, f"{GOOD} WHERE e.campaign_id = ? ORDER BY m.taken_at, m.id", campaign_id):
        told = told_in(row, units.get(row["quantity"]))
        found.setdefault(row["sample"], {})[row["quantity"]] = {k: told[k] for k in ("value", "u", "unit")}
    return found


def merit_of(path: Place, campaign_id: str) -> Merit:
    """What a campaign wants, from its frozen file."""
    rows = ask(path, "SELECT spec FROM campaign WHERE id = ?", campaign_id)
    if not rows:
        raise NotFoundError(f"there is no campaign {campaign_id!r}")
    return Merit.of(json.loads(rows[0]["spec"]))


def experiments(path: Place, campaign_id: str | None = None, *, last: int | None = None) -> list[Row]:
    """Experiments in order, with what was measured and where each stands."""
    rows = ask(
        path,
        "SELECT e.id, e.campaign_id AS campaign, e.number, s.id AS sample, e.candidate_id AS candidate, e.state, e.outcome,"
        " e.planned_at, e.started_at, e.ended_at, c.fractions, c.process, c.predicted, c.predicted_u,"
        " c.origin_of_proposal AS reason, s.origin, json_extract(k.spec, '$.objective.quantity') AS quantity,"
        " (SELECT value FROM measurement m WHERE m.sample_id = s.id AND m.quantity = json_extract(k.spec, '$.objective.quantity')"
        "  AND m.quality <> 'invalid' ORDER BY taken_at DESC LIMIT 1) AS value,"
        " (SELECT u FROM measurement m WHERE m.sample_id = s.id AND m.quantity = json_extract(k.spec, '$.objective.quantity')"
        "  AND m.quality <> 'invalid' ORDER BY taken_at DESC LIMIT 1) AS u,"
        " (SELECT unit FROM measurement m WHERE m.sample_id = s.id AND m.quantity = json_extract(k.spec, '$.objective.quantity')"
        "  AND m.quality <> 'invalid' ORDER BY taken_at DESC LIMIT 1) AS unit,"
        " json_extract(k.spec, '$.objective.unit') AS wanted_unit,"
        " (SELECT j.step || coalesce(' on ' || i.name, '') || CASE j.state WHEN 'running' THEN '' ELSE ', ' || j.state END FROM job j"
        "  LEFT JOIN instrument i ON i.id = j.instrument_id"
        "  WHERE j.experiment_id = e.id AND j.state IN ('queued', 'running', 'in_doubt') ORDER BY j.queued_at DESC LIMIT 1) AS step"
        " FROM experiment e JOIN candidate c ON c.id = e.candidate_id JOIN sample s ON s.experiment_id = e.id"
        " JOIN campaign k ON k.id = e.campaign_id WHERE (CAST(? AS TEXT) IS NULL OR e.campaign_id = ?)"
        " ORDER BY e.campaign_id DESC, e.number DESC LIMIT ?",
        campaign_id,
        campaign_id,
        ALL if last is None else last,
    )
    return [with_composition(row) for row in reversed(rows)]


def with_composition(row: Row) -> Row:
    """Fractions as numbers, the composition in short, the value in the campaign's unit."""
    wanted = row.pop("wanted_unit")
    row = {**told_in(row, wanted), "unit": wanted}
    row["fractions"] = {name: number(text) for name, text in json.loads(row["fractions"]).items()}
    row["process"] = json.loads(row["process"])
    row["composition"] = short(row["fractions"], row["process"])
    return row


def number(text: str) -> float:
    """An exact fraction as a number."""
    top, _, bottom = text.partition("/")
    return int(top) / int(bottom or 1)


def short(fractions: dict[str, float], process: Row) -> str:
    """A composition as people say it: ``EC 0.32 DMC 0.43``, settings after a bar."""
    parts = " ".join(f"{name} {f:.4g}" for name, f in fractions.items())
    settings = " ".join(f"{name}={v:.4g}" if isinstance(v, float) else f"{name}={v}" for name, v in process.items())
    return f"{parts} | {settings}" if settings and parts else parts or settings


def progress(path: Place, campaign_id: str) -> Row:
    """The few numbers that a live view needs."""
    rows = ask(
        path,
        "SELECT c.id, c.name, c.state, c.wanted, c.reason, c.created_at, count(e.id) AS planned,"
        " count(CASE WHEN e.state IN ('done', 'failed', 'aborted', 'held') THEN 1 END) AS ended, max(e.ended_at) AS last_ended,"
        " json_extract(c.spec, '$.budget.experiments') AS budget FROM campaign c"
        " LEFT JOIN experiment e ON e.campaign_id = c.id WHERE c.id = ? GROUP BY c.id",
        campaign_id,
    )
    return {**rows[0], "budget": rows[0]["budget"] and int(rows[0]["budget"])}


def tasks(path: Place, *, every: bool = False) -> list[Row]:
    """What people are asked, oldest first; with `every` also what was answered."""
    rows = ask(
        path,
        "SELECT t.id, t.question, t.title, t.instrument, t.samples, t.prompt, t.asked_at, t.state, t.answer, t.answered_by,"
        " t.answered_at, t.job_id AS job, j.step FROM task t JOIN job j ON j.id = t.job_id"
        f" {'' if every else OPEN_TASK} ORDER BY t.asked_at, t.id",
    )
    read = [{**row, **{key: json.loads(row[key]) for key in ("samples", "prompt", "answer")}} for row in rows]
    owners = campaigns_of(path, [id for row in read for id in row["samples"]])
    return [{**row, "campaigns": sorted({owners[id] for id in row["samples"]})} for row in read]


def campaigns_of(path: Place, samples: Sequence[str]) -> dict[str, str]:
    """The campaign of each of these samples: those of a tray may be of several."""
    found: dict[str, str] = {}
    for first in range(0, len(samples), AT_ONCE):
        some = samples[first : first + AT_ONCE]
        rows = ask(
            path,
            "SELECT s.id, e.campaign_id AS campaign FROM sample s JOIN experiment e ON e.id = s.experiment_id"
            f" WHERE s.id IN ({', '.join('?' * len(some))})",
            *some,
        )
        found |= {row["id"]: row["campaign"] for row in rows}
    return found


AT_ONCE = 500  #: values in one question
OPEN_TASK = "WHERE t.state = 'open'"


def instruments(path: Place) -> list[Row]:
    """Registered instruments, the newest row of each name, and who holds them."""
    return ask(
        path,
        "SELECT i.name, i.driver, i.identity, i.site, i.verified_on_hardware, i.origin, l.holder, l.fence,"
        " (SELECT h.mode || ' by ' || h.placed_by || ': ' || h.reason FROM hold h WHERE h.instrument = i.name AND h.state = 'active'"
        "  ORDER BY h.id LIMIT 1) AS hold,"
        " (SELECT count(*) FROM job j WHERE j.instrument_id = i.id) AS jobs,"
        " (SELECT max(valid_to) FROM calibration k WHERE k.instrument_id = i.id) AS calibrated_until"
        " FROM instrument i LEFT JOIN lease l ON l.instrument = i.name"
        " WHERE i.registered_at = (SELECT max(registered_at) FROM instrument o WHERE o.name = i.name) ORDER BY i.name",
    )


def holds(path: Place) -> list[Row]:
    """Instruments that are out, by whom and why."""
    return ask(path, "SELECT id, instrument, mode, placed_by, reason FROM hold WHERE state = 'active' ORDER BY id")


def reference(path: Place, instrument: str) -> Row | None:
    """What an instrument read last of its own reference material, and when; None when it has none."""
    rows = ask(
        path,
        "SELECT j.as_run, j.ended_at FROM job j JOIN instrument i ON i.id = j.instrument_id"
        " WHERE i.name = ? AND j.ended_at IS NOT NULL ORDER BY j.ended_at DESC LIMIT 1",
        instrument,
    )
    checks = json.loads(rows[0]["as_run"]).get("checks") if rows else None
    return {**checks[0], "at": rows[0]["ended_at"]} if checks else None


def candidates(path: Place, campaign_id: str | None = None, *, top: int | None = None) -> list[Row]:
    """Candidates that were measured, best first.

    Replicates of one composition within a campaign are taken together: mean of the good
    values weighted equally, its standard uncertainty, and how many there are.
    """
    ids = [campaign_id] if campaign_id else [row["id"] for row in ask(path, "SELECT id FROM campaign ORDER BY id")]
    found: list[Row] = []
    for id in ids:
        merit = merit_of(path, id)
        rows = [r for r in experiments(path, id) if r["value"] is not None]
        if len(merit.quantities) > 1:
            values = measured(path, id, merit.units)
            for row in rows:
                row["values"] = {q: m for q, m in values.get(row["sample"], {}).items() if q in merit.quantities}
        found += ranked(rows, merit)
    if len(ids) > 1 and len({(r["quantity"], r["unit"], r["direction"]) for r in found}) == 1:
        found.sort(key=lambda r: r["value"], reverse=found[0]["direction"] == "maximize")
    return found[:top]


def ranked(rows: list[Row], merit: Merit) -> list[Row]:
    """One row per composition, best first; what breaks a limit comes last."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["composition"],), []).append(row)
    found = [merged(group, merit) for group in groups.values()]
    plain = [{q: m["value"] for q, m in row["values"].items()} for row in found]
    for row, values, on_front in zip(found, plain, merit.front(plain), strict=True):
        row["front"] = on_front
        row["broken"] = merit.broken(values)
        row["counts"] = merit.counts(values)
    return sorted(found, key=lambda r: (not r["counts"], not r["front"], -merit.worth(r["value"])))


def merged(group: list[Row], merit: Merit) -> Row:
    """Replicates as one row."""
    first, aim = group[0], merit.aims[0]
    values = {q: mean([r["values"][q] for r in group if q in r.get("values", {})]) for q in merit.quantities[1:]}
    deciding = mean([{"value": r["value"], "u": r["u"], "unit": aim.unit} for r in group])
    return {
        **{key: first[key] for key in ("campaign", "composition", "fractions", "process", "origin")},
        "id": first["candidate"],
        "quantity": aim.quantity,
        "direction": aim.direction,
        "value": deciding["value"],
        "u": deciding["u"],
        "unit": aim.unit,
        "n": len(group),
        "samples": [r["sample"] for r in group],
        "distance": merit.distance(deciding["value"]),
        "values": {aim.quantity: deciding, **{q: m for q, m in values.items() if m}},
    }


def mean(values: list[Row]) -> Row:
    """Replicates of one property: mean of the values weighted equally, and its standard uncertainty."""
    n = len(values)
    if not n:
        return {}
    u = sum(m["u"] ** 2 for m in values) ** 0.5 / n
    return {"value": sum(m["value"] for m in values) / n, "u": u, "unit": values[0]["unit"]}


def samples(path: Place) -> list[Row]:
    """All samples."""
    return ask(
        path,
        "SELECT s.id, s.experiment_id AS experiment, e.campaign_id AS campaign, e.state,"
        " CASE WHEN e.started_at IS NULL AND e.state IN ('planned', 'aborted') THEN e.site"
        " ELSE coalesce(e.site, s.site) END AS site, s.batch_mg, s.created_at,"
        " s.origin FROM sample s JOIN experiment e ON e.id = s.experiment_id ORDER BY s.id",
    )


def sample(path: Place, id: str) -> Row:
    """One sample with its compositions, jobs and measurements."""
    row = next(r for r in samples(path) if r["id"] == id)
    compositions = ask(path, "SELECT * FROM composition WHERE sample_id = ? ORDER BY component", id)
    row["intended"] = {c["component"]: c["fraction"] for c in compositions if c["role"] == "intended"}
    row["measured"] = {c["component"]: c["fraction"] for c in compositions if c["role"] == "measured"}
    row["jobs"] = ask(
        path,
        "SELECT j.id, j.run, j.step, i.name AS instrument, j.state, j.fault, j.message, j.started_at, j.ended_at FROM job j"
        " LEFT JOIN instrument i ON i.id = j.instrument_id WHERE j.sample_id = ? ORDER BY j.queued_at, j.run",
        id,
    )
    row["measurements"] = measurements(path, sample_id=id)
    return row


def measurements(path: Place, campaign_id: str | None = None, *, sample_id: str | None = None) -> list[Row]:
    """Measured values."""
    return ask(
        path,
        "SELECT m.id, m.sample_id AS sample, e.campaign_id AS campaign, m.quantity, m.value, m.u, m.unit, m.n, m.method,"
        " m.quality, m.origin, m.taken_at, m.job_id AS job, m.raw_file_id AS raw_file, m.calibration_id AS calibration"
        " FROM measurement m JOIN sample s ON s.id = m.sample_id JOIN experiment e ON e.id = s.experiment_id"
        " WHERE (CAST(? AS TEXT) IS NULL OR e.campaign_id = ?) AND (CAST(? AS TEXT) IS NULL OR m.sample_id = ?) ORDER BY m.id",
        campaign_id,
        campaign_id,
        sample_id,
        sample_id,
    )
