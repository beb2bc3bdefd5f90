"""What can be wrong with a campaign.

CampaignError
├── SpaceError           the space is empty, contradictory or cannot be weighed
├── RecipeError          a step asks for what its instrument cannot do
└── BudgetError          nothing may be started within the limits
"""


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
