"""Hard limits of one machine: they may be narrower than its model's, never wider."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import create_model
from pydantic.fields import FieldInfo

from instruments.contract import Capability, Params, quantity
from instruments.errors import OutOfLimits


def narrowed(capabilities: list[Capability], limits: Mapping[str, Any]) -> list[Capability]:
    """Capabilities with the limits of the lab file applied.

    Parameters
    ----------
    limits
        Parameter -> [low, high], in the parameter's unit. Where several capabilities have the
        parameter, ``capability.parameter`` means that of one.

    Raises
    ------
    OutOfLimits
        An unknown parameter, no pair of numbers, or a limit wider than the machine's own.
    """
    known = [key for c in capabilities for name in bounded(c.params_model) for key in (name, f"{c.name}.{name}")]
    limits = flat(limits)
    for name in limits:
        if name not in known:
            raise OutOfLimits(
                f"limits: there is no parameter {name!r}; there are {', '.join(dict.fromkeys(known)) or 'none'}"
            )
    return [replace(c, params_model=narrow(c.params_model, limits_of(c, limits))) for c in capabilities]


def flat(limits: Mapping[str, Any]) -> dict[str, Any]:
    """Limits of one capability as ``capability.parameter``, also where the file has them as a table of their own."""
    nested = {f"{c}.{name}": limit for c, own in limits.items() if isinstance(own, dict) for name, limit in own.items()}
    return {name: limit for name, limit in limits.items() if not isinstance(limit, dict)} | nested


def limits_of(capability: Capability, limits: Mapping[str, Any]) -> dict[str, Any]:
    """The limits that are meant for one capability, by its own parameters."""
    own = f"{capability.name}."
    return {name.removeprefix(own): limit for name, limit in limits.items() if "." not in name or name.startswith(own)}


def bounded(model: type[Params]) -> dict[str, tuple[float, float]]:
    """Parameters with hard limits, and the limits."""
    found = {}
    for name, info in model.model_fields.items():
        low = next((m.ge for m in info.metadata if hasattr(m, "ge")), None)
        high = next((m.le for m in info.metadata if hasattr(m, "le")), None)
        if low is not None and high is not None and info.json_schema_extra:
            found[name] = (float(low), float(high))
    return found


def narrow(model: type[Params], limits: Mapping[str, Any]) -> type[Params]:
    """The model with narrower limits."""
    own = bounded(model)
    changes: dict[str, Any] = {}
    for name, limit in limits.items():
        if name in own:
            low, high = pair(name, limit)
            if low < own[name][0] or high > own[name][1]:
                raise OutOfLimits(
                    f"limits: {name} = [{low:g}, {high:g}] is wider than the machine's own {own[name][0]:g} to {own[name][1]:g}"
                )
            info = model.model_fields[name]
            changes[name] = (info.annotation, within(info, low, high))
    return create_model(model.__name__, __base__=model, **changes) if changes else model


def within(info: FieldInfo, low: float, high: float) -> Any:
    """The same field with other limits."""
    extra = info.json_schema_extra
    assert isinstance(extra, dict)
    default = ... if info.is_required() else info.default
    return quantity(str(extra["unit"]), low, high, key=str(extra["key"]), default=default)


def pair(name: str, limit: Any) -> tuple[float, float]:
    """A limit as two numbers in order."""
    numbers = limit if isinstance(limit, list | tuple) and len(limit) == 2 else ()
    if not numbers or not all(
        isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in numbers
    ):
        raise OutOfLimits(f"limits: {name} = {limit!r} is no pair of numbers; write {name} = [low, high]")
    if numbers[0] > numbers[1]:
        raise OutOfLimits(f"limits: {name} = {limit!r} is not in order")
    return float(numbers[0]), float(numbers[1])
