"""What a worker writes down before it begins: which machines answer, their calibrations, the bottles on the shelf."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Container, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from instruments.contract import Health, Mode, machine
from labctl.errors import NoContactError, SimulationError, SwappedError
from materials_db import records as db

if TYPE_CHECKING:
    from instruments.host import Host
    from labctl.labfile import LabFile
    from labctl.wiring import Lab
    from materials_db.store import Transaction

ACTOR = "labctl"
SIMULATION = "labctl simulation,"  #: how the identity of a simulated machine begins
TRIES = 3  #: questions to an instrument before it counts as silent


async def reach(hosts: Mapping[str, Host]) -> dict[str, str]:
    """Identity of every instrument, by name.

    Raises
    ------
    NoContactError
        Naming every instrument that does not answer, and why.
    """
    identities, silent = await ask_all(hosts)
    if silent:
        raise NoContactError(silent)
    return identities


async def ask_all(hosts: Mapping[str, Host]) -> tuple[dict[str, str], dict[str, str]]:
    """Identity of every instrument that answers, and what came instead from every other, by name."""
    health = dict(zip(hosts, await asyncio.gather(*map(patient_health, hosts.values())), strict=True))
    silent = {name: h.message for name, h in health.items() if h.mode is Mode.OFFLINE}
    return {name: h.identity for name, h in health.items() if name not in silent}, silent


def spared(tx: Transaction, lab: Lab, silent: Mapping[str, str]) -> dict[str, str]:
    """Of silent instruments the newest row, where the lab can do without: it knows them, and another does their work.

    Raises
    ------
    NoContactError
        Naming every silent instrument without which work cannot begin.
    """
    rows = {name: known[0].id for name in silent if (known := registered_as(tx, lab.file, name))}
    needed = {name: why for name, why in silent.items() if name not in rows or not twins(lab, name, silent)}
    if needed:
        raise NoContactError(needed)
    return rows


def registered_as(tx: Transaction, file: LabFile, name: str) -> list[db.Instrument]:
    """The rows of an instrument, newest first."""
    return tx.find(db.Instrument, name=name, origin=file.origin, order="registered_at", newest_first=True)


def twins(lab: Lab, name: str, silent: Container[str]) -> list[str]:
    """Instruments at the same site that answer and can do all that this one can."""
    able = {other: {c.name for c in found} for other, found in lab.capabilities().items()}
    site = lab.file.site_of
    return [o for o in able if o != name and o not in silent and site[o] == site[name] and able[name] <= able[o]]


async def patient_health(host: Host) -> Health:
    """How the instrument is; a single lost answer is no reason not to begin."""
    for _ in range(TRIES - 1):
        health = await host.health()
        if health.mode is not Mode.OFFLINE:
            return health
    return await host.health()


def register(tx: Transaction, file: LabFile, identities: Mapping[str, str], *, at: datetime) -> dict[str, str]:
    """Rows for what is new on the floor; the id of each instrument's row, by name."""
    register_stock(tx, file, at)
    check_identities(tx, file, identities)
    ids = {name: register_instrument(tx, file, name, identity, at) for name, identity in identities.items()}
    for name, id in ids.items():
        register_calibrations(tx, file, name, id, at)
    return ids


def check_identities(tx: Transaction, file: LabFile, identities: Mapping[str, str]) -> None:
    """See that under each name the machine answers that was registered, and in a lab of real machines no simulated one.

    Raises
    ------
    SimulationError, SwappedError
        Naming all others.
    """
    if simulated := {name: i for name, i in identities.items() if out_of_place(file, i)}:
        raise SimulationError(simulated)
    swapped = {}
    for name, identity in identities.items():
        known = registered_as(tx, file, name)
        if known and machine(identity) not in {machine(row.identity) for row in known}:
            swapped[name] = (known[0].identity, identity)
    if swapped:
        raise SwappedError(swapped)


def out_of_place(file: LabFile, identity: str) -> bool:
    """Whether a simulated machine answers in a lab of real ones."""
    return identity.startswith(SIMULATION) and not file.lab.simulated


def register_instrument(tx: Transaction, file: LabFile, name: str, identity: str, at: datetime) -> str:
    """The instrument's row; another identity, driver or site is another row."""
    from instruments import registry

    driver = file.instruments[name].driver
    digest = hashlib.sha256("\n".join((driver, identity, file.site_of[name], file.origin)).encode()).hexdigest()[:8]
    id = f"{name}@{digest}"
    if not tx.find(db.Instrument, id=id):
        verified = registry.driver_class(driver).verified_on_hardware
        row = db.Instrument(
            id=id,
            name=name,
            driver=driver,
            identity=identity,
            site=file.site_of[name],
            verified_on_hardware=verified,
            registered_at=at,
            origin=file.origin,
        )
        tx.add(row, at=at, actor=ACTOR)
    return id


def register_calibrations(tx: Transaction, file: LabFile, name: str, instrument_id: str, at: datetime) -> None:
    """The certificates that the lab file states for this instrument."""
    from campaigns import calibrations

    calibration = file.instruments[name].calibration
    if calibration is None:
        return
    known = tx.find(
        db.Calibration,
        instrument_id=instrument_id,
        certificate=calibration.certificate,
        quantity=calibration.quantity,
        valid_to=calibration.valid_to,
    )
    if not known:
        row = db.Calibration(
            id=f"K-{tx.next_number('K'):04d}",
            instrument_id=instrument_id,
            quantity=calibration.quantity,
            certificate=calibration.certificate,
            u_relative=calibration.u_relative,
            valid_from=calibration.valid_from,
            valid_to=calibration.valid_to,
            origin=file.origin,
        )
        tx.add(row, at=at, actor=ACTOR)
        if calibration.valid_to >= at:
            calibrations.renewed(tx, name, at)


def register_stock(tx: Transaction, file: LabFile, at: datetime) -> None:
    """The bottles that the lab file states; a new lot number is a new row."""
    tx.next_number("registration")  # who registers at once does so one after the other: no bottle is there twice
    for component, bottle in file.stock.items():
        if tx.find(db.Lot, component=component, supplier=bottle.supplier, supplier_lot=bottle.lot):
            continue
        row = db.Lot(
            id=f"L-{tx.next_number('L'):04d}",
            component=component,
            formula=bottle.formula,
            supplier=bottle.supplier,
            supplier_lot=bottle.lot,
            purity=bottle.purity,
            amount_mg=bottle.amount_mg,
            price_per_g=bottle.price_per_g,
            received_at=at,
            origin=file.origin,
        )
        tx.add(row, at=at, actor=ACTOR)
