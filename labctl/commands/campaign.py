"""`labctl campaign`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.options import CampaignArgument, Format, LabOption, OutputOption, database, group, lab_folder, open_lab

if TYPE_CHECKING:
    from labctl.wiring import Lab

app = group("Launch campaigns, follow them, pause and resume them.")
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The campaign file.")]
MOMENTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing while it runs.")]


@app.command(epilog="Example: labctl campaign validate campaigns/conductivity.toml")
def validate(file: FileArgument, lab: LabOption = None) -> None:
    """Check a campaign file, alone and against the lab. Starts nothing."""
    from labctl import campaigning
    from labctl.display import say, say_notes
    from labctl.errors import short_path

    spec, _ = campaigning.validate(open_lab(lab), file)
    say_notes(spec.notes)
    say(f"{short_path(file)} is sound: {campaigning.in_words(spec)}")


@app.command(epilog="Example: labctl campaign run campaigns/conductivity.toml")
def run(
    file: FileArgument,
    lab: LabOption = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="A new campaign, even if one from this file is unfinished.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and do nothing.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Run a campaign, or go on with the unfinished one that was started from the same file."""
    from labctl import campaigning, live, session
    from materials_db import glance

    if dry_run:
        print(campaigning.dry_run(open_lab(lab), file))
        return
    say_if_stopped(lab)
    ours = session.run_campaign(lab_folder(lab), file, fresh=fresh)
    for other in glance.namesakes(ours.lab.glance_path, ours.campaign_id):
        print(
            f"note: {other}, of the same name, is not finished and goes on too; else: labctl campaign stop {other}",
            file=sys.stderr,
        )
    live.follow(ours, quiet=quiet)


def say_if_stopped(lab: Path | None) -> None:
    """Why nothing will begin, before the table that shows it."""
    from labctl import stop_flag

    if stop_flag.stopped(lab_folder(lab), database(lab)):
        print(f"note: {stop_flag.NOTHING_BEGINS}", file=sys.stderr)


@app.command(epilog="Example: labctl campaign resume C-0001")
def resume(campaign: CampaignArgument, lab: LabOption = None, quiet: QuietOption = False) -> None:
    """Go on with a campaign that was paused, or whose worker died."""
    from labctl import live, session
    from materials_db import glance

    id = glance.resolve(database(lab), "C", campaign)
    say_if_stopped(lab)
    live.follow(session.request(lab_folder(lab), id, "run"), quiet=quiet)


@app.command(epilog="Example: labctl campaign pause C-0001")
def pause(campaign: CampaignArgument, lab: LabOption = None) -> None:
    """Start nothing new; experiments under way are finished first, as samples may spoil half-way. Says until when."""
    from labctl.campaigning import pausing

    request(campaign, lab, "pause", lambda lab, name: f"{pausing(lab, name)} Later: labctl campaign resume {name}")


@app.command(epilog="Example: labctl campaign stop C-0001")
def stop(campaign: CampaignArgument, lab: LabOption = None) -> None:
    """End the campaign after the jobs that are running now."""
    words = "stops after the jobs that are running now; see: labctl campaign show"
    request(campaign, lab, "stop", lambda _, name: f"{name} {words} {name}")


@app.command(epilog="Example: labctl campaign abort C-0001")
def abort(campaign: CampaignArgument, lab: LabOption = None) -> None:
    """End the campaign now: running jobs are broken off, what they have measured is kept."""
    words = "is being aborted: running jobs are broken off, a tray that others share goes on; see: labctl campaign show"
    request(campaign, lab, "abort", lambda _, name: f"{name} {words} {name}")


@app.command(epilog="Example: labctl campaign priority C-0001 5", context_settings={"ignore_unknown_options": True})
def priority(
    campaign: CampaignArgument,
    level: Annotated[
        int, typer.Argument(metavar="LEVEL", min=-100, max=100, help="The higher, the earlier; 0 is usual.")
    ],
    lab: LabOption = None,
) -> None:
    """Serve a campaign earlier or later than others. Waiting raises everybody, so nobody starves."""
    from labctl import campaigning
    from materials_db import glance

    id = glance.resolve(database(lab), "C", campaign)
    campaigning.reschedule(open_lab(lab), id, priority=level)
    print(f"{id} has priority {level}")


