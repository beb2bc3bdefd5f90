"""Simulated machines say that they are simulated, whatever they speak."""

from __future__ import annotations

import pytest

from labctl import registration
from labctl.labfile import HUMAN
from tests.virtual_lab import VirtualLab, live


@pytest.mark.parametrize("kind", ["electrolyte", "alloy"])
def test_every_simulated_machine_says_so(kind: str) -> None:
    lab = VirtualLab(kind=kind)
    machines = {name: host for name, host in lab.hosts.items() if lab.file.instruments[name].driver != HUMAN}
    identities = live(registration.reach(machines))
    lab.close()
    assert len(identities) == len(machines) > 2
    assert all(identity.startswith(registration.SIMULATION) for identity in identities.values())
