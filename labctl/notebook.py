"""A lab in a notebook: read-only tables with units in the column names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from labctl.columns import CAMPAIGNS, MEASUREMENTS
from labctl.finding import find_lab
from labctl.wiring import Lab, open_lab
from materials_db import glance

if TYPE_CHECKING:
    import pandas as pd

    from labctl.emit import Column, Row
    from materials_db.store import Transaction
    from materials_db.trace import Trace

T = TypeVar("T")


def table(rows: Sequence[Row], columns: Sequence[Column]) -> pd.DataFrame:
    """The rows as a frame; one that has columns also where there are no rows yet."""
    import pandas as pd

    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(dict.fromkeys(c.key for c in columns)))


def connect(path: str | Path | None = None) -> LabView:
    """The lab in that folder, or the nearest one upward.

    Raises
    ------
    NoLabError
        There is none.
    """
    return LabView(open_lab(find_lab(Path.cwd(), Path(path) if path is not None else None)))


class LabView:
    """A lab that can be looked at and not changed."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def __repr__(self) -> str:
        kind = "simulated lab" if self.lab.file.lab.simulated else "lab"
        return f"<{kind} {self.lab.file.lab.name!r} at {self.lab.folder}>"

    def __enter__(self) -> LabView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database; also done by a ``with`` block."""
        if "reader" in self.lab.__dict__:
            self.lab.reader.close()

    def campaigns(self) -> pd.DataFrame:
        """All campaigns, one row each."""
        return table(glance.campaigns(self.lab.glance_path), CAMPAIGNS).set_index("id")

    def campaign(self, id: str | int) -> CampaignView:
        """One campaign: ``C-0001``, ``1`` or ``last``. Raises NotFoundError."""
        return CampaignView(self, glance.resolve(self.lab.glance_path, "C", str(id)))

    def measurements(self) -> pd.DataFrame:
        """All measured values, one row each, with unit and standard uncertainty."""
        return table(glance.measurements(self.lab.glance_path), MEASUREMENTS)

    def trace(self, sample_id: str | int) -> Trace:
        """The whole line behind a sample."""
        from materials_db.trace import trace

        id = glance.resolve(self.lab.glance_path, "S", str(sample_id))
        return self._read(lambda tx: trace(tx, id))

    def _read(self, work: Callable[[Transaction], T]) -> T:
        """Whatever `work` makes of a database that was found there before."""
        with self.lab.reader.transaction() as tx:
            return work(tx)


class CampaignView:
    """One campaign that can be looked at."""

    def __init__(self, view: LabView, id: str) -> None:
        self.view = view
        self.id = id

    def __repr__(self) -> str:
        row = glance.campaign(self.view.lab.glance_path, self.id)
        return f"<campaign {self.id} {row['name']!r}: {row['state']}, {row['experiments']} experiments>"

    def to_pandas(self) -> pd.DataFrame:
        """One row per experiment; units stand in the column names and in ``df.attrs["units"]``."""
        from materials_db.frames import campaign_frame

        return self.view._read(lambda tx: campaign_frame(tx, self.id))

    def _repr_html_(self) -> str:
        return str(self.to_pandas().to_html())
