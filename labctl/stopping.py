"""`labctl stop --all`: the machines stop now, whatever has become of the database or of the worker.

A file says that the lab is stopped. The worker sees it within a moment, breaks off what
runs and gives nothing out; this process talks to every machine itself as well, because
there may be no worker any more. Emergency stops and guards stay in hardware.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from instruments.host import Host
    from labctl.wiring import Lab

log = logging.getLogger(__name__)
FILE = "stopped"
LOOK_S = 0.2  #: wall seconds between looks of the worker
ANSWER_S = 0.7  #: wall seconds that a machine has to say that it stopped


def flag(folder: Path) -> Path:
    """The file whose presence stops the lab in that folder."""
    return folder / ".labctl" / FILE


def forbid(folder: Path) -> None:
    """Stop the worker, before anything that takes time: not even the lab file is read."""
    flag(folder).parent.mkdir(exist_ok=True)
    flag(folder).touch()


def allow(folder: Path) -> bool:
    """Let the lab work again; whether it was stopped."""
    stopped = flag(folder).exists()
    flag(folder).unlink(missing_ok=True)
    return stopped


def stop_machines(lab: Lab) -> dict[str, str]:
    """Tell every machine over a wire of our own; what became of each, in words."""
    return asyncio.run(_stop_machines(lab))


async def watch(lab: Lab, hosts: Mapping[str, Host]) -> None:
    """The worker's part: hold every instrument and break off what runs while the lab is stopped."""
    stopped = False
    while True:
        if flag(lab.folder).exists() is not stopped:
            stopped = not stopped
            for host in hosts.values():
                host.held_by = "labctl stop --all" if stopped else None
            if stopped:
                await asyncio.gather(*(break_off(host) for host in hosts.values()))
        await asyncio.sleep(LOOK_S)


async def break_off(host: Host) -> None:
    """What runs on one instrument ends now."""
    from instruments.errors import InstrumentError

    try:
        await host.driver.abort("")
    except InstrumentError as error:
        log.error("%s did not stop: %s", host.instrument_id, error)


async def _stop_machines(lab: Lab) -> dict[str, str]:
    from labctl.labfile import HUMAN

    if lab.file.lab.simulated:
        from labctl.wiring import simulator_alive

        if not simulator_alive(lab):
            return dict.fromkeys(lab.file.instruments, "the simulator is not running")
    configs = {n: c for n, c in lab.instrument_configs().items() if c.driver != HUMAN}
    told = await asyncio.gather(*(_stop(config) for config in configs.values()))
    return dict(zip(configs, told, strict=True))


async def _stop(config: object) -> str:
    """One machine, over a wire of our own."""
    from instruments import registry
    from instruments.clock import WallClock
    from instruments.contract import InstrumentConfig
    from instruments.errors import InstrumentError

    assert isinstance(config, InstrumentConfig)
    driver = registry.build(config, WallClock())
    try:
        await asyncio.wait_for(driver.abort(""), ANSWER_S)
    except TimeoutError:
        return f"NO ANSWER within {ANSWER_S:g} s: use its own stop"
    except InstrumentError as error:
        return f"{error}: use its own stop"
    finally:
        await driver.close()
    return "stopped"
