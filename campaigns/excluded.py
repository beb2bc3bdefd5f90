"""Rows of a table that the campaign excludes: beyond its bounds or constraints, or of too many components."""

from __future__ import annotations

from collections.abc import Iterator

from campaigns.dataset import Dataset
from campaigns.layout import Wanted
from campaigns.parameters import CategoricalParameter
from campaigns.space import CompositionSpace
from campaigns.tables import MOST
from campaigns.toml_file import Fault


def outside(data: Dataset, wanted: Wanted, tolerance: float) -> Iterator[Fault]:
    """Rows that the campaign's bounds, constraints and choices exclude, with line and value.

    Parameters
    ----------
    tolerance
        By how much a fraction may be beyond its bounds, as it is rounded.
    """
    for i, parameter in enumerate(wanted.process):
        if isinstance(parameter, CategoricalParameter):
            continue
        column, unit = data.settings[:, i], f" {parameter.unit}".rstrip()
        low, high = parameter.low - 1e-9 * abs(parameter.low), parameter.high + 1e-9 * abs(parameter.high)
        for row in ((column < low) | (column > high)).nonzero()[0][: MOST + 1]:
            said = f"{parameter.name} = {column[row]:g}{unit} is outside {parameter.low:g} to {parameter.high:g}{unit}"
            yield Fault(
                message=said, line=int(data.lines[row]), hint=f"widen process.{parameter.name}", code="LAB-0224"
            )
    if wanted.composition is not None:
        yield from compositions_outside(data, wanted.composition, tolerance)


def compositions_outside(data: Dataset, space: CompositionSpace, tolerance: float) -> Iterator[Fault]:
    """Rows whose fractions the space excludes."""
    for component, column in zip(space.components, data.shares.T, strict=True):
        low, high = float(component.low), float(component.high)
        bad = (column < low - tolerance) | (column > high + tolerance)
        if component.may_be_absent:
            bad &= column > tolerance
        for row in bad.nonzero()[0][: MOST + 1]:
            said = f"{component.name} = {column[row]:.6g} is outside {low:g} to {high:g}"
            hint = f"widen composition.components.{component.name}"
            yield Fault(message=said, line=int(data.lines[row]), hint=hint, code="LAB-0224")
    if space.max_present is not None:
        present = (data.shares > tolerance).sum(axis=1)
        for row in (present > space.max_present).nonzero()[0][: MOST + 1]:
            said = f"{present[row]} components are present, at most {space.max_present} may be"
            yield Fault(message=said, line=int(data.lines[row]), code="LAB-0224")
    for constraint in space.constraints:
        weights = [float(constraint.coefficients.get(n, 0)) for n in space.names]
        total, slack = data.shares @ weights, tolerance * sum(map(abs, weights))
        low = -float("inf") if constraint.low is None else float(constraint.low) - slack
        high = float("inf") if constraint.high is None else float(constraint.high) + slack
        for row in ((total < low) | (total > high)).nonzero()[0][: MOST + 1]:
            said = f"constraint {constraint.name!r}: {total[row]:.6g} is outside what it allows"
            yield Fault(message=said, line=int(data.lines[row]), code="LAB-0224")
