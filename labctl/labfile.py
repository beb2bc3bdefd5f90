"""labctl.toml: what a lab is, its instruments, its bottles, and where it keeps its data."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from datetime import date, datetime, time, timezone
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from campaigns.checks import Check, asked, sound_part
from campaigns.policy import FailuresSection
from campaigns.toml_file import Fault, FileFaults, read, shown
from campaigns.units import money, quantity
from labctl.finding import DATABASE, fault_of
from materials_db.formula import Formula

HUMAN = "human"  #: the driver without a wire
NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,31}$"
MAIN = "main"  #: the host of instruments that name no other
InstrumentName = Annotated[str, Field(pattern=NAME)]
HOST = r"(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)"
ADDRESS = re.compile(
    rf"(?:tcp://{HOST}:(?P<port>\d{{1,5}})|modbus://{HOST}:(?P<m_port>\d{{1,5}})(?:/(?P<unit>\d{{1,3}}))?)"
)


class Section(BaseModel):
    """A table of the file: frozen, no unknown keys, finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def in_unit(unit: str) -> Any:
    """A quantity that must be written with a unit."""
    return BeforeValidator(lambda value: quantity(value, unit))


def moment(value: Any) -> Any:
    """A date or a time; without a zone it is UTC."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=timezone.utc)  # noqa: UP017
    return datetime.combine(value, time(), timezone.utc) if isinstance(value, date) else value  # noqa: UP017


Moment = Annotated[datetime, BeforeValidator(moment)]


def device_address(value: str | None) -> str | None:
    """``tcp://host:port`` or ``modbus://host:port/unit``."""
    if value is None:
        return None
    match = ADDRESS.fullmatch(value)
    port = int(match["port"] or match["m_port"]) if match else 0
    if match is None or not 1 <= port <= 65535 or int(match["unit"] or 1) > 255:
        raise ValueError(
            f"{value!r} is no address; write tcp://HOST:PORT, for example tcp://192.0.2.7:5025,"
            " or modbus://HOST:PORT/UNIT, for example modbus://192.0.2.7:502/1"
        )
    return value


def database_url(value: str) -> str:
    """``sqlite:///FILE`` or ``postgresql+psycopg://USER@HOST/DATABASE``."""
    if fault := fault_of(value):
        raise ValueError(fault)
    if value.startswith("postgresql") and find_spec("psycopg") is None:
        raise ValueError("PostgreSQL needs the package psycopg, which is not installed; pip install 'labctl[postgres]'")
    return value


def known_simulator(value: str) -> str:
    """The name of a simulated lab that is installed."""
    known = sorted({entry.name for entry in entry_points(group="labctl.simulators")})
    if value not in known:
        raise ValueError(f"there is no simulated lab {value!r}; installed: {', '.join(known)}")
    return value


class LabSection(Section):
    """[lab]."""

    name: str = Field(min_length=1, max_length=64)
    site: str = Field("here", min_length=1, max_length=64)
    simulated: bool = Field(strict=True)
    simulator: Annotated[str, AfterValidator(known_simulator)] | None = None
    database: Annotated[str, AfterValidator(database_url)] = DATABASE


class SimulationSection(Section):
    """[simulation]."""

    speed: float = Field(1.0, gt=0, le=1e7)
    seed: int = Field(1, ge=0, le=2**53 - 1, strict=True)
    faults: Literal["none", "demo", "chaos"] = "demo"
    idle: Annotated[float, in_unit("s"), Field(gt=0)] = 600.0

    @property
    def idle_s(self) -> float:
        """Wall seconds without any contact after which the simulator stops."""
        return self.idle


class CalibrationSection(Section):
    """[instruments.NAME.calibration]."""

    certificate: str = Field(min_length=1)
    quantity: str
    valid_from: Moment
    valid_to: Moment
    u_relative: float | None = Field(None, ge=0, lt=1)

    @model_validator(mode="after")
    def _order(self) -> CalibrationSection:
        if self.valid_from > self.valid_to:
            raise ValueError(f"valid_from {self.valid_from.date()} is after valid_to {self.valid_to.date()}")
        return self


class InstrumentSection(Section):
    """[instruments.NAME]."""

    driver: str
    address: Annotated[str | None, AfterValidator(device_address)] = None
    timeout: Annotated[float, in_unit("s"), Field(gt=0, le=600)] = 5.0  #: wall seconds for an answer
    limits: dict[str, Any] = {}
    person: Literal["real", "simulated"] = "real"  #: who works at a bench of the driver "human"
    tray_wait: Annotated[float | None, in_unit("s"), Field(ge=0)] = (
        None  #: longest that a sample waits for a fuller tray
    )
    calibration: CalibrationSection | None = None
    site: str | None = Field(None, min_length=1, max_length=64)  #: where it stands, if not where the lab is
    host: InstrumentName = MAIN  #: the worker whose machine has its cable: labctl worker run --host NAME


class StockSection(Section):
    """[stock.NAME]."""

    formula: str
    supplier: str = ""
    lot: str = ""
    purity: float | None = Field(None, gt=0, le=1)
    amount: Annotated[float, in_unit("mg"), Field(gt=0)]
    price: Annotated[float | None, BeforeValidator(lambda value: money(value, "g")), Field(ge=0)] = None

    @model_validator(mode="after")
    def _formula(self) -> StockSection:
        Formula.parse(self.formula)
        return self

    @property
    def amount_mg(self) -> float:
        """What was in the bottle when it came, mg."""
        return self.amount

    @property
    def price_per_g(self) -> float | None:
        """Euros per gram."""
        return self.price


class EngineSection(Section):
    """[engine]."""

    sync: Literal["full", "normal"] | None = None


