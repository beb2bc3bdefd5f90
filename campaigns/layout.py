"""Which column of a table is meant by each of the campaign's names.

People name columns as their instrument does, put units into headers and leave the balance out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from campaigns.parameters import CategoricalParameter, Parameter
from campaigns.space import CompositionSpace
from campaigns.tables import Head, no_column, stem_and_unit
from campaigns.toml_file import Fault, FileFaults

Fractions = Literal["auto", "fraction", "percent", "ppm", "amount"]
STATE, BLOCKS = "state", ("block", "tray", "day")
VALUE, QUANTITY, UNIT = "value", "quantity", "unit"  #: of labctl's own exports: what each row's value is of


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a table is written: `[data]` of the campaign file.

    Parameters
    ----------
    columns
        Component, parameter, quantity, ``u(quantity)``, ``state`` or ``block`` -> the column's header, where they differ.
    units
        Unit of a column, by the same names, where its header does not say it in brackets.
    fractions
        Whether compositions are fractions (sum to 1), percent (100), ppm (a million) or amounts (any sum).
    header
        Whether the first line names the columns. Without, they are "1", "2", ...
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    fractions: Fractions = "auto"
    header: bool = True
    key: str = "data.columns"  #: where the campaign file maps columns, for hints


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the campaign knows of the columns of a table.

    Parameters
    ----------
    quantities
        Measured properties and their units, the deciding one first.
    blanks
        Whether the cell of a component may be empty: absent.
    """

    composition: CompositionSpace | None
    process: tuple[Parameter, ...]
    quantities: Mapping[str, str] = field(default_factory=dict)
    blanks: bool = True

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the components."""
        return self.composition.names if self.composition else ()

    @property
    def balance(self) -> str | None:
        """The component whose column may be left out."""
        return self.composition.balance if self.composition else None

    @property
    def names(self) -> list[str]:
        """Every column that is needed, the balance among them."""
        return [*self.components, *(p.name for p in self.process), *self.quantities]

    @property
    def choices(self) -> set[str]:
        """Parameters whose values are text."""
        return {p.name for p in self.process if isinstance(p, CategoricalParameter)}

    def unit(self, name: str) -> str:
        """The campaign's unit of a parameter or quantity."""
        return {**{p.name: getattr(p, "unit", "") for p in self.process}, **self.quantities}.get(name, "")


def find_columns(head: Head, layout: Layout, wanted: Wanted) -> dict[str, str]:
    """Our name -> the column's name, of all that are needed and of all others that we know. Raises FileFaults."""
    found: dict[str, str] = {}
    faults: list[Fault] = []
    in_order = not layout.header and not layout.columns
    for i, name in enumerate(
        n for n in wanted.names if not in_order or n != wanted.balance or len(head.names) >= len(wanted.names)
    ):
        if in_order and i < len(head.names):
            found[name] = head.names[i]
        elif fault := find_column(head, layout, wanted, name, found):
            faults.append(fault)
    deciding = next(iter(wanted.quantities), "")
    exported = found.get(deciding) == VALUE and deciding not in layout.columns
    for name in [*uncertainties(wanted), STATE, *BLOCKS, *((QUANTITY, UNIT) if exported else ())]:
        if name in wanted.names:
            continue
        columns = columns_for(head, layout, wanted, name)
        if len(columns) == 1:
            found[name] = columns[0]
        elif len(columns) > 1 and len(set(columns)) == 1:
            faults.append(several(columns, name, layout))
    if faults:
        raise FileFaults(head.path, faults)
    return found


def find_column(head: Head, layout: Layout, wanted: Wanted, name: str, found: dict[str, str]) -> Fault | None:
    """Add one column to those found, or say why not."""
    columns = columns_for(head, layout, wanted, name)
    if len(columns) == 1:
        found[name] = columns[0]
        return None
    if columns:
        return several(columns, name, layout)
    if name == wanted.balance and name not in layout.columns:
        return None
    return no_column(head, layout.columns.get(name, name), layout.key)


def columns_for(head: Head, layout: Layout, wanted: Wanted, name: str) -> list[str]:
    """Columns that may be meant by one of our names; one name twice where two columns carry it."""
    if name in layout.columns:
        return [c for c in head.names if c == layout.columns[name].strip()]
    columns = head.find(name, exactly=name in wanted.components)
    if not columns and name == next(iter(uncertainties(wanted)), None):
        columns = [c for c in head.names if stem_and_unit(c)[0] == "u" and c not in wanted.names]
    if not columns and name == next(iter(wanted.quantities), None) and {VALUE, QUANTITY} <= set(head.names):
        columns = [VALUE] * head.names.count(VALUE)
    return columns


def several(columns: Sequence[str], name: str, layout: Layout) -> Fault:
    """More than one column may be meant."""
    hint = f'say which in the campaign file: [{layout.key}] {name} = "{columns[0]}"'
    if len(set(columns)) == 1:
        hint = f"give one of them another name than {columns[0]!r} in the table"
    message = f"{len(columns)} columns may mean {name!r}: {', '.join(columns)}"
    return Fault(message=message, line=1, hint=hint, code="LAB-0220")


def uncertainties(wanted: Wanted) -> list[str]:
    """Our names of the columns with standard uncertainties."""
    return [f"u({q})" for q in wanted.quantities]
