"""What the numbers of a composition are: fractions, percent, ppm, or amounts of any sum.

People write any of them and leave the balance out. The headers tell which it is, or what most rows
sum to; rows that miss their whole are scaled or refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from campaigns.layout import Fractions, Layout, Wanted
from campaigns.tables import MOST, Rows, stem_and_unit
from campaigns.toml_file import Fault

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

NEAR = 0.02  #: how far a row's fractions may be from summing to 1, as weighed amounts are
ROUNDED = 1e-5  #: how far they may be from it by the rounding of what was written
MOSTLY = 0.9  #: share of the rows that tells what a table means; the others are mistakes
SURELY_PERCENT = 2  #: fractions do not sum to so much
PERCENT = ("%", "wt%", "wt %", "wt.%", "wt.-%", "mol%", "mol %", "mol.%", "at%", "at %", "at.%", "vol%", "percent")
PPM = ("ppm", "ppmw", "wt ppm", "wt. ppm", "mol ppm", "at ppm", "at. ppm", "ppm by weight", "ppm by mass")
WHOLES = {"fraction": 1, "percent": 100, "ppm": 1_000_000}  #: what a composition sums to


@dataclass
class Findings:
    """What is found out about a table while it is read."""

    lines: Array  #: of the file, one for each row
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  #: how the table was understood, in words

    def refuse(self, mask: Any, what: Any, hint: str = "", code: str = "LAB-0222") -> None:
        """A fault for each row of the mask; `what` makes the message from the row's number."""
        for row in mask.nonzero()[0][: MOST + 1]:
            self.faults.append(Fault(message=what(int(row)), line=int(self.lines[row]), hint=hint, code=code))


