"""What lists show: their columns, and the rows of those that are made up for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from labctl.emit import Column, figures, moment, value_and_u

if TYPE_CHECKING:
    from campaigns.optimizer import Proposal
    from campaigns.plan import Plan

Row = dict[str, Any]
FOUR = figures(4)
TWO = figures(2)

CAMPAIGNS = [
    Column("id", "id", rank=0),
    Column("name", "name", rank=1),
    Column("standing", "state", rank=0),
    Column("done", "done", right=True, rank=1),
    Column("lost", "lost", right=True, rank=4),
    Column("budget", "budget", right=True, rank=3),
    Column("best", "best", FOUR, right=True, rank=0),
    Column("best_u", "u", TWO, right=True, rank=2),
    Column("unit", "unit", rank=2),
    Column("objective", "objective", rank=5),
    Column("created_at", "started (UTC)", moment, rank=3),
    Column("reason", "reason", rank=2, wrap=True),
    Column("origin", "origin", rank=6),
]
EXPERIMENTS = [
    Column("id", "id", rank=0),
    Column("number", "#", right=True, rank=4),
    Column("sample", "sample", rank=3),
    Column("composition", "composition", rank=1),
    Column("value", "value", FOUR, right=True, rank=0),
    Column("u", "u", TWO, right=True, rank=2),
    Column("unit", "unit", rank=2),
    Column("state", "state", rank=0),
    Column("step", "step", rank=5),
    Column("outcome", "why", rank=6),
    Column("reason", "proposed by", rank=7),
    Column("campaign", "campaign", rank=8),
    Column("origin", "origin", rank=9),
]
CANDIDATES = [
    Column("id", "id", rank=0),
    Column("composition", "composition", rank=0),
    Column("value", "value", FOUR, right=True, rank=0),
    Column("u", "u", TWO, right=True, rank=1),
    Column("unit", "unit", rank=1),
    Column("n", "n", right=True, rank=2),
    Column("front", "front", lambda on: "yes" if on else "", rank=2),
    Column("values", "also measured", lambda values: also(values), rank=3),
    Column("broken", "breaks", lambda broken: "; ".join(broken), rank=2),
    Column("distance", "from target", TWO, right=True, rank=2),
    Column("quantity", "quantity", rank=5),
    Column("campaign", "campaign", rank=4),
    Column("origin", "origin", rank=3),
]
EXPLANATIONS = [
    Column("subject", "subject"),
    Column("reason", "reason"),
    Column("predicted", "predicted"),
    Column("predicted_u", "+-"),
    Column("gain", "gain"),
    Column("chance", "chance"),
    Column("measured", "measured"),
    Column("measured_u", "+-"),
    Column("unit", "unit"),
]
SAMPLES = [
    Column("id", "id", rank=0),
    Column("experiment", "experiment", rank=1),
    Column("campaign", "campaign", rank=1),
    Column("state", "state", rank=0),
    Column("site", "site", rank=3),
    Column("batch_mg", "batch mg", FOUR, right=True, rank=2),
    Column("created_at", "planned (UTC)", moment, rank=2),
    Column("origin", "origin", rank=3),
]
MEASUREMENTS = [
    Column("id", "id", rank=0),
    Column("sample", "sample", rank=0),
    Column("quantity", "quantity", rank=0),
    Column("value", "value", figures(6), right=True, rank=0),
    Column("u", "u", TWO, right=True, rank=1),
    Column("unit", "unit", rank=1),
    Column("n", "n", right=True, rank=3),
    Column("quality", "quality", rank=3),
    Column("method", "method", rank=6),
    Column("origin", "origin", rank=4),
    Column("taken_at", "taken (UTC)", moment, rank=5),
    Column("calibration", "calibration", rank=7),
    Column("job", "job", rank=8),
    Column("raw_file", "raw file", rank=9),
]
QUEUE = [
    Column("run", "run", rank=2),
    Column("sample", "sample", rank=0),
    Column("site", "site", rank=2),
    Column("instrument", "instrument", rank=0),
    Column("step", "step", rank=1),
    Column("state", "state", rank=0),
    Column("queued_at", "since (UTC)", moment, rank=4),
    Column("campaign", "campaign", rank=3),
    Column("reason", "reason", rank=0, wrap=True),
]
QUEUE_OF_ONE_SITE = [column for column in QUEUE if column.key != "site"]
TASKS = [
    Column("id", "task", rank=0),
    Column("title", "what", rank=0, wrap=True),
    Column("instrument", "where", rank=1),
    Column("samples", "samples", ", ".join, rank=2),
    Column("asked_at", "since (UTC)", moment, rank=2),
    Column("state", "state", rank=1),
    Column("question", "question", rank=3),
    Column("answered_by", "by", rank=2),
    Column("answered_at", "answered (UTC)", moment, rank=4),
    Column("campaigns", "campaign", ", ".join, rank=3),
]
INSTRUMENTS = [
    Column("name", "name", rank=0),
    Column("driver", "driver", rank=1),
    Column("does", "does", rank=2),
    Column("hardware", "driver met hardware", rank=0),
    Column("holder", "busy with", rank=1),
    Column("hold", "on hold", rank=0, wrap=True),
    Column("calibrated_until", "calibrated until", lambda t: str(t)[:10], rank=3),
    Column("identity", "identity", rank=4),
    Column("jobs", "jobs", right=True, rank=4),
]
DRIVERS = [
    Column("name", "name", rank=0),
    Column("verified_on_hardware", "met hardware", lambda v: "yes" if v else "never", rank=0),
    Column("distribution", "package", rank=1),
    Column("version", "version", rank=2),
    Column("summary", "does", rank=1),
]
PROMISES = [
    Column("kept", "kept", lambda k: "yes" if k else "NO", rank=0),
    Column("promise", "promise", rank=0),
    Column("detail", "detail", wrap=True),
]
WORKERS = [
    Column("host", "host", rank=0),
    Column("state", "state", rank=0),
    Column("control", "control", lambda yes: "yes" if yes else "", rank=2),
    Column("beat_s", "last beat (s)", right=True, rank=1),
    Column("machine", "machine", rank=1),
    Column("pid", "pid", right=True, rank=2),
    Column("version", "labctl", rank=3),
    Column("instruments", "instruments", ", ".join, rank=2),
    Column("holds", "holds", ", ".join, rank=1),
]
FINDINGS = [
    Column("state", "state", rank=0),
    Column("check", "check", rank=0),
    Column("found", "found", rank=0, wrap=True),
    Column("remedy", "try", wrap=True),
]
EVENTS = [
    Column("seq", "seq", right=True, rank=0),
    Column("at", "at (UTC)", moment, rank=1),
    Column("actor", "who", rank=1),
    Column("type", "what", rank=0),
    Column("subject", "about", lambda s: str(s)[:24], rank=0),
    Column("payload", "content", rank=5),
]
REPLAYS = [
    Column("method", "method", rank=0),
    Column("top", "top 5 %", figures(2), right=True, rank=0),
    Column("top_se", "+-", figures(1), right=True, rank=1),
    Column("until_top_1pct", "to top 1 %", right=True, rank=0),
    Column("until_best", "to best", right=True, rank=0),
    Column("found_best", "found best", figures(2), right=True, rank=1),
    Column("found_best_se", "+-", figures(1), right=True, rank=3),
    Column("acceleration", "x faster", right=True, rank=2),
    Column("cpu_ms", "CPU ms", figures(3), right=True, rank=3),
    Column("seeds", "seeds", right=True, rank=4),
    Column("budget", "budget", right=True, rank=5),
]
MANY_REPLAYS = [c for c in REPLAYS if c.key not in ("until_top_1pct", "until_best", "found_best", "found_best_se")]
FRONT_REPLAYS = [
    Column("method", "method", rank=0),
    Column("volume", "volume", figures(3), right=True, rank=0),
    Column("volume_se", "+-", figures(1), right=True, rank=1),
    Column("until_90pct", "to 90 %", right=True, rank=0),
    *REPLAYS[-3:],
]
TARGET_REPLAYS = [
    Column("method", "method", rank=0),
    Column("until_hit", "to hit", right=True, rank=0),
    Column("hit", "hit", figures(2), right=True, rank=1),
    Column("distance", "distance", figures(3), right=True, rank=0),
    Column("distance_se", "+-", figures(1), right=True, rank=1),
    *REPLAYS[-3:],
]
MAP_REPLAYS = [
    Column("method", "method", rank=0),
    Column("error", "error", figures(3), right=True, rank=0),
    Column("error_se", "+-", figures(1), right=True, rank=1),
    *REPLAYS[-3:],
]


def replay_columns(data: Row) -> list[Column]:
    """Columns for a replay, by what is counted."""
    by = {"hypervolume": FRONT_REPLAYS, "distance": TARGET_REPLAYS, "map error": MAP_REPLAYS}
    return by.get(data["scored_by"], MANY_REPLAYS if data["goal"] == "many" else REPLAYS)


TRACED = (
    "sample_id", "id", "quantity", "value", "u", "unit", "n", "quality", "method", "taken_at", "origin", "job_id", "run",
    "instrument", "calibration_id", "uncalibrated_reason", "raw_file_id", "no_raw_reason", "lots", "recipe", "candidate", "campaign",
)  # fmt: skip
TRACES = [Column(key, key, rank=0) for key in TRACED]  #: of the values of one sample, as `trace -o csv` gives them


def also(values: Mapping[str, Row]) -> str:
    """Properties beside the deciding one, which comes first."""
    return ", ".join(f"{q} {value_and_u(m['value'], m['u'], m['unit'])}" for q, m in list(values.items())[1:])


def candidate_columns(rows: Sequence[Row]) -> list[Column]:
    """Columns for candidates; those of several objectives, limits and targets only where there are any."""
    special = {"front", "values", "broken", "distance"}
    told = {key for row in rows for key in special if row.get(key) not in (None, False, []) and key != "values"}
    told |= {"values"} if any(len(row["values"]) > 1 for row in rows) else set()
    return [c for c in CANDIDATES if c.key not in special - told]


def suggestion_rows(plan: Plan, proposals: Sequence[Proposal]) -> list[Row]:
    """Proposals as rows: a column for every component and setting."""
    names = plan.space.composition.names if plan.space.composition else ()
    return [
        {
            "number": i,
            **{name: float(p.candidate.fractions.get(name, 0)) for name in names},
            **p.candidate.process,
            "predicted": p.predicted,
            "predicted_u": p.predicted_u,
            "gain": p.gain,
            **{f"predicted_{q}": m.value for q, m in p.others.items()},
            **{f"predicted_u_{q}": m.u for q, m in p.others.items()},
            "chance": p.chance,
            "reason": p.reason,
        }
        for i, p in enumerate(proposals, start=1)
    ]


def suggestion_columns(plan: Plan) -> list[Column]:
    """Columns for proposals."""
    unit = plan.objective.unit
    further = {q: u for q, u in plan.spec.measured_units.items() if q != plan.objective.quantity}
    return [
        Column("number", "#", right=True, rank=0),
        *(Column(name, name, figures(6), right=True, rank=0) for name in plan.space.names),
        Column("predicted", f"predicted {unit}".strip(), FOUR, right=True, rank=1),
        Column("predicted_u", "u", TWO, right=True, rank=2),
        Column("gain", "gain", TWO, right=True, rank=3),
        *(
            column
            for q, of in further.items()
            for column in (
                Column(f"predicted_{q}", f"{q} {of}".strip(), FOUR, right=True, rank=2),
                Column(f"predicted_u_{q}", f"u({q})", TWO, right=True, rank=4),
            )
        ),
        Column("chance", "can be made", TWO, right=True, rank=3),
        Column("reason", "why", rank=2),
    ]


def export_rows(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Candidates with every component and setting in a field of its own; what was left out has the fraction 0."""
    keys = ("id", "campaign", "quantity", "value", "u", "unit", "n", "origin")
    several = any(len(r["values"]) > 1 for r in rows)
    components: dict[str, dict[str, float]] = {}
    for r in rows:
        components.setdefault(r["campaign"], {}).update(dict.fromkeys(r["fractions"], 0.0))
    return [
        {
            **{k: r[k] for k in keys},
            **(further_fields(r) if several else {}),
            **components[r["campaign"]],
            **r["fractions"],
            **r["process"],
            "samples": " ".join(r["samples"]),
        }
        for r in rows
    ]


def further_fields(row: Mapping[str, Any]) -> Row:
    """What a candidate has beside the deciding property."""
    found: Row = {}
    for name, m in list(row["values"].items())[1:]:
        found |= {name: m["value"], f"u({name})": m["u"], f"unit({name})": m["unit"]}
    return {**found, "front": row["front"], "broken": "; ".join(row["broken"])}


def export_columns(rows: Sequence[Row]) -> list[Column]:
    """All fields that any candidate has."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return [Column(key, key) for key in keys] or [Column("id", "id")]
