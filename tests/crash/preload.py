"""Imported once by the warm process: all that a worker needs."""

from campaigns.optimizers.bayesian import import_libraries

import_libraries()
