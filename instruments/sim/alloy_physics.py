"""The truth of the simulated alloy lab: age hardening of Al-Cu-Mg, and where its corrosion begins.

What is published is cited beside the number. All other constants are OURS: they were chosen so
that hardness has a peak in time at each ageing temperature, near 11 h at 190 degC and near
150 HV for some 4 % Cu with 1.5 % Mg, as textbooks show for alloys like 2024. It is no claim
about nature.

The chain: what the solution treatment dissolves (solvus, diffusion), what of it precipitates
(S = Al2CuMg first, theta with the Cu that is left), how coarse it has grown
(r^3 = r0^3 + k t), and what that does to a dislocation: it shears small particles, with a
strength of sqrt(f r), and passes between large ones, with sqrt(f) / r (E. Nembach, Particle
Strengthening of Metals and Alloys, Wiley 1997).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

GAS = 8.314462618  #: J/(mol K), CODATA 2018
MOLAR = {"Al": 26.982, "Cu": 63.546, "Mg": 24.305}  #: g/mol, IUPAC 2021

#: Mass % Cu in (Al) at the eutectic, and its temperature: J. L. Murray, Int. Met. Rev. 30 (1985) 211.
MOST_CU, EUTECTIC_K = 5.65, 821.0
CU_HEAT = 39.9e3  #: J/mol, ours: a straight line in 1/T through that point and 0.45 % at 300 degC
#: Solubility product of S in mass %^2: ours, a line through two points of an equilibrium calculated with the COST 507
#: database for Al-1.5Cu-1.5Mg (at.%): 5.5 mol % S at 450 K, none above some 700 K.
S_PRODUCT, S_KELVIN, S_SLOPE = 4.55, 700.0, 6246.0
#: J/mol, activation energies of diffusion in (Al): Y. Du et al., Mater. Sci. Eng. A 363 (2003) 140.
DIFFUSION_CU = 133.9e3

DISSOLVE_S = 1500.0  #: s at 500 degC until 63 % of what can dissolve has; ours
MELTS_C, MELT_PER_CU, MELT_PER_MG = (
    660.3,
    19.8,
    12.2,
)  #: solidus, K per mass % dissolved: ours, lines to the binary eutectics
LEFT_PERCENT = 0.3  #: mass % of particles left from which on they melt together; ours
AGE_S = 5400.0  #: s at 190 degC until 63 % of what can precipitate has; ours
GROWTH_SHAPE = 1.3  #: Avrami exponent, ours
R0_NM, PEAK_NM, PEAK_S = (
    0.8,
    4.0,
    11 * 3600.0,
)  #: radius at birth, radius at which shearing ends, when at 190 degC; ours
AGE_KELVIN = 463.15

HV_AL = 18.0  #: kgf/mm2, annealed pure aluminium, ours
HV_CU, HV_MG = 12.0, 10.0  #: per (mass %)^(2/3): Labusch's exponent (phys. stat. sol. 41 (1970) 659), our factors
HV_S, HV_THETA = 480.0, 400.0  #: per square root of the volume fraction at the peak radius, ours
LOST_COARSE = (
    6.0  #: share of hardness lost per volume of particles that never dissolved: they crack under the indenter; ours
)
LOST_PORES, SOUND_MG = 0.02, 1.2  #: ... per (mass %)^2 of Mg above what still casts soundly; ours
TERNARY_C = 507.0  #: degC, where (Al), theta and S melt together: L. F. Mondolfo, Aluminum Alloys, Butterworths 1976

#: V against the hydrogen electrode, 1 M NaCl: pure Al, and Al-5.22 % Cu with all of it dissolved; ageing leaves the
#: potential of the depleted matrix (I. L. Muller and J. R. Galvele, Corros. Sci. 17 (1977) 179).
PIT_AL, PIT_CU, PIT_CU_SHARE = -0.52, -0.33, 5.22
PIT_PARTICLES, PIT_COARSE = 0.60, 0.90  #: V lost per square root of their volume fraction, ours: pits begin beside them
AG_AGCL = (
    0.197  #: V of Ag/AgCl in saturated KCl against the hydrogen electrode, 25 degC (Bard and Faulkner, 2nd ed. 2001)
)


@dataclass(frozen=True)
class Treatment:
    """A stay at a temperature, as the piece itself saw it."""

    celsius: float
    seconds: float

    @property
    def kelvin(self) -> float:
        """The temperature, K."""
        return self.celsius + 273.15


@dataclass(frozen=True)
class State:
    """What is in the alloy: mass % dissolved, volume fractions of particles, radius of the fine ones in nm."""

    cu: float
    mg: float
    s: float = 0.0
    theta: float = 0.0
    coarse: float = 0.0
    radius: float = R0_NM


def cu_solubility(kelvin: float) -> float:
    """Mass % Cu that (Al) takes up at most, without Mg."""
    return MOST_CU * math.exp(-CU_HEAT / GAS * (1 / min(kelvin, EUTECTIC_K) - 1 / EUTECTIC_K))


def dissolved(cu: float, mg: float, kelvin: float) -> tuple[float, float]:
    """Mass % Cu and Mg in solution at equilibrium: S takes both, theta the Cu above its own solubility."""
    product = S_PRODUCT * math.exp(-S_SLOPE * (1 / kelvin - 1 / S_KELVIN))
    share = MOLAR["Cu"] / MOLAR["Mg"]  # mass of Cu that S takes with each gram of Mg
    taken = 0.0
    if cu * mg > product:  # (cu - share x)(mg - x) = product, the smaller root
        half = (cu + share * mg) / (2 * share)
        taken = half - math.sqrt(max(0.0, half**2 - (cu * mg - product) / share))
    return min(cu - share * taken, cu_solubility(kelvin)), mg - taken


def arrhenius(kelvin: float, reference: float) -> float:
    """How much faster than at the reference Cu moves."""
    return math.exp(-DIFFUSION_CU / GAS * (1 / kelvin - 1 / reference))


def solution_treated(cu: float, mg: float, treatment: Treatment | None) -> State:
    """After the quench. As cast, what would dissolve at 300 degC is taken as dissolved."""
    cast = dissolved(cu, mg, 573.15)
    if treatment is None:
        done, most = cast, cast
    else:
        most = dissolved(cu, mg, treatment.kelvin)
        part = 1 - math.exp(-treatment.seconds / (DISSOLVE_S / arrhenius(treatment.kelvin, 773.15)))
        done = (cast[0] + (most[0] - cast[0]) * part, cast[1] + (most[1] - cast[1]) * part)
    left = max(0.0, cu - done[0]) + max(0.0, mg - done[1])
    return State(cu=max(0.0, done[0]), mg=max(0.0, done[1]), coarse=0.012 * left)


def aged(state: State, treatment: Treatment | None) -> State:
    """After artificial ageing of a quenched alloy."""
    if treatment is None or treatment.seconds <= 0:
        return state
    cu, mg = dissolved(state.cu, state.mg, treatment.kelvin)
    speed = arrhenius(treatment.kelvin, AGE_KELVIN)
    part = 1 - math.exp(-((treatment.seconds * speed / AGE_S) ** GROWTH_SHAPE))
    mg_out, cu_out = (state.mg - mg) * part, (state.cu - cu) * part
    with_mg = min(cu_out, mg_out * MOLAR["Cu"] / MOLAR["Mg"])
    growth = (
        (PEAK_NM**3 - R0_NM**3) / PEAK_S * speed * AGE_KELVIN / treatment.kelvin
    )  # LSW: k is D / T but for constants
    return State(
        cu=state.cu - cu_out,
        mg=state.mg - mg_out,
        s=0.0175 * with_mg,  # volume per mass % Cu: Al2CuMg has 2.78 g/cm3 and 41 % Cu
        theta=0.0118 * (cu_out - with_mg),  # theta: 4.34 g/cm3 and 54 % Cu
        coarse=state.coarse,
        radius=(R0_NM**3 + growth * treatment.seconds) ** (1 / 3),
    )


def strength(fraction: float, radius: float) -> float:
    """Of fine particles: sqrt(f) at the peak radius, less when smaller (sheared) or larger (passed by)."""
    x = radius / PEAK_NM
    both = (x**-2 + x**4) / 2  # sqrt(x) below the peak, 1/x above
    return math.sqrt(max(0.0, fraction)) / math.sqrt(math.sqrt(both))


def hardness(state: State, mg: float) -> float:
    """Vickers hardness, kgf/mm2, of an alloy with that much Mg in all, mass %."""
    solid = HV_CU * math.pow(state.cu, 2 / 3) + HV_MG * math.pow(state.mg, 2 / 3)
    fine = math.hypot(HV_S * strength(state.s, state.radius), HV_THETA * strength(state.theta, state.radius))
    sound = math.exp(-LOST_COARSE * state.coarse - LOST_PORES * max(0.0, mg - SOUND_MG) ** 2)
    return (HV_AL + solid + fine) * sound


def pitting_potential(state: State) -> float:
    """V against Ag/AgCl in saturated KCl."""
    matrix = PIT_AL + (PIT_CU - PIT_AL) * state.cu / PIT_CU_SHARE
    loss = PIT_PARTICLES * math.sqrt(state.s + state.theta) + PIT_COARSE * math.sqrt(state.coarse)
    return matrix - loss - AG_AGCL


def melted(cu: float, mg: float, treatment: Treatment | None) -> bool:
    """Whether the grain boundaries melted in the solution treatment: the piece is scrap."""
    if treatment is None:
        return False
    inside = dissolved(cu, mg, treatment.kelvin)
    left = min(cu - inside[0], mg)  # Cu-rich particles beside Mg: the lowest eutectic
    solidus = MELTS_C - MELT_PER_CU * inside[0] - MELT_PER_MG * inside[1]
    return treatment.celsius > (min(solidus, TERNARY_C) if left > LEFT_PERCENT else solidus)


def mass_percent(mass: Mapping[str, float]) -> tuple[float, float]:
    """Mass % Cu and Mg of a melt, from masses or mass fractions."""
    total = sum(mass.values())
    return (100 * mass.get("Cu", 0.0) / total, 100 * mass.get("Mg", 0.0) / total) if total else (0.0, 0.0)


def state_of(mass: Mapping[str, float], solution: Treatment | None, ageing: Treatment | None) -> State:
    """Everything at once."""
    return aged(solution_treated(*mass_percent(mass), solution), ageing)
