"""A strict front for formulas. pymatgen knows the elements; what people type is read here first.

pymatgen's own parser silently accepts formulas that mean something else: ``"NaCl 2H2O"``
becomes NaH2Cl2O, ``"FE2O3"`` a dummy species, ``"Xx2O3"`` too, and not-a-number an empty
composition. Anything that is not plainly a formula is refused here, with a reason.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any

from materials_db.errors import FormulaError

#: IUPAC, Periodic Table of the Elements (2022): the 118 named elements.
PERIODIC_TABLE = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb"
    " Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au"
    " Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts"
    " Og"
)
SYMBOLS = PERIODIC_TABLE.split()
KNOWN = frozenset(SYMBOLS)
ISOTOPES = {"D": "deuterium", "T": "tritium"}
SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
HYDRATE_DOTS = "·•⋅∙*"
NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
#: ``CuSO4.5H2O`` could be O4.5 or five waters, ``MgCl2.6NH3`` six ammonias: refused rather than guessed
DOTTED_ADDUCT = re.compile(r"\.[0-9]*(?:H2O|H20|NH3|CH3OH|C2H5OH|\(H2O\)|\(NH3\))(?=$|[)\]}])")
SYMBOL = re.compile(r"[A-Z][a-z]?")
CLOSING = {"(": ")", "[": "]", "{": "}"}
SPELLINGS = 1000  #: at most so many are looked at for a hint
LONGEST = 200  #: characters; longer is not a formula but an accident


@dataclass(frozen=True)
class Formula:
    """A formula as it was typed, and the exact amount of each element in it."""

    text: str
    amounts: Mapping[str, Fraction]

    @classmethod
    def parse(cls, text: str) -> Formula:
        """Read a formula.

        Accepts nested brackets, decimals, hydrates (``CuSO4·5H2O`` or ``CuSO4*5H2O``) and
        subscript digits.

        Raises
        ------
        FormulaError
            Naming the text, the place and the reason, with the likely right spelling.
        """
        return cls(text, _read(text))

    @classmethod
    def of(cls, amounts: Mapping[str, Any]) -> Formula:
        """A formula from amounts by element. Same refusals as `parse`."""
        if not amounts:
            raise FormulaError("no elements are given")
        exact: dict[str, Fraction] = {}
        for symbol, amount in amounts.items():
            if symbol not in KNOWN:
                raise FormulaError(_unknown(str(symbol), str(symbol), 0))
            exact[symbol] = _amount(symbol, amount)
        return cls("".join(f"{s}{_plain(a)}" for s, a in exact.items()), exact)

    @cached_property
    def molar_mass(self) -> float:
        """Molar mass, g/mol, with the standard atomic weights that pymatgen carries (IUPAC)."""
        return sum(float(amount) * atomic_mass(symbol) for symbol, amount in self.amounts.items())

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=4096)
def molar_mass(text: str) -> float:
    """Molar mass of a formula, g/mol. Raises FormulaError."""
    return Formula.parse(text).molar_mass


def atomic_mass(symbol: str) -> float:
    """Standard atomic weight, g/mol, as pymatgen has it."""
    from pymatgen.core.periodic_table import Element

    return float(Element(symbol).atomic_mass)


def _read(text: object) -> dict[str, Fraction]:
    if not isinstance(text, str):
        raise FormulaError(f"{text!r} is not a formula but a {type(text).__name__}")
    if not text.strip():
        raise FormulaError("the formula is empty")
    if len(text) > LONGEST:
        raise FormulaError(f"{text[:30]!r}... is {len(text)} characters long; a formula has at most {LONGEST}")
    if text != text.strip() or re.search(r"\s", text):
        raise FormulaError(f"{text!r} contains a space; write a hydrate with a dot: {_dotted(text)!r}")
    total: dict[str, Fraction] = {}
    for part, start in _parts(text):
        reader = _Reader(text, part, start)
        for symbol, amount in reader.whole().items():
            total[symbol] = total.get(symbol, Fraction(0)) + amount
    return total


def _dotted(text: str) -> str:
    text = re.sub(r"\.([0-9]+)\s+(?=[A-Z(\[{])", r"·\1", text)  # CuSO4.5 H2O
    joined = re.sub(r"\s*([·•⋅∙*])\s*([0-9.]*)\s*", r"\1\2", text.strip())  # a hydrate that has its dot already
    return re.sub(r"\s*[.·•*]?\s+", "·", joined)


def _parts(text: str) -> list[tuple[str, int]]:
    """The formula cut at its hydrate dots, each part with the place where it begins."""
    parts, start = [], 0
    for cut in [i for i, c in enumerate(text) if c in HYDRATE_DOTS] + [len(text)]:
        if cut == start:
            raise FormulaError(f"{text!r}: nothing stands beside the dot at character {min(cut, len(text) - 1) + 1}")
        parts.append((text[start:cut].translate(SUBSCRIPTS), start))
        start = cut + 1
    return parts


class _Reader:
    """Reads one part: an optional leading multiplier (hydrates only), then elements and brackets."""

    def __init__(self, text: str, part: str, start: int) -> None:
        self.text, self.part, self.start, self.at = text, part, start, 0

    def fail(self, reason: str) -> FormulaError:
        return FormulaError(f"{self.text!r}, character {self.start + self.at + 1}: {reason}")

    def whole(self) -> dict[str, Fraction]:
        multiplier = Fraction(1)
        if (number := NUMBER.match(self.part)) is not None:
            if self.start == 0:
                raise self.fail("a formula begins with an element, not with a number")
            multiplier = self.number(number)
        amounts = self.group(None)
        return {symbol: amount * multiplier for symbol, amount in amounts.items()}

    def group(self, closing: str | None) -> dict[str, Fraction]:
        amounts: dict[str, Fraction] = {}
        while self.at < len(self.part):
            char = self.part[self.at]
            if char == closing:
                break
            for symbol, amount in self.item(char).items():
                amounts[symbol] = amounts.get(symbol, Fraction(0)) + amount
        else:
            if closing is not None:
                raise self.fail(f"a {closing!r} is missing")
        if not amounts:
            raise self.fail("nothing stands between the brackets" if closing else "no element stands here")
        return amounts

    def item(self, char: str) -> dict[str, Fraction]:
        if char in CLOSING:
            self.at += 1
            inner = self.group(CLOSING[char])
            self.at += 1
            count = self.count()
            return {symbol: amount * count for symbol, amount in inner.items()}
        symbol = self.symbol(char)
        return {symbol: self.count()}

    def symbol(self, char: str) -> str:
        match = SYMBOL.match(self.part, self.at)
        if match is None:
            raise self.fail(_not_a_symbol(self.part, self.at))
        symbol = match.group()
        if symbol in ISOTOPES:
            raise self.fail(f"{symbol} is {ISOTOPES[symbol]}, an isotope; isotopes are not told apart here, write H")
        if symbol not in KNOWN:
            raise self.fail(_unknown(symbol, self.part, self.at))
        self.at = match.end()
        return symbol

    def count(self) -> Fraction:
        number = NUMBER.match(self.part, self.at)
        if number is None:
            return Fraction(1)
        if "." in number.group() and DOTTED_ADDUCT.search(self.part, number.start()):
            raise self.fail("is this a decimal or a hydrate? Write a hydrate with '·' or '*', as in CuSO4·5H2O")
        return self.number(number)

    def number(self, match: re.Match[str]) -> Fraction:
        value = Fraction(match.group())
        if value == 0:
            raise self.fail("an amount of 0; leave the element out")
        if value > 10**6:
            raise self.fail(f"an amount of {match.group()} is not believable")
        self.at = match.end()
        if self.part[self.at : self.at + 1] in ("-", "+"):
            raise self.fail(
                "charges and open amounts (3-d) are not read here; give the amount as a number, for example O2.9"
            )
        return value


def _not_a_symbol(part: str, at: int) -> str:
    char = part[at]
    if char in "+-":
        return "charges are not part of a formula here; leave the charge out"
    if char.islower():
        if "δ" in char or part[at:].startswith(("x", "y", "d")):
            return f"{char!r} is an open amount; give a number"
        return f"an element begins with a capital letter, {char!r} does not{_spelling(part)}"
    if char in ")]}":
        return f"this {char!r} closes nothing"
    if char == ".":
        return "a full stop here is neither a decimal nor a hydrate dot; write a hydrate with '·' or '*'"
    return f"{char!r} does not belong in a formula"


def _unknown(symbol: str, part: str, at: int) -> str:
    near = difflib.get_close_matches(symbol, SYMBOLS, n=3, cutoff=0.5)
    hint = f"; near it: {', '.join(near)}" if near else ""
    spelling = _spelling(part)
    return f"{symbol!r} is not an element{spelling or hint}"


def _spelling(part: str) -> str:
    """The same letters with other capitals, where that makes a formula: FE2O3 -> Fe2O3; caco3 -> CaCo3, CAcO3 or CaCO3."""
    pieces = re.split("([A-Za-z]+)", part)
    ways = [_splits(piece.lower()) if piece.isalpha() else (piece,) for piece in pieces]
    found = {"".join(way) for way in itertools.islice(itertools.product(*ways), SPELLINGS)} - {part}
    near = sorted(found, key=lambda guess: (sum(map(str.isupper, guess)), guess))[:3]
    several = ", ".join(near[:-1]) + " or " if near[1:] else ""
    return f"; did you mean {several}{near[-1]}?" if near else ""


@lru_cache(maxsize=256)
def _splits(letters: str) -> tuple[str, ...]:
    """Ways to read lower-case letters as symbols of elements."""
    if not letters:
        return ("",)
    heads = (letters[:n].capitalize() for n in (2, 1) if n <= len(letters))
    found = (head + rest for head in heads if head in KNOWN for rest in _splits(letters[len(head) :]))
    return tuple(itertools.islice(found, SPELLINGS))


def _amount(symbol: str, amount: Any) -> Fraction:
    if isinstance(amount, bool) or not isinstance(amount, int | float | Fraction):
        raise FormulaError(f"the amount of {symbol} is {amount!r}; a number above 0 is needed")
    if isinstance(amount, float) and not math.isfinite(amount):
        raise FormulaError(f"the amount of {symbol} is {amount}; a finite number above 0 is needed")
    if amount <= 0:
        raise FormulaError(f"the amount of {symbol} is {amount}; it must be above 0")
    return Fraction(repr(amount)) if isinstance(amount, float) else Fraction(amount)


def _plain(amount: Fraction) -> str:
    if amount == 1:
        return ""
    return str(amount) if amount.denominator == 1 else f"{float(amount):.12g}"
