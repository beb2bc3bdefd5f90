"""The truth of the simulated electrolyte lab: conductivity of LiPF6 in EC, DMC and EMC.

At two solvent mixtures it is the published fit of Landesfeind and Gasteiger,
J. Electrochem. Soc. 166 (2019) A3079, doi:10.1149/2.0571912jes, equation for the ionic
conductivity with the constants of EC:DMC 1:1 w and EC:EMC 3:7 w. Between and beyond these
anchors the landscape is OURS: a smooth blend that was made to have one interior optimum,
a ridge in the salt content and a region that cannot be made. It is no claim about nature.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping

#: p1..p6 of the fit, by solvent; concentration in mol/L, temperature in K, result in mS/cm.
EC_DMC = (0.798, 228.0, -1.22, 0.509, -4e-3, 3.79e-3)
EC_EMC = (0.521, 228.0, -1.06, 0.353, -3.59e-3, 1.48e-3)

#: g/mL of the pure solvents at 25 degC: CRC Handbook of Chemistry and Physics, 97th ed.; EC supercooled.
DENSITY = {"EC": 1.321, "DMC": 1.063, "EMC": 1.006}
#: g/mol, and the apparent molar volume in L/mol; the latter is ours, so that 1 mol/L in EC:EMC 3:7 has 1.20 g/mL.
LIPF6_MOLAR_MASS = 151.905
LIPF6_VOLUME = 0.037

BEST_EC = 0.36  #: ours: share of EC in the solvent at which conductivity peaks
WIDTH_EC = 0.42  #: ours: how broad that peak is
MIXED = 0.9  #: ours: gain of mixing DMC and EMC


def fit(p: tuple[float, ...], c: float, kelvin: float) -> float:
    """The published fit, mS/cm, for `c` in mol/L."""
    p1, p2, p3, p4, p5, p6 = p
    e = math.exp(1000.0 / kelvin)
    top = p1 * (1 + (kelvin - p2)) * c * (1 + p3 * math.sqrt(c) + p4 * (1 + p5 * e) * c)
    return top / (1 + p6 * c**4 * e)


def molarity(mass: Mapping[str, float]) -> float:
    """Moles of LiPF6 per litre, volumes taken as additive.

    Parameters
    ----------
    mass
        Masses or mass fractions by component, any common unit.
    """
    salt = mass.get("LiPF6", 0.0) / LIPF6_MOLAR_MASS
    solvent = sum(mass.get(name, 0.0) / density for name, density in DENSITY.items()) / 1000.0
    volume = solvent + salt * LIPF6_VOLUME
    return salt / volume if volume > 0 else 0.0


def solvent_shares(mass: Mapping[str, float]) -> tuple[float, float]:
    """Share of EC in the solvent, and of DMC in what is not EC."""
    ec, dmc, emc = (mass.get(name, 0.0) for name in ("EC", "DMC", "EMC"))
    linear = dmc + emc
    total = ec + linear
    return (ec / total if total else 0.0), (dmc / linear if linear else 0.5)


def conductivity(mass: Mapping[str, float], temperature_c: float) -> float:
    """True ionic conductivity, mS/cm; see the module for what is published and what is ours."""
    c, kelvin = molarity(mass), temperature_c + 273.15
    if c <= 0:
        return 1e-3
    ec, dmc = solvent_shares(mass)
    low, high = max(1e-3, fit(EC_EMC, c, kelvin)), max(1e-3, fit(EC_DMC, c, kelvin))
    blended = math.exp((1 - dmc) * math.log(low) + dmc * math.log(high) + MIXED * dmc * (1 - dmc))
    anchor = 0.3 + 0.2 * dmc  # the EC share of the published mixture between which we blend
    return blended * math.exp(((anchor - BEST_EC) / WIDTH_EC) ** 2 - ((ec - BEST_EC) / WIDTH_EC) ** 2)


def failure(mass: Mapping[str, float], temperature_c: float) -> str | None:
    """Why no clear liquid comes of it, None when one does. Both limits are ours.

    Salt needs EC to dissolve; EC freezes out (pure EC melts at 36 degC).
    """
    ec, _ = solvent_shares(mass)
    if molarity(mass) > 0.8 + 3.6 * ec:
        return "salt has precipitated"
    if temperature_c < 36.0 - 110.0 * (1 - ec):
        return "EC has frozen out"
    return None


def best(
    bounds: Mapping[str, tuple[float, float]], balance: str, step: float, temperature_c: float
) -> tuple[float, dict[str, float]]:
    """The highest true conductivity on a grid of mass fractions, and where it is."""
    candidates = (m for m in grid(bounds, balance, step) if failure(m, temperature_c) is None)
    return max(((conductivity(m, temperature_c), m) for m in candidates), key=lambda pair: pair[0])


def grid(bounds: Mapping[str, tuple[float, float]], balance: str, step: float) -> Iterator[dict[str, float]]:
    """All mass fractions on a grid within bounds, one component taking up the rest."""
    free = [name for name in bounds if name != balance]
    ranges = [range(round(bounds[n][0] / step), round(bounds[n][1] / step) + 1) for n in free]
    whole = round(1 / step)
    low, high = (round(b / step) for b in bounds[balance])
    for counts in itertools.product(*ranges):
        rest = whole - sum(counts)
        if low <= rest <= high:
            yield {**{n: k * step for n, k in zip(free, counts, strict=True)}, balance: rest * step}
