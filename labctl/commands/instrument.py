"""`labctl instrument`."""

from __future__ import annotations

from typing import Annotated

import typer

from labctl.options import Format, LabOption, OutputOption, group, open_lab

app = group("Instruments of the lab: state, capabilities, conformance.")
InstrumentArgument = Annotated[str, typer.Argument(metavar="NAME", help="As in labctl.toml, for example doser-1.")]


@app.command("list", epilog="Example: labctl instrument list")
def list_(lab: LabOption = None, output: OutputOption = Format.table) -> None:
    """Instruments, what each can do, and whether its driver has ever met the real machine."""
    from labctl.columns import INSTRUMENTS
    from labctl.display import instrument_rows
    from labctl.emit import emit

    emit(instrument_rows(open_lab(lab)), INSTRUMENTS, output, kind="instruments", id="name")


@app.command(epilog="Example: labctl instrument show doser-1")
def show(name: InstrumentArgument, lab: LabOption = None, output: OutputOption = Format.table) -> None:
    """One instrument: capabilities with units and hard limits, and whether it answers now."""
    from labctl.checking import instrument_details
    from labctl.columns import INSTRUMENTS
    from labctl.display import instrument_rows, show_instrument
    from labctl.emit import emit

    opened = open_lab(lab)
    details = instrument_details(opened, name)
    listed = next(row for row in instrument_rows(opened) if row["name"] == name)
    row = {**listed, **details, "identity": details["identity"] or listed["identity"]}
    if output is Format.table:
        show_instrument(row)
    else:
        emit([row], INSTRUMENTS, output, kind="instruments", id="name")


ReasonOption = Annotated[str, typer.Option("--reason", help="Why; shown to everybody who waits.")]
ByOption = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who says so; else whoever is logged in.")]


@app.command(epilog='Example: labctl instrument hold doser-1 --reason "needle blocked"')
def hold(name: InstrumentArgument, reason: ReasonOption, by: ByOption = None, lab: LabOption = None) -> None:
    """Give it no new work; what runs there now is finished."""
    from labctl import asking

    made = asking.hold(open_lab(lab), name, "hold", reason, by)
    print(f"{name} is held by {made.placed_by}: {reason}; afterwards: labctl instrument release {name}")


@app.command(epilog='Example: labctl instrument drain furnace-1 --reason "service at noon"')
def drain(name: InstrumentArgument, reason: ReasonOption, by: ByOption = None, lab: LabOption = None) -> None:
    """Give it no new samples; samples that hold another instrument for it may still come."""
    from labctl import asking

    made = asking.hold(open_lab(lab), name, "drain", reason, by)
    print(f"{name} is drained by {made.placed_by}: {reason}; afterwards: labctl instrument release {name}")


@app.command(epilog="Example: labctl instrument release doser-1")
def release(name: InstrumentArgument, by: ByOption = None, lab: LabOption = None) -> None:
    """Let it work again."""
    from labctl import asking

    asking.release(open_lab(lab), name, by)
    print(f"{name} takes work again")


@app.command(epilog="Example: labctl instrument drivers")
def drivers(output: OutputOption = Format.table) -> None:
    """All drivers that are installed, ours and third parties', and whether each ever met the real machine."""
    from dataclasses import asdict

    from instruments.registry import list_drivers
    from labctl.columns import DRIVERS
    from labctl.emit import emit

    emit([asdict(driver) for driver in list_drivers()], DRIVERS, output, kind="drivers", id="name")


@app.command(epilog="Example: labctl instrument test doser-1")
def test(
    name: InstrumentArgument,
    lab: LabOption = None,
    output: OutputOption = Format.table,
    yes: Annotated[bool, typer.Option("--yes", help="Let a real machine run the test's jobs.")] = False,
) -> None:
    """Hold an instrument to the promises that every driver keeps. It runs real jobs."""
    from labctl.checking import test_instrument
    from labctl.columns import PROMISES
    from labctl.emit import emit

    promises = test_instrument(open_lab(lab), name, yes=yes)
    emit(promises, PROMISES, output, kind="promises", id="promise")
    if not all(p["kept"] for p in promises):
        raise typer.Exit(1)
