"""A worker begins although an instrument is silent, where the lab can do without it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from instruments.errors import LinkLost
from labctl import wiring, worker
from labctl.errors import NoContactError
from materials_db import records as db
from tests.acceptance.lab import LabFolder

TWIN = '[instruments.doser-2]\ndriver = "gravimetric-doser"\n\n[instruments.doser-1]\n'


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LabFolder]:
    """A lab with two dosers, where everything has been at work before."""
    made = LabFolder.make(tmp_path / "lab", experiments=1)
    path = made.folder / "labctl.toml"
    path.write_text(path.read_text().replace("[instruments.doser-1]\n", TWIN))
    made("campaign", "run", "campaigns/conductivity.toml")
    yield made
    made.close()


def begin(folder: Path, *silent: str) -> dict[str, str]:
    """What a worker registers when these do not answer."""
    lab = wiring.open_lab(folder)
    clock = lab.clock()
    hosts = lab.hosts(clock)

    async def dead(*_: Any) -> Any:
        raise LinkLost("connection refused")

    async def work() -> dict[str, str]:
        for name in silent:
            hosts[name].driver.identity = dead  # type: ignore[method-assign]
        try:
            return await worker.register(lab, hosts, clock)
        finally:
            for host in hosts.values():
                await host.close()

    return asyncio.run(work())


def test_a_silent_instrument_with_a_twin_is_taken_out_and_the_work_begins(
    lab: LabFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    known = begin(lab.folder)
    assert begin(lab.folder, "doser-2") == known
    said = "warning: doser-2 does not answer (connection refused); its work goes to doser-1\n"
    assert capsys.readouterr().err == said
    with wiring.open_lab(lab.folder).store.transaction() as tx:
        (hold,) = tx.find(db.Hold)
    assert (hold.instrument, hold.state, hold.placed_by) == ("doser-2", "active", "labctl")
    assert hold.reason == "does not answer: connection refused"


@pytest.mark.parametrize("silent", [("doser-2", "doser-1"), ("analyser-1",)])
def test_nothing_begins_where_a_silent_instrument_is_needed(lab: LabFolder, silent: tuple[str, ...]) -> None:
    with pytest.raises(NoContactError, match=", ".join(silent)):
        begin(lab.folder, *silent)
    with wiring.open_lab(lab.folder).store.transaction() as tx:
        assert not tx.find(db.Hold)
