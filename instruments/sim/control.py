"""Start a simulated lab on demand, and talk to its control port."""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from instruments.errors import LinkLost
from instruments.sim.server import INFO, LOCK

START_S = 30.0  #: wall seconds for a simulator to get ready
_started: list[subprocess.Popen[bytes]] = []  #: kept so that the ones that end are not left as zombies


@dataclass(frozen=True)
class SimulatorInfo:
    """A simulator that is running."""

    pid: int
    ports: Mapping[str, int]
    schemes: Mapping[str, str]
    control: int
    options: Mapping[str, Any]  #: with which it was started, of those that a lab file states; none of a benchmark's

    @property
    def addresses(self) -> dict[str, str]:
        """Where each machine is reached."""
        return {name: f"{self.schemes[name]}://127.0.0.1:{port}" for name, port in self.ports.items()}


def running(folder: Path) -> SimulatorInfo | None:
    """The simulator of that folder, if one is alive: whoever serves holds the lock."""
    try:
        with (folder / LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
    except FileNotFoundError:
        return None
    except BlockingIOError:
        pass
    try:
        info = json.loads((folder / INFO).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None  # it is just starting, or stopping
    return SimulatorInfo(
        pid=info["pid"],
        ports=info["ports"],
        schemes=info["schemes"],
        control=info["control"],
        options=info.get("options", {}),
    )


def ensure_running(
    folder: Path,
    *,
    devices: Mapping[str, str],
    speed: float,
    seed: int,
    simulator: str = "electrolyte",
    faults: str = "none",
    idle_minutes: float = 10.0,
    durations: float = 1.0,
    fast: bool = False,
) -> SimulatorInfo:
    """The simulator of that folder, started if need be. Safe when several callers race.

    Raises
    ------
    LinkLost
        It did not get ready, with what it said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(20):
        if (found := running(folder)) is not None:
            return found
        command = [
            sys.executable, "-m", "instruments.sim.server", "--state", str(folder), "--speed", str(speed),
            "--seed", str(seed), "--simulator", simulator, "--faults", faults, "--idle-minutes", str(idle_minutes),
            "--durations", str(durations),
            *(["--fast"] if fast else []), *(f"--device={name}={driver}" for name, driver in devices.items()),
        ]  # fmt: skip
        start(command, folder)
    raise LinkLost(f"the simulator did not get ready; see {folder / 'simulator.log'}")


def start(command: list[str], folder: Path) -> None:
    """Start it in a session of its own and wait for its word."""
    listen, say = os.pipe()
    try:
        with (folder / "simulator.log").open("ab") as log:
            _started[:] = [process for process in _started if process.poll() is None]
            _started.append(
                subprocess.Popen(
                    [*command, "--ready-fd", str(say)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[say],
                    start_new_session=True,
                )
            )
        os.close(say)
        say = -1
        readable, _, _ = select.select([listen], [], [], START_S)
        if readable:
            os.read(listen, 16)
    finally:
        os.close(listen)
        if say >= 0:
            os.close(say)


class SimulatorControl:
    """The control port of the simulator of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ask(self, op: str, **order: Any) -> dict[str, Any]:
        """One order and its answer. Raises LinkLost when nobody is there."""
        info = running(self.folder)
        if info is None:
            raise LinkLost(f"no simulator is running for {self.folder}")
        try:
            with socket.create_connection(("127.0.0.1", info.control), timeout=10) as line:
                line.sendall(json.dumps({"op": op, **order}).encode() + b"\n")
                with line.makefile("rb") as replies:
                    answer: dict[str, Any] = json.loads(replies.readline() or b"{}")
        except OSError as error:
            raise LinkLost(f"the simulator's control port does not answer: {error}") from None
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer

    def ping(self) -> bool:
        """Whether it is there."""
        try:
            return bool(self.ask("ping").get("ok"))
        except LinkLost:
            return False

    def clock(self) -> tuple[datetime, float]:
        """Lab time, and lab seconds per wall second."""
        answer = self.ask("clock")
        return datetime.fromisoformat(answer["now"]), float(answer["speed"])

    def acts(self) -> dict[str, int]:
        """How often each job was really begun by a machine."""
        return dict(self.ask("acts")["acts"])

    def acts_on(self) -> dict[str, dict[str, int]]:
        """How often each job was really begun on each sample: sample -> job -> count; a tray counts for all in it."""
        return dict(self.ask("acts")["on"])

    def turn_knob(self, furnace: str, celsius: float) -> None:
        """Someone at the front panel changes the set-point."""
        self.ask("knob", machine=furnace, celsius=celsius)

    def made(self) -> dict[str, int]:
        """How often each sample was really made."""
        return dict(self.ask("acts")["made"])

    def record(self) -> list[dict[str, Any]]:
        """Every run as its machine remembers it: label, sample, result line, hash of the raw file."""
        return list(self.ask("record")["runs"])

    def faults(self, *, rates: Mapping[str, float] | None = None, next: Mapping[str, list[str]] | None = None) -> None:
        """Set fault rates, and faults that happen next at a machine."""
        self.ask("faults", rates=dict(rates or {}), next=dict(next or {}))

    def truth(self, mass: Mapping[str, float], temperature_c: float) -> float:
        """True conductivity of a composition, mS/cm. For the judge of a test, never for a campaign."""
        return float(self.ask("truth", mass=dict(mass), temperature_c=temperature_c)["conductivity"])

    def alloy_truth(self, mass: Mapping[str, float], **process: float) -> dict[str, float]:
        """True hardness and pitting potential. For the judge of a test, never for a campaign.

        Parameters
        ----------
        process
            solution_c, solution_s, ageing_c, ageing_s.
        """
        return dict(self.ask("truth", mass=dict(mass), **process))

    def stop(self) -> None:
        """End it, and wait until it has let go of its folder."""
        try:
            self.ask("stop")
        except LinkLost:
            return
        self.wait_until_gone()

    def wait_until_gone(self) -> None:
        """Wait until no simulator holds the folder."""
        with (self.folder / LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
