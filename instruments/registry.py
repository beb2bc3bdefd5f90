"""Drivers by name, from entry points: ours and third parties'. Loaded only when used."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any
from urllib.parse import urlsplit

from instruments.clock import Clock
from instruments.contract import Capability, Driver, InstrumentConfig
from instruments.errors import UnknownDriver
from instruments.scpi import ScpiTcp
from instruments.transport import Wire

GROUP = "labctl.instruments"
EXAMPLES = {"tcp": "tcp://HOST:PORT", "modbus": "modbus://HOST:PORT/UNIT"}  #: addresses by their scheme


@dataclass(frozen=True)
class DriverInfo:
    """A driver that is installed."""

    name: str
    distribution: str
    version: str
    verified_on_hardware: bool
    summary: str


@lru_cache(maxsize=1)
def _found() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        others = found.setdefault(entry.name, [])
        if all(entry.value != other.value for other in others):
            others.append(entry)
    return found


def names() -> list[str]:
    """Names of all drivers that are installed."""
    return sorted(_found())


def entry(name: str) -> EntryPoint:
    """Where a driver is.

    Raises
    ------
    UnknownDriver
        It is not installed, or two packages claim the name: neither is trusted then.
    """
    found = _found().get(name)
    if found is None:
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"installed: {', '.join(names()) or 'none'}"
        raise UnknownDriver(f"there is no driver {name!r}; {hint}")
    if len(found) > 1:
        packages = ", ".join(sorted(distribution(e) for e in found))
        raise UnknownDriver(f"driver {name!r} is claimed by several packages ({packages}); uninstall all but one")
    return found[0]


def distribution(found: EntryPoint) -> str:
    """The package that an entry point belongs to."""
    return found.dist.name if found.dist is not None else "unknown"


def driver_class(name: str) -> type[Driver]:
    """The driver's class: what its factory says it returns, or the class itself. Raises UnknownDriver."""
    made = entry(name).load()
    annotated = made if isinstance(made, type) else getattr(made, "driver_class", None)
    if annotated is None:
        import typing

        annotated = typing.get_type_hints(made).get("return")
    if not isinstance(annotated, type):
        raise UnknownDriver(f"driver {name!r}: its factory does not say which class it makes")
    return annotated


def capabilities(name: str, limits: dict[str, Any]) -> list[Capability]:
    """What a driver's device can do, under the limits of one machine. No wire is touched."""
    return driver_class(name).capabilities(limits)


def list_drivers() -> list[DriverInfo]:
    """Everything that is installed."""
    return [_info(name) for name in names()]


def _info(name: str) -> DriverInfo:
    found, made = entry(name), driver_class(name)
    return DriverInfo(
        name=name,
        distribution=distribution(found),
        version=found.dist.version if found.dist is not None else "",
        verified_on_hardware=made.verified_on_hardware,
        summary="; ".join(c.summary for c in made.capabilities({})),
    )


def scheme(name: str) -> str:
    """How addresses of a driver's device begin: ``tcp`` for lines of text, ``modbus`` for registers."""
    return str(getattr(driver_class(name), "scheme", "tcp"))


def build(config: InstrumentConfig, clock: Clock, transport: Wire | None = None) -> Driver:
    """A driver on its wire; nothing is sent yet."""
    made: Driver = entry(config.driver).load()(config, transport or connect(config), clock)
    return made


def connect(config: InstrumentConfig) -> Wire:
    """The wire that an address names. Raises UnknownDriver when the driver needs another one."""
    parts, wanted = urlsplit(config.address), scheme(config.driver)
    if parts.scheme != wanted or parts.hostname is None or parts.port is None:
        example = EXAMPLES.get(wanted, f"{wanted}://HOST:PORT")
        raise UnknownDriver(f"{config.instrument_id}: address {config.address!r} is not {example}")
    timeout_s = float(config.options.get("timeout_s", 5.0))
    if wanted == "modbus":
        from instruments.modbus import ModbusTcp

        return ModbusTcp(parts.hostname, parts.port, unit=int(parts.path.strip("/") or 1), timeout_s=timeout_s)
    return ScpiTcp(parts.hostname, parts.port, timeout_s=timeout_s)