@dataclass(frozen=True)
class Shares:
    """Compositions of one table on their way to fractions; what is found out about them is added to the findings."""

    layout: Layout
    wanted: Wanted
    places: Mapping[str, str]
    rows: Rows
    findings: Findings

    def fractions(self) -> Array:
        """Fraction of each component, a row per row of the table; each row sums to 1."""
        import numpy as np

        names, size = self.wanted.components, len(self.rows)
        if not names:
            return np.zeros((size, 0))
        told = np.nan_to_num(np.array([self.rows.columns.get(n, np.zeros(size)) for n in names]).T)
        left_out = [i for i, n in enumerate(names) if n not in self.places]
        sums = told.sum(axis=1)
        kind = self._kind(sums, bool(left_out))
        if kind == "amount":
            self._say_which_amounts_differ(sums)
        whole = sums if kind == "amount" else np.full(size, float(WHOLES[kind]))
        self.findings.refuse(whole <= 0, lambda _: "all amounts are 0")
        shares = np.asarray(told / np.where(whole > 0, whole, 1.0)[:, None])
        for i in left_out:
            shares[:, i] = np.round(1.0 - shares.sum(axis=1), 12)
        self._check(shares, kind)
        total = shares.sum(axis=1)
        return np.asarray(shares / np.where(total > 0, total, 1.0)[:, None])

    def _kind(self, sums: Array, without_balance: bool) -> Fractions:
        """Whether the table is in fractions, percent, ppm or amounts."""
        said = self.layout.fractions
        if said == "amount" and without_balance:
            message = f"amounts need a column for every component; there is none for {self.wanted.balance}"
            self.findings.faults.append(Fault(message=message, line=1, code="LAB-0220"))
        if said != "auto":
            return said
        kind = self._guessed(sums, without_balance)
        if kind != "fraction":
            self.findings.notes.append(f"compositions are in {kind}")
        if without_balance:  # with every component there, the sums have shown what the numbers are
            self._say_which_shares_have_units(kind)
        return kind

    def _guessed(self, sums: Array, without_balance: bool) -> Fractions:
        """By the headers or by what most rows sum to, so that one bad row does not change what all others mean."""
        import numpy as np

        middle, said = float(np.median(sums)) if len(sums) else 0.0, self._said_by_headers()
        if without_balance:
            return "percent" if said == "fraction" and middle > SURELY_PERCENT else said
        kinds: tuple[Fractions, ...] = ("fraction", "percent", "ppm")
        summed = next((kind for kind in kinds if misses(middle / WHOLES[kind]) <= NEAR), said)
        if summed != said and said != "fraction":
            sign, whole = "%" if said == "percent" else said, WHOLES[summed]
            meant = "fractions" if summed == "fraction" else summed
            self.findings.notes.append(
                f"the headers of the components say {sign}, but the rows sum to {whole}: taken as {meant}"
            )
        return summed

    def _said_by_headers(self) -> Fractions:
        """What all headers of components say that the table is in; fractions where they do not."""
        headers = [stem_and_unit(self.places[n])[1].casefold() for n in self.wanted.components if n in self.places]
        if not headers:
            return "fraction"
        if all(h in PPM for h in headers):
            return "ppm"
        return "percent" if all(h in PERCENT for h in headers) else "fraction"

    def _say_which_shares_have_units(self, kind: Fractions) -> None:
        for column in (self.places[n] for n in self.wanted.components if n in self.places):
            unit = stem_and_unit(column)[1]
            if unit and unit.casefold() not in (PPM if kind == "ppm" else PERCENT):
                meant = "a fraction" if kind == "fraction" else kind
                self.findings.notes.append(
                    f"column {column!r}: {unit!r} is not understood as a unit of shares: taken as {meant}"
                )

    def _say_which_amounts_differ(self, sums: Array) -> None:
        """Amounts may have any sum; where most have the same, the others may be mistakes."""
        import numpy as np

        middle = float(np.median(sums)) if len(sums) else 0.0
        if middle <= 0:
            return
        other = np.flatnonzero(misses(sums / middle) > NEAR)
        if 0 < len(other) <= (1 - MOSTLY) * len(sums):
            lines = listed(self.rows.lines[other])
            self.findings.notes.append(
                f"most rows sum to {middle:g}; of another sum: line{'s' * (len(other) > 1)} {lines}"
            )

    def _check(self, shares: Array, kind: Fractions) -> None:
        whole = WHOLES.get(kind, 1)
        names = {"percent": "percentages", "ppm": "ppm"}.get(kind, "fractions")
        sums = shares.sum(axis=1)
        negative = shares.min(axis=1) < -1e-9
        self.findings.refuse(negative, lambda row: f"a fraction is below 0{self._balance_words(shares[row])}")
        missed = misses(sums)
        off = ~negative & (missed > NEAR)
        hint = f"correct the row: up to {NEAR * 100:g} % are allowed"
        if off.sum() > (1 - MOSTLY) * len(off):
            hint += '; if all rows are parts of any sum, write in the campaign file: [data] fractions = "amount"'
        self.findings.refuse(off, lambda row: f"{names} sum to {sums[row] * whole:g}, not {whole}", hint)
        scaled = missed[(missed > ROUNDED) & (missed <= NEAR)]
        if len(scaled):
            rows = f"{len(scaled)} of {len(sums)} rows"
            self.findings.notes.append(
                f"{rows} were scaled to sum to {whole}, which they missed by up to {scaled.max() * 100:.2g} %"
            )

    def _balance_words(self, shares: Array) -> str:
        names = self.wanted.components
        negative = [f"{n} = {s:g}" for n, s in zip(names, shares, strict=True) if s < 0]
        left_out = " (what the others leave)" if any(n not in self.places for n in names) else ""
        return f": {', '.join(negative)}{left_out}"


def misses(sums: Any) -> Any:
    """By how much sums miss 1, without what computers add: 0.98 misses it by 0.02."""
    import numpy as np

    return np.round(abs(sums - 1), 9)


def listed(lines: Array | Sequence[object], most: int = 10) -> str:
    """The first of some lines of a file."""
    more = f" and {len(lines) - most} more" if len(lines) > most else ""
    return ", ".join(str(n) for n in lines[:most]) + more
