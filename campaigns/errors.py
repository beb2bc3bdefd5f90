"""What can be wrong with a campaign.

CampaignError
├── SpaceError           the space is empty, contradictory or cannot be weighed
├── RecipeError          a step asks for what its instrument cannot do
└── BudgetError          nothing may be started within the limits
"""

from __future__ import annotations

import sys

#: By module, what is raised where the disk or the database is at fault.
TROUBLE = {
    "sqlite3": ("OperationalError",),
    "sqlalchemy.exc": ("OperationalError", "InterfaceError", "TimeoutError"),  # the last: no connection is free
}


class CampaignError(Exception):
    """The campaign cannot go on as written."""


class SpaceError(CampaignError, ValueError):
    """The space is empty, contradictory or cannot be weighed."""


class RecipeError(CampaignError, ValueError):
    """A step asks for something that its instrument cannot do.

    Parameters
    ----------
    key
        The parameter that is at fault, as the campaign file names it.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


def trouble() -> tuple[type[Exception], ...]:
    """What a disk that fails or is full raises, and a database that cannot be reached: to be waited out.

    Of libraries, only those that this process has imported: no other can have raised anything.
    """
    found: list[type[Exception]] = [OSError]
    for module, names in TROUBLE.items():
        if module in sys.modules:
            found += [getattr(sys.modules[module], name) for name in names]
    return tuple(found)
