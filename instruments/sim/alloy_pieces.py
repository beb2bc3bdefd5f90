"""What has really become of a piece of alloy on its way through the simulated lab."""

from __future__ import annotations

from instruments.sim import alloy_physics as physics
from instruments.sim.machine import Machine
from instruments.sim.scpi_device import Refused


def ingot(machine: Machine, sample: str) -> dict[str, float] | None:
    """What is in the ingot, mg by element; None if it was never melted."""
    done = machine.world.finished(sample, machine.neighbours.get("arc-melter", []))
    return {name: float(mg) for name, mg in done[-1].program["ingot"].items()} if done else None


def treatments(machine: Machine, sample: str) -> tuple[physics.Treatment | None, physics.Treatment | None]:
    """The newest solution treatment, and the newest ageing after it, as the piece saw them.

    Raises
    ------
    Refused
        It fell off a tray: nobody has it any more.
    """
    solution = ageing = None
    for run in machine.world.finished(sample, machine.neighbours.get("furnace", [])):
        if sample in run.program["lost"]:
            raise Refused(-241, "Hardware missing; there is no such piece")
        seen = physics.Treatment(*run.program["seen"][sample])
        if run.program["kind"] == "solution":
            solution, ageing = seen, None
        else:
            ageing = seen
    return solution, ageing


def piece(machine: Machine, sample: str) -> tuple[dict[str, float], physics.State, bool]:
    """Composition, state, and whether it melted in the furnace. Raises Refused when there is no such piece."""
    mass = ingot(machine, sample)
    if mass is None:
        raise Refused(-241, "Hardware missing; there is no such piece")
    solution, ageing = treatments(machine, sample)
    return mass, physics.state_of(mass, solution, ageing), physics.melted(*physics.mass_percent(mass), solution)
