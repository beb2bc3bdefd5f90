"""Which simulated machine stands behind which driver of the alloy lab."""

from __future__ import annotations

from instruments.sim.doser import Doser
from instruments.sim.flat_cell import FlatCell
from instruments.sim.furnace import TrayFurnace
from instruments.sim.indenter import Indenter
from instruments.sim.machine import Machine
from instruments.sim.melter import Melter

DEVICES: dict[str, type[Machine]] = {
    "gravimetric-doser": Doser,
    "arc-melter": Melter,
    "furnace": TrayFurnace,
    "hardness-tester": Indenter,
    "potentiostat": FlatCell,
}
