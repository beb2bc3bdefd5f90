"""Hypothesis strategies for what the lab knows."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import assume
from hypothesis import strategies as st

from campaigns.errors import SpaceError
from campaigns.space import Component, CompositionSpace
from materials_db.formula import DOTTED_ADDUCT, SYMBOLS


@st.composite
def composition_spaces(draw: st.DrawFn) -> CompositionSpace:
    """Spaces of two to five components with bounds on a coarse or fine grid, none of them empty."""
    steps = draw(st.sampled_from([10, 20, 50, 100, 200]))
    names = draw(st.lists(st.sampled_from(SYMBOLS[:30]), min_size=2, max_size=5, unique=True))
    components = []
    for name in names:
        low = draw(st.integers(0, steps // len(names)))
        high = draw(st.integers(max(low, steps // 2), steps))
        components.append(
            Component(
                name=name,
                formula=name,
                low=Fraction(low, steps),
                high=Fraction(high, steps),
                optional=draw(st.booleans()),
            )
        )
    most = draw(st.none() | st.integers(2, len(names)))
    try:
        return CompositionSpace(components=tuple(components), step=Fraction(1, steps), max_present=most)
    except SpaceError:
        return CompositionSpace(components=tuple(components), step=Fraction(1, steps))


@st.composite
def formulas(draw: st.DrawFn) -> str:
    """Formulas as people write them: elements with amounts, one level of brackets."""
    symbols = draw(st.lists(st.sampled_from(SYMBOLS[:94]), min_size=1, max_size=4, unique=True))
    amounts = st.sampled_from(["", "2", "3", "0.5", "1.25", "10"])
    flat = "".join(s + draw(amounts) for s in symbols)
    if draw(st.booleans()):
        group = "".join(
            s + draw(amounts) for s in draw(st.lists(st.sampled_from(["O", "H", "N", "C"]), min_size=1, max_size=2))
        )
        flat += f"({group}){draw(st.sampled_from(['2', '3', '']))}"
    assume(not DOTTED_ADDUCT.search(flat))  # refused
    return flat
