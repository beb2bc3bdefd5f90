"""Imported once by the warm process: all that a worker needs."""

import alembic.command
import dbos

import campaigns.bench
import campaigns.engines.durable
import campaigns.loop
import labctl.app
import labctl.campaigning
import labctl.commands.campaign
import labctl.live
import labctl.worker
import materials_db.sql.store
from campaigns.optimizers.bayesian import import_libraries

import_libraries()
