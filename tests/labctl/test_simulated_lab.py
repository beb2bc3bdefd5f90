"""The simulated lab as labctl.toml states it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labctl import wiring
from labctl.errors import NotSimulatedError
from labctl.initialise import initialise
from labctl.locks import host_lock


def test_a_lab_file_that_has_changed_is_what_the_simulator_does_next(tmp_path: Path) -> None:
    initialise(tmp_path / "lab")
    lab = wiring.open_lab(tmp_path / "lab")
    before = lab.simulator()
    assert lab.simulator() == before
    file = tmp_path / "lab" / "labctl.toml"
    text = file.read_text() + '\n[instruments.thermostat-2]\ndriver = "thermostat"\n'
    file.write_text(re.sub(r"(?m)^speed = .*", "speed = 777", text))
    changed = wiring.open_lab(tmp_path / "lab")
    lock = host_lock(lab)
    assert lock.take()
    assert changed.simulator() == before  # a worker has the machines in its hands
    with pytest.raises(NotSimulatedError, match="before labctl.toml named thermostat-2"):
        changed.instrument_configs()
    lock.release()
    after = changed.simulator()
    assert after.ports.items() > before.ports.items()
    assert changed.simulator_control().clock()[1] == 777
    changed.simulator_control().stop()