class LabFile(Section):
    """A whole labctl.toml."""

    lab: LabSection
    simulation: SimulationSection = SimulationSection()
    instruments: dict[InstrumentName, InstrumentSection] = Field(min_length=1)
    stock: dict[str, StockSection] = {}
    engine: EngineSection = EngineSection()
    failures: FailuresSection = FailuresSection()

    @classmethod
    def load(cls, path: Path) -> LabFile:
        """Read a lab file. Raises FileFaults with all that is wrong with it."""
        document = read(path)
        file, found, unread = sound_part(cls, document, {"lab": {"name": "unread", "simulated": False}})
        if file is not None:
            found += asked(file, found, CHECKS, unread)
        if file is None or found:
            raise FileFaults(path, [document.located(f) for f in found])
        return file

    @property
    def hosts(self) -> dict[str, list[str]]:
        """The instruments of each host."""
        names = dict.fromkeys(section.host for section in self.instruments.values())
        return {host: [n for n, s in self.instruments.items() if s.host == host] for host in names}

    @property
    def site_of(self) -> dict[str, str]:
        """Where each instrument stands."""
        return {name: section.site or self.lab.site for name, section in self.instruments.items()}

    def host_faults(self) -> list[Fault]:
        """Several hosts need a database that they all reach."""
        if not self.lab.database.startswith("sqlite"):
            return []
        return [
            Fault(
                message=f"{name} is driven by another host, but only one process can work on a SQLite file",
                key=f"instruments.{name}.host",
                value=f'"{section.host}"',
                hint="remove the line, or set lab.database = 'postgresql+psycopg://USER@HOST/DATABASE'",
            )
            for name, section in self.instruments.items()
            if section.host != MAIN
        ]

    @property
    def origin(self) -> Literal["measured", "simulated"]:
        """Where all that its instruments yield comes from."""
        return "simulated" if self.lab.simulated else "measured"

    @property
    def formulas(self) -> dict[str, str]:
        """What is in each bottle, by the bottle's name."""
        return {name: bottle.formula for name, bottle in self.stock.items()}

    def address_faults(self) -> list[Fault]:
        """A real instrument needs an address; a simulated lab must not reach for one."""
        faults = []
        for name, section in self.instruments.items():
            key = f"instruments.{name}"
            if self.lab.simulated and section.address is not None:
                message = f"{name} has an address, but the lab is simulated: nothing there may be driven"
                faults.append(
                    Fault(
                        message=message,
                        key=f"{key}.address",
                        value=section.address,
                        hint="remove the address, or set lab.simulated = false",
                    )
                )
            if not self.lab.simulated and section.address is None and section.driver != HUMAN:
                faults.append(Fault(message=f"{name} has no address", key=key, hint='add address = "tcp://HOST:PORT"'))
        if self.lab.simulated and self.lab.simulator is None:
            faults.append(
                Fault(
                    message="a simulated lab says which simulator",
                    key="lab.simulated",
                    hint='add simulator = "electrolyte"',
                )
            )
        return faults

    def driver_faults(self) -> list[Fault]:
        """Drivers that are not installed, limits that they do not know."""
        from instruments import registry
        from instruments.errors import InstrumentError

        faults = []
        for name, section in self.instruments.items():
            key = f"instruments.{name}"
            known = registry.names()
            if section.driver not in known:
                near = difflib.get_close_matches(section.driver, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"installed: {', '.join(known)}"
                faults.append(
                    Fault(
                        message=f"there is no driver {section.driver!r}",
                        key=f"{key}.driver",
                        value=section.driver,
                        hint=hint,
                        code="LAB-0234",
                    )
                )
                continue
            scheme = registry.scheme(section.driver)
            if section.address is not None and not section.address.startswith(f"{scheme}://"):
                faults.append(
                    Fault(
                        message=f"{name} is driven over {scheme}://, not over this address",
                        key=f"{key}.address",
                        value=section.address,
                        hint=f"write {registry.EXAMPLES.get(scheme, scheme + '://HOST:PORT')}",
                    )
                )
            try:
                registry.capabilities(section.driver, dict(section.limits))
            except InstrumentError as error:
                faults.append(Fault(message=str(error), key=f"{key}.limits", code="LAB-0231"))
        return faults

    def calibration_faults(self) -> list[Fault]:
        """Calibrations of what the instrument never measures: no value would ever lead back to them."""
        from instruments import registry

        faults = []
        for name, section in self.instruments.items():
            if section.calibration is None or section.driver not in registry.names():
                continue
            measured = [q for c in registry.capabilities(section.driver, {}) for q in c.produces]
            named = section.calibration.quantity
            if not any(includes(quantity, named) for quantity in measured):
                faults.append(
                    Fault(
                        message=f"{name} ({section.driver}) never measures {named!r}",
                        key=f"instruments.{name}.calibration.quantity",
                        value=shown(named),
                        hint=measured_in_words(measured),
                        code="LAB-0233",
                    )
                )
        return faults


def includes(quantity: str, named: str) -> bool:
    """Whether a driver's quantity is the one that a certificate names. That of a balance is for all that it weighs ("mass.")."""
    prefix = not quantity or quantity.endswith(".")
    return named == quantity.rstrip(".") or (prefix and named.startswith(quantity))


def measured_in_words(quantities: Sequence[str]) -> str:
    """What a certificate can be for."""
    names = sorted({q.rstrip(".") for q in quantities})
    return f"it measures {', '.join(names)}" if names else "it measures nothing: leave the calibration out"


#: What is asked of every instrument that is sound by itself.
CHECKS = (
    Check(LabFile.address_faults, frozenset({"lab"})),
    Check(LabFile.driver_faults, frozenset()),
    Check(LabFile.calibration_faults, frozenset()),
    Check(LabFile.host_faults, frozenset({"lab"})),
)
