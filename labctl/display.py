"""How each thing looks in the terminal: the pages of `show`."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, TextIO

from labctl.cleaning import clean
from labctl.columns import Row, also
from labctl.emit import moment, value_and_u

if TYPE_CHECKING:
    from campaigns.optimizer import Outlook
    from campaigns.quality import Quality
    from labctl.wiring import Lab
    from materials_db import records as db
    from materials_db.trace import Trace

LEAD = re.compile(r"[|`\- ]*(?:\S+ {2,})?")  #: what stands before the words of a line: branches of a tree, a label
WHAT_FRONTS_SAY = (
    "volume   hypervolume of the front found, as a share of the data's own: mean over seeds, standard error",
    "to 90 %  median experiments until 90 % of it",
)
WHAT_TARGETS_SAY = (
    "to hit    median experiments until one inside the band; without a band, or with nothing inside, the nearest there is",
    "hit       share of the runs that got there",
    "distance  smallest distance to what is wanted: mean over seeds, standard error",
)
WHAT_MAPS_SAY = (
    "error  of the prediction over all rows, root mean square: mean over seeds, standard error",
    "       each with its own model; random rows with the model of the default optimizer",
)
WHAT_REPLAYS_SAY = (
    "top 5 %     share of the attainable best 5 % found: mean over seeds, standard error",
    "to top 1 %  median experiments until one of the best 1 %; to best: until the best",
    "x faster    random picks would need so many times more for as many good ones",
)
WHAT_IS_COUNTED = {
    "hypervolume": (WHAT_FRONTS_SAY, "share of the volume"),
    "distance": (WHAT_TARGETS_SAY, "smallest distance"),
    "map error": (WHAT_MAPS_SAY, "error of the map"),
}


def say(text: str = "", out: TextIO | None = None) -> None:
    """A line for people; on a terminal that is too narrow it goes on below where its words begin."""
    out = out or sys.stdout
    text, width = clean(text), shutil.get_terminal_size().columns
    if out.isatty() and len(text) > width and (lead := LEAD.match(text)) is not None:
        below = re.sub(r"[^|]", " ", lead[0])
        text = textwrap.fill(text, width, subsequent_indent=below, break_long_words=False, break_on_hyphens=False)
    print(text, file=out)


def show_campaign(
    row: Row,
    experiments: Sequence[Row],
    candidates: Sequence[Row] = (),
    says: Sequence[str] = (),
    spent: Sequence[str] = (),
) -> None:
    """The page of one campaign, with what its model says, what it spent, and its convergence."""
    say(f"{row['id']} {row['name']}   {row['standing']}" + (f": {row['reason']}" if row["reason"] else ""))
    if move := next_move(row):
        say(f"  next        {move}")
    show_wanted(row)
    total = f" of {row['budget']}" if row["budget"] else ""
    say(f"  experiments {row['done']} done, {row['lost']} lost{total}   seed {row['seed']}   by {row['created_by']}")
    say(f"  lab time    {moment(row['created_at'])} to {moment(row['ended_at'] or '...')} UTC{urgency(row)}")
    if spent:
        say(f"  budget      {', '.join(spent)} used or promised")
    best = next((e for e in experiments if e["sample"] == row["best_sample"]), None)
    if best is None:
        measured = any(e["value"] is not None for e in experiments)
        say(f"  best        {'nothing keeps all limits yet' if measured else 'nothing measured yet'}")
        return
    say(f"  best        {value_and_u(row['best'], row['best_u'], row['unit'])}   {best['sample']} (#{best['number']})")
    say(f"              {best['composition']}")
    if row["best_distance"] is not None:
        say(f"  distance    {row['best_distance']:.3g} {row['unit']} from {row['aimed_at']} {row['unit']}")
    show_front(candidates)
    for line in says:
        say(f"  {line}")
    if row["origin"] == "simulated":
        say("  origin      SIMULATED: no real machine was involved")
    show_convergence(row, experiments)


def next_move(row: Row) -> str:
    """What a person may do so that a campaign goes on that rests for want of stock."""
    stock = re.match(r"stock of (\S+): ", row["reason"] or "") if row["state"] == "paused" else None
    if stock is None:
        return ""
    return f"state the new bottle and its lot in [stock.{stock[1]}] of labctl.toml, then: labctl campaign resume {row['id']}"


def urgency(row: Row) -> str:
    """When it is due and with what priority, where somebody has said so."""
    due = f"   due {moment(row['due_at'])} UTC" if row["due_at"] else ""
    return due + (f"   priority {row['priority']}" if row["priority"] else "")


def show_wanted(row: Row) -> None:
    """Goal, objectives, target and limits."""
    target = f", target {row['target']:g}" if row["target"] is not None and row["goal"] != "target" else ""
    say(f"  objective   {row['objective']} [{' and '.join(row['units'])}]{target}")
    say(f"  goal        {GOALS[row['goal']]}")
    if row["limits"]:
        say(f"  limits      {'; '.join(row['limits'])}")


GOALS = {
    "best": "best: find the single best",
    "many": "many: collect all good ones",
    "target": "target: hit a value or a range",
    "map": "map: learn the whole landscape",
}


def show_front(candidates: Sequence[Row]) -> None:
    """The Pareto front, and how many candidates break a limit."""
    front = [c for c in candidates if c["front"]]
    if front:
        say(f"  front       {len(front)} of {len(candidates)} candidates; no other is better in every objective")
    for c in front[:SHOWN_OF_FRONT]:
        first = next(iter(c["values"]))
        say(f"              {c['id']}  {first} {value_and_u(c['value'], c['u'], c['unit'])}, {also(c['values'])}")
    if len(front) > SHOWN_OF_FRONT:
        say(f"              and {len(front) - SHOWN_OF_FRONT} more: labctl candidate list -c {front[0]['campaign']}")
    broken = sum(bool(c["broken"]) for c in candidates)
    if broken:
        say(f"  broken      {broken} of {len(candidates)} candidates break a limit")


SHOWN_OF_FRONT = 10


def show_convergence(row: Row, experiments: Sequence[Row]) -> None:
    """How it went, as a plot: the values, or how far they were from what is aimed at."""
    values = [(e["number"], e["value"]) for e in experiments if e["value"] is not None]
    if len(values) < 2:
        return
    from labctl.report.terminal import convergence

    direction, label = row["direction"], f"{row['quantity']} [{row['unit']}]"
    if row["goal"] == "target":
        low, high = row["band"] or (row["target"], row["target"])
        values = [(n, max(low - v, v - high, 0.0)) for n, v in values]
        direction, label = "minimize", f"distance of {row['quantity']} from {row['aimed_at']} [{row['unit']}]"
    print(convergence(values, direction, label, color=sys.stdout.isatty()))


UNCLAIMED = "no site yet"  #: where a sample is that nobody has begun


def show_sample(row: Row) -> None:
    """The page of one sample."""
    where = row["site"] or UNCLAIMED
    head = f"{row['id']}   {row['experiment']} of {row['campaign']}   {row['state']}   {row['batch_mg']:g} mg"
    say(f"{head}   {where}   {row['origin']}")
    say("  component    intended    measured")
    for name, intended in row["intended"].items():
        weighed = row["measured"].get(name)
        say(f"  {name:<10} {intended:>10.4f}  {'' if weighed is None else f'{weighed:>10.5f}'}")
    say("  jobs")
    for job in row["jobs"]:
        said = ": ".join(filter(None, [job["fault"], job["message"]]))
        why = f"  {said}" if job["fault"] or job["state"] == "aborted" else ""
        say(
            f"    {job['run']}  {job['step']:<12} {job['instrument'] or '-':<14} {job['state']:<8} {moment(job['ended_at'] or '')}{why}"
        )
    say("  measurements")
    for m in row["measurements"]:
        say(
            f"    {m['id']}  {m['quantity']:<20} {value_and_u(m['value'], m['u'], m['unit'])}  n={m['n']}  {m['quality']}"
        )


def show_task(row: Row) -> None:
    """The page of one task: what to do, and what to type afterwards."""
    say(
        f"{row['id']}   {row['title']}   {row['state']}   asked {moment(row['asked_at'])} UTC   {', '.join(row['campaigns'])}"
    )
    say(f"  {row['prompt']['text']}")
    for field in row["prompt"].get("fields", []):
        say(f"  read off {field['name']} in {field['unit']}, {field['low']:g} to {field['high']:g}")
    if row["state"] == "withdrawn":
        say("  withdrawn: nothing is asked any more")
        return
    if row["state"] != "open":
        say(f"  answered by {row['answered_by']} {moment(row['answered_at'] or '')}: {'; '.join(answer_words(row))}")
        return
    samples = " ".join(["--sample LABEL"] * len(row["samples"]))  # to be read off the sample, not off this page
    values = "".join(f" --value {f['name']}=NUMBER" for f in row["prompt"].get("fields", []))
    if row["question"] == "in_doubt":
        say(f"  it happened:       labctl task done {row['id']} {samples} --happened")
        say(f"  it never began:    labctl task done {row['id']} {samples} --not-started")
    elif row["question"] == "parked":
        say(f"  try again:         labctl task done {row['id']} {samples}")
    else:
        say(f"  when it is done:   labctl task done {row['id']} {samples}{values}")
    say(f'  if it went wrong:  labctl task fail {row["id"]} {samples} --reason "..."')


def answer_words(row: Row) -> list[str]:
    """What a person said of a task."""
    answer, units = row["answer"], {f["name"]: f["unit"] for f in row["prompt"].get("fields", [])}
    happened = {True: ["it happened"], False: ["it never began"]}.get(answer.get("happened"), [])
    values = [f"{name} = {value:g} {units.get(name, '')}".rstrip() for name, value in answer.get("values", {}).items()]
    lost = [f"{sample} is lost: {why}" for sample, why in answer.get("lost", {}).items()]
    return [*(happened or [row["state"]]), *values, *lost, *([answer["note"]] if answer.get("note") else [])]


def quality_of(m: db.Measurement) -> str:
    """Its quality; what is not good says why."""
    return m.quality + (f": {m.quality_note}" if m.quality_note else "")


def show_trace(t: Trace) -> None:
    """The whole line behind a sample, as a tree."""
    say(f"{t.sample.id}  {t.sample.batch_mg:g} mg at {t.site or UNCLAIMED}, {t.sample.origin}")
    for m in t.measurements:
        say(
            f"|- measurement {m.id}: {m.quantity} = {value_and_u(m.value, m.u, m.unit)} (n={m.n}, {quality_of(m)}, {m.method})"
        )
        raw = t.raw_files.get(m.raw_file_id or "")
        say(
            f"|   |- raw file {raw.name} sha256 {raw.id[:16]} ({raw.size} bytes)"
            if raw
            else f"|   |- no raw file: {m.no_raw_reason}"
        )
        job = next(j for j in t.jobs if j.id == m.job_id)
        instrument = t.instruments.get(job.instrument_id or "")
        say(f"|   |- job {job.run} {job.id} ({job.capability}), run {job.device_run_id} of the device")
        if instrument:
            say(f"|   |- instrument {instrument.name}: {instrument.identity}, driver {instrument.driver}")
        calibration = t.calibrations.get(m.calibration_id or "")
        say(
            f"|   `- calibration {calibration.id}: {calibration.certificate}, valid to {calibration.valid_to:%Y-%m-%d}"
            if calibration
            else f"|   `- calibration: {m.uncalibrated_reason}"
        )
    for job in t.jobs:
        for id in job.as_run.get("partial", ()):
            raw = t.raw_files[id]
            say(
                f"|- raw file {raw.name} sha256 {raw.id[:16]} ({raw.size} bytes), partial: aborted, no value is drawn from it"
            )
            say(f"|   `- job {job.run} {job.id} ({job.capability}), run {job.device_run_id} of the device")
    made = next((j for j in t.jobs if t.ingredients and j.id == t.ingredients[0].job_id), None)
    if made:
        where = t.instruments[made.instrument_id or ""].name if made.instrument_id else "-"
        say(f"|- made by job {made.run} {made.id} on {where}")
    for i in t.ingredients:
        lot = t.lots[i.lot_id]
        say(
            f"|   |- {lot.component}: {i.weighed_mg:.2f} mg weighed ({i.intended_mg:.2f} asked, u {i.u_mg:.2g}),"
            f" lot {lot.id} {lot.supplier} {lot.supplier_lot}"
        )
    for part in [c for c in t.compositions if c.role == "measured"]:
        say(f"|   |- measured {part.component} {part.fraction:.5f} ({part.basis} fraction, u {part.u or 0:.1g})")
    show_other_jobs(t, {made.id if made else "", *(m.job_id for m in t.measurements)})
    say(f"|- recipe {t.recipe.id[:16]}: {', '.join(s['name'] for s in t.recipe.steps)}")
    c = t.candidate
    said = f", predicted {value_and_u(c.predicted, c.predicted_u)}" if c.predicted is not None else ""
    say(f"|- candidate {c.id} by {c.optimizer}: {c.origin_of_proposal}{said}")
    say(f"|   `- decided on history {c.history_sha256[:16]}")
    k = t.campaign
    say(f"`- campaign {k.id} {k.name}, seed {k.seed}, file sha256 {k.file_sha256[:16]}, by {k.created_by}, {k.origin}")
    for problem in t.problems:
        say(f"!! {problem}")


def say_notes(notes: Sequence[str]) -> None:
    """How a table was understood, for people."""
    for note in notes:
        print(clean(f"note: {note}"), file=sys.stderr)


def show_other_jobs(t: Trace, shown: Collection[str]) -> None:
    """What was done, or failed, without a value of its own; and why a sample has none."""
    for job in sorted((j for j in t.jobs if j.id not in shown), key=lambda j: (len(j.run), j.run)):
        where = f" on {t.instruments[job.instrument_id].name}" if job.instrument_id else ""
        why = ": ".join(w for w in (job.fault, job.message) if w)
        say(f"|- job {job.run} {job.id}{where}: {job.state}" + (f" ({why})" if why else ""))
    if t.experiment.outcome:
        say(f"|- experiment {t.experiment.id}: {t.experiment.state} ({t.experiment.outcome})")


def instrument_rows(lab: Lab) -> list[Row]:
    """Instruments of the lab file, with what the database knows of them."""
    from instruments import registry
    from materials_db import glance
    from materials_db.looking import there

    seen = {r["name"]: r for r in glance.instruments(lab.glance_path)} if there(lab.glance_path) else {}
    rows = []
    for name, section in lab.file.instruments.items():
        verified = registry.driver_class(section.driver).verified_on_hardware
        capabilities = registry.capabilities(section.driver, dict(section.limits))
        known = seen.get(name, {})
        rows.append(
            {
                "name": name,
                "driver": section.driver,
                "does": ", ".join(c.name for c in capabilities),
                "verified_on_hardware": verified,
                "hardware": "yes" if verified else "never",
                "simulated": lab.file.lab.simulated,
                **{key: known.get(key) for key in ("holder", "hold", "calibrated_until", "identity", "jobs")},
            }
        )
    return rows


RECOVERIES = {
    "query_by_job_id": "it is asked by the job's id",
    "fingerprint": "its act is known again by what was asked of it",
    "counter": "its act is known again by its count of runs",
    "none": "a person is asked what happened",
}
ABORTS = {
    "immediate": "an abort stops it at once",
    "safe_point": "an abort stops it at the next safe point",
    "none": "a run that has begun can't be aborted",
}


def show_instrument(row: Row) -> None:
    """The page of one instrument."""
    say(f"{row['name']}   {row['driver']}   {row['mode']}" + (f": {row['message']}" if row["message"] else ""))
    say(f"  identity   {row['identity'] or '-'}")
    say(
        f"  driver     {row['distribution']}; it has {'' if row['verified_on_hardware'] else 'never '}met the real machine"
    )
    if check := row["reference"]:
        read = value_and_u(check["value"], check["u"], check["unit"])
        away = f"{abs(check['zeta']):.1f} standard uncertainties from its certified value"
        say(f"  reference  {check['reference']}: {read}, {away}, {moment(check['at'])}")
    for capability in row["capabilities"]:
        say(f"  does       {capability['name']}: {capability['summary']}")
        if capability["consumes"]:
            say(f"             uses up {', '.join(capability['consumes'])}")
        say(f"             after a crash {RECOVERIES[capability['recover']]}; {ABORTS[capability['abort']]}")
        for p in capability["parameters"]:
            say(
                f"             {p['key']:<16} {p['low']:g} to {p['high']:g} {'' if p['unit'] == '1' else p['unit']}".rstrip()
            )


def censored(row: Row) -> Row:
    """Figures of a replay for people: what was not reached within the budget says so."""
    never = f"> {row['budget']}"
    shown = {key: never if row[key] is None else f"{row[key]:g}" for key in row if key.startswith("until")}
    if "acceleration" in row:
        shown["acceleration"] = "-" if row["acceleration"] is None else f"{row['acceleration']:.2g}"
    return {**row, **shown}


def show_replay(rows: Sequence[Row], heading: str, about: Row) -> None:
    """What the columns mean, and the way there as a plot; nothing in a pipe."""
    if not sys.stdout.isatty():
        return
    from labctl.report.terminal import curves

    words, label = WHAT_IS_COUNTED.get(rows[0]["scored_by"], (WHAT_REPLAYS_SAY, "top 5 % found"))
    if about["goal"] == "many":
        words = (WHAT_REPLAYS_SAY[0], WHAT_REPLAYS_SAY[-1])
    for text in (heading, *words):
        say(text)
    series = {row["method"]: row["curve"] for row in rows}
    say()
    print(curves(series, label, "experiments", at=rows[0].get("at"), width=plot_width(), color=True))


def show_quality(quality: Quality | None, unit: str, left: Outlook | None = None) -> None:
    """How good the model is; on stderr when stdout is a pipe."""
    if quality is None:
        return
    out = sys.stdout if sys.stdout.isatty() else sys.stderr
    explained = "" if quality.explained is None else f", {quality.explained:.0%} of the variance explained"
    inside = ", ".join(f"{share:.0%} within the {stated:.0%} interval" for stated, share in quality.inside.items())
    lines = [
        f"model quality: {quality.count} values, each predicted without itself",
        f"  error    {quality.error:.3g} {unit}".rstrip() + f" (values scatter by {quality.spread:.3g}){explained}",
        f"  doubt    {inside}",
    ]
    if left is not None:
        from labctl.explaining import sentence

        lines.append(f"  left     {sentence(left, unit)}")
    for line in lines:
        say(line, out)
    if sys.stdout.isatty():
        from labctl.report.terminal import scatter

        label = "predicted without itself"
        print(scatter(quality.measured, quality.predicted, f"measured {unit}".rstrip(), label, width=plot_width()))


def show_explanation(lines: Sequence[str], row: Row) -> None:
    """Why a candidate: sentences, then the slice through what matters most."""
    tty = sys.stdout.isatty()
    for line in lines:
        say(line)
    matters = next(iter(row["importance"]))
    one = next(s for s in row["slices"] if s["name"] == matters)
    if tty and not isinstance(one["here"], str):
        from labctl.report.terminal import slice_plot

        label = f"{row['quantity']} [{row['unit']}]"
        print(slice_plot(one["at"], one["mean"], one["sd"], one["here"], one["label"], label, width=plot_width()))
        print("    line: predicted; dots: two standard deviations around it; X: this candidate")


def plot_width() -> int:
    """Columns for a plot that fits the terminal."""
    return min(76, shutil.get_terminal_size().columns - 2)
