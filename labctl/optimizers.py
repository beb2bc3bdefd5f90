"""Where optimizers are named: which one a plan has, and what it knows."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from campaigns.optimizer import Observation, Optimizer, Outlook
    from campaigns.optimizers.bayesian import BayesianOptimizer
    from campaigns.plan import Plan
    from materials_db.store import MaterialsStore, Transaction

FEWEST_FOR_DOUBT = 4  #: with fewer results none can be told from the others


def optimizer(plan: Plan) -> Optimizer:
    """The optimizer that the campaign file names. Raises UsageError when its library is not installed."""
    if plan.optimizer == "bayesian":
        return bayesian(plan)
    if problem := missing_library(plan.optimizer):
        from labctl.errors import UsageError

        raise UsageError(problem, hint=f"pip install 'labctl[{plan.optimizer}]', or write name = \"bayesian\"")
    made = without_trays(plan)
    if not plan.shared:
        return made
    from campaigns.optimizers.on_trays import OnTrays

    return OnTrays(made, plan.shared)


def bayesian(plan: Plan) -> BayesianOptimizer:
    """The default optimizer, told all that the campaign file says to it."""
    with absent("pandas"):
        from campaigns.optimizers.bayesian import BayesianOptimizer

    return BayesianOptimizer(
        initial=plan.initial,
        budget=plan.limits.experiments,
        model=plan.model,
        coordinates=plan.coordinates,
        prices=plan.prices or (plan.cost if plan.spec.cost.aware else None),  # without a lab: as the file says
        shared=plan.shared,
        tray=plan.tray,
        earlier=plan.earlier,
    )


def without_trays(plan: Plan) -> Optimizer:
    """The optimizers that know nothing of trays."""
    if plan.optimizer == "botorch":
        from campaigns.optimizers.botorch import BoTorchOptimizer

        return BoTorchOptimizer(initial=plan.initial)
    if plan.optimizer == "baybe":
        from campaigns.optimizers.baybe import BayBEOptimizer

        return BayBEOptimizer(initial=plan.initial)
    return random_search()


def outliers(plan: Plan, known: Sequence[Observation]) -> dict[int, float]:
    """Experiments whose results the model finds hard to believe, and by how many standard deviations."""
    if not judges(plan, known):
        return {}
    return bayesian(plan).outliers(plan.space, plan.objective, known, plan.seed)


def outlook(plan: Plan, known: Sequence[Observation]) -> Outlook | None:
    """What may still be gained; None where there is no single best, nothing to judge it by or nothing within the limits."""
    if not judges(plan, known) or plan.objective.others or plan.objective.goal not in ("best", "many"):
        return None
    found = bayesian(plan).outlook(plan.space, plan.objective, known, plan.seed)
    return found if found.left[0] < float("inf") else None


def judges(plan: Plan, known: Sequence[Observation]) -> bool:
    """Whether there is a model that can judge results, and are enough of them."""
    return has_mixture(plan) and sum(o.value is not None for o in known) >= FEWEST_FOR_DOUBT


def has_mixture(plan: Plan) -> bool:
    """Whether the plan's optimizer can judge its own predictions: the library's process cannot."""
    return plan.optimizer == "bayesian" and plan.model == "mixture"


def learned(store: MaterialsStore, campaign_id: str) -> tuple[Plan, Sequence[Observation]] | None:
    """A campaign's plan, as its loop has it, and what it measured; None where its optimizer has no model.

    What is asked of the model then is asked without a transaction: the lab goes on meanwhile.
    """
    from campaigns.history import History
    from materials_db import records as db

    with store.transaction() as tx:
        if tx.get(db.Campaign, campaign_id).spec.get("optimizer", {}).get("name") != "bayesian":
            return None
        plan = plan_at_hand(tx, campaign_id)
        history = History.of(campaign_id, plan)
        history.refresh(tx)
        return plan, history.known


def plan_at_hand(tx: Transaction, campaign_id: str) -> Plan:
    """A campaign's plan with prices and earlier campaigns, as its loop has it."""
    from campaigns import planning
    from campaigns.plan import Plan
    from materials_db import records as db

    record = tx.get(db.Campaign, campaign_id)
    return planning.at_hand(tx, Plan.of(record), planning.prices(tx), record.created_at)


def missing_library(optimizer: str) -> str:
    """Why the optimizer of that name cannot be had here; empty when it can."""
    from importlib.util import find_spec

    if optimizer not in ("botorch", "baybe") or find_spec(optimizer) is not None:
        return ""
    return f"the optimizer {optimizer!r} needs the package {optimizer}, which is not installed"


def random_search() -> Optimizer:
    """What every optimizer must beat."""
    from campaigns.optimizers.random_search import RandomSearch

    return RandomSearch()


def plain_library() -> Optimizer:
    """The library beneath, as its README uses it."""
    from campaigns.optimizers.plain import PlainLibrary

    return PlainLibrary()


def warm_up() -> None:
    """Import what the optimizer needs while the first samples are being made: it takes seconds."""
    with absent("pandas"):
        from campaigns.optimizers.bayesian import import_libraries

    import_libraries()


@contextmanager
def absent(module: str) -> Iterator[None]:
    """As if a module were not installed: scikit-learn loads pandas where it can, 30 MB that no proposal needs."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
