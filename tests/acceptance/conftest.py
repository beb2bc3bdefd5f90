from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.lab import LabFolder


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LabFolder]:
    made = LabFolder.make(tmp_path / "lab")
    yield made
    made.close()
