from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl import wiring
from labctl.initialise import initialise
from materials_db import records as db
from tests.records import AT, fill
from tests.virtual_lab import VirtualLab, campaign, live


@pytest.fixture
def small_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lab with three measured experiments in its database, as the current folder."""
    folder = tmp_path / "lab"
    initialise(folder)
    store = wiring.open_lab(folder).store
    with store.transaction() as tx:
        fill(tx, experiments=3)
        tx.move(
            db.Campaign, "C-0001", at=AT, actor="test", state="done", reason="budget of 3 experiments used", ended_at=AT
        )
    store.close()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def finished() -> Iterator[tuple[VirtualLab, str]]:
    """A whole campaign in memory, with failed experiments."""

    async def work() -> tuple[VirtualLab, str]:
        lab = VirtualLab(faults="chaos", seed=4)
        return lab, await lab.carry_out(campaign(budget={"experiments": 20}))

    lab, id = live(work())
    yield lab, id
    lab.close()
