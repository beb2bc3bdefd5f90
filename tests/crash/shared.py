"""What a fork can share of a warm process beside modules: the registry of units takes longer to make than a short campaign."""

from campaigns.units import registry

registry()