@app.command(epilog="Example: labctl campaign due C-0001 2026-12-24")
def due(
    campaign: CampaignArgument,
    when: Annotated[
        datetime,
        typer.Argument(metavar="WHEN", formats=MOMENTS, help="Day, or moment, in UTC: 2026-12-24 or 2026-12-24T18:00."),
    ],
    lab: LabOption = None,
) -> None:
    """Say when a campaign is due: of those with the same priority the earlier is served first."""
    from labctl import campaigning
    from materials_db import glance

    id = glance.resolve(database(lab), "C", campaign)
    campaigning.reschedule(open_lab(lab), id, due_at=when.replace(tzinfo=UTC))
    print(f"{id} is due {when:%Y-%m-%d %H:%M} UTC")


def request(campaign: str, lab: Path | None, wanted: str, words: Callable[[Lab, str], str]) -> None:
    """Write down what is wanted, say so, and see to it if nobody else does."""
    from labctl import session
    from labctl.errors import StoppedError
    from materials_db import glance

    id = glance.resolve(database(lab), "C", campaign)
    ours = session.request(lab_folder(lab), id, wanted)
    print(words(ours.lab, id), flush=True)  # it may take days from here
    try:
        ours.see_to_it()
    except KeyboardInterrupt:
        ours.leave()
        raise StoppedError(f"stopped now; {id} was to {wanted}", hint=f"labctl campaign {wanted} {id}") from None


@app.command("list", epilog="Example: labctl campaign list -o json")
def list_(lab: LabOption = None, output: OutputOption = Format.table) -> None:
    """All campaigns."""
    from labctl.columns import CAMPAIGNS
    from labctl.emit import emit
    from materials_db import glance

    emit(glance.campaigns(database(lab)), CAMPAIGNS, output, kind="campaigns")


@app.command(epilog="Example: labctl campaign show last")
def show(campaign: CampaignArgument, lab: LabOption = None, output: OutputOption = Format.table) -> None:
    """One campaign: state, best so far, budget, and how it converges."""
    from labctl.columns import CAMPAIGNS
    from labctl.display import show_campaign
    from labctl.emit import emit
    from materials_db import glance

    path = database(lab)
    id = glance.resolve(path, "C", campaign)
    row = glance.campaign(path, id)
    if output is not Format.table:
        emit([row], CAMPAIGNS, output, kind="campaigns")
    else:
        from labctl.campaigning import spent
        from labctl.explaining import what_the_model_says

        experiments = glance.experiments(path, id)
        samples = {e["number"]: e["sample"] for e in experiments}
        says = what_the_model_says(open_lab(lab), id, samples) if row["done"] else []
        show_campaign(row, experiments, glance.candidates(path, id), says, spent(open_lab(lab), id))


@app.command(epilog="Example: labctl campaign report C-0001")
def report(
    campaign: CampaignArgument,
    lab: LabOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the report; else reports/ in the lab.")] = None,
) -> None:
    """Write one self-contained HTML file about a campaign."""
    from labctl.errors import short_path
    from labctl.explaining import sentence
    from labctl.optimizers import learned, outliers, outlook
    from labctl.report.html import write_report
    from materials_db import glance

    id = glance.resolve(database(lab), "C", campaign)
    opened = open_lab(lab)
    known = learned(opened.store, id)
    doubted, left = (outliers(*known), outlook(*known)) if known else ({}, None)
    words = sentence(left, known[0].objective.unit) if left and known else ""
    with opened.store.transaction() as tx:
        path = write_report(tx, id, out or opened.folder / "reports", doubted, words)
    print(f"wrote {short_path(path)}")
