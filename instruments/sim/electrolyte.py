"""Which simulated machine stands behind which driver of the electrolyte lab."""

from __future__ import annotations

from instruments.sim.doser import Doser
from instruments.sim.impedance_cell import ImpedanceCell
from instruments.sim.machine import Machine
from instruments.sim.thermostat_block import ThermostatBlock

DEVICES: dict[str, type[Machine]] = {
    "gravimetric-doser": Doser,
    "thermostat": ThermostatBlock,
    "impedance-analyser": ImpedanceCell,
}
